package providers_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// TestConformance runs the suite on every folder of testdata with settings of its
// own: a configuration file config.yaml in which $URL is the server that replays
// the cases, and config-NAME.yaml for the cases that say "settings: NAME". A type
// whose settings stand there is tested without a line of Go.
func TestConformance(t *testing.T) {
	for _, pattern := range []string{"testdata/*/config.yaml", "testdata/*/*/config.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			t.Run(strings.TrimPrefix(dir, "testdata/"), func(t *testing.T) { providertest.Run(t, harness(t, dir)) })
		}
	}
}

// harness finds out what the suite is to be told of a folder.
func harness(t *testing.T, dir string) providertest.Harness {
	t.Helper()
	c := settings(t, dir, "", "https://replay.example.com")
	shape := providers.ShapeOf(c)
	h := providertest.Harness{Dir: dir, CatchAll: shape.CatchAll, Prefixes: shape.Prefixes, New: subject(dir)}
	if !c.ClientSecret.IsZero() {
		h.Secrets = []string{c.ClientSecret.Reveal()}
	}
	good, err := os.ReadFile(filepath.Join(dir, "good.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	h.Signed = c.Endpoints.JWKS != ""
	if !strings.Contains(string(good), "HTTP/1.1 ") {
		h.LeftOut = map[string]string{
			"revoked":       "a signed token is good until it ends",
			"throttled":     "nobody is asked about a token",
			"misconfigured": "nobody is asked about a token",
		}
	}
	return h
}

// settings reads the settings of a variation.
func settings(t testing.TB, dir, variation, url string) providers.Config {
	t.Helper()
	file := filepath.Join(dir, "config.yaml")
	if variation != "" {
		file = filepath.Join(dir, "config-"+variation+".yaml")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse(file, []byte(strings.ReplaceAll(string(text), "$URL", url)), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Providers) != 1 {
		t.Fatalf("%s has %d providers, want one", file, len(c.Providers))
	}
	return c.Providers[0]
}

// subject makes the provider of a folder.
func subject(dir string) func(testing.TB, *providertest.Server, string, *slog.Logger) providertest.Subject {
	return func(t testing.TB, s *providertest.Server, variation string, log *slog.Logger) providertest.Subject {
		t.Helper()
		c := settings(t, dir, variation, s.URL)
		c.CAFile, c.Timeout = s.CAFile, s.Timeout
		p, err := providers.New(c, providers.Env{Now: time.Now, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		return providertest.Subject{
			Provider: p, Close: p.Close,
			Attributes: func(ctx context.Context, c authz.Credential) (map[string]any, error) { return p.Attributes(ctx, c) },
			Status:     func() (bool, bool, string) { st := p.Status(); return st.Ready, st.Misconfigured, st.Detail },
		}
	}
}

// TestEveryTypeIsPutThroughTheSuite: a line in the table without recorded answers
// is a fault, and so are answers that no test plays.
func TestEveryTypeIsPutThroughTheSuite(t *testing.T) {
	var tests strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(b)
	}
	for _, kind := range providers.Types() {
		dir := "testdata/" + kind
		if _, err := os.Stat(dir + "/good.txtar"); err != nil {
			t.Errorf("type %s has no recorded answers: %v", kind, err)
		}
		if _, err := os.Stat(dir + "/config.yaml"); err != nil && !strings.Contains(tests.String(), `Dir: "`+dir) {
			t.Errorf("the answers of type %s are not played: %s has no config.yaml", kind, dir)
		}
	}
}
