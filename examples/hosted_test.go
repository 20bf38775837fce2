package examples_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/serve"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// recorded is an example whose provider no test can reach: recorded answers of
// providers/testdata stand in for it.
type recorded struct {
	dir, good string // the folder, and the case that is to pass if not "good"
	user      string
	point     func(c *providers.Config, url string) // to the server that replays
}

var hosted = map[string]*recorded{
	"oauth2/config.yaml": {dir: "oauth2", user: "alice", point: func(c *providers.Config, url string) {
		c.ClientID, c.Endpoints.Introspection = "api:1", url+"/introspect"
	}},
	"entra/config.yaml":       {dir: "entra", user: "alice@example.com", point: keysAt},
	"entra/config-graph.yaml": {dir: "entra/graph", user: "alice@example.com", point: func(c *providers.Config, url string) { c.Endpoints.Graph = url }},
	"okta/config.yaml":        {dir: "okta", user: "alice@example.com", point: keysAt},
	"okta/config-org.yaml": {dir: "okta/org", user: "alice@example.com", point: func(c *providers.Config, url string) {
		c.Endpoints.Introspection = url + "/oauth2/v1/introspect"
	}},
	"cognito/config.yaml": {dir: "cognito", user: "alice", point: keysAt},
	"google/config.yaml": {dir: "google", good: "good-domain", user: "alice@example.com", point: func(c *providers.Config, url string) {
		c.Endpoints.TokenInfo, c.Endpoints.Userinfo = url+"/tokeninfo", url+"/v1/userinfo"
	}},
	"github/config.yaml":   {dir: "github", good: "good-organizations", user: "alice", point: func(c *providers.Config, url string) { c.Endpoints.API = url }},
	"slack/config.yaml":    {dir: "slack", user: "alice", point: func(c *providers.Config, url string) { c.Endpoints.API = url + "/api" }},
	"gitlab/config.yaml":   {dir: "gitlab", user: "alice", point: func(c *providers.Config, url string) { c.BaseURL = url }},
	"facebook/config.yaml": {dir: "facebook", user: "10160000000000001", point: func(c *providers.Config, url string) { c.Endpoints.Graph = url }},
}

func keysAt(c *providers.Config, url string) { c.Endpoints.JWKS = url + "/keys" }

// TestHostedConfigurationsDecide holds each example against what its provider
// was seen to answer: to a good token, to one that is none, and to one that is
// good but of another app.
func TestHostedConfigurationsDecide(t *testing.T) {
	t.Parallel()
	for file, r := range hosted {
		good := r.good
		if good == "" {
			good = "good"
		}
		for _, name := range []string{good, "refused", "foreign-app"} {
			t.Run(file+" "+name, func(t *testing.T) {
				t.Parallel()
				server := providertest.NewServer(t)
				recorded := providertest.ReadCase(t, filepath.Join("../providers/testdata", r.dir, name+".txtar"), server)
				server.Play(recorded)
				engine, _ := load(t, file, func(c *providers.Config) {
					r.point(c, server.URL)
					c.CAFile = server.CAFile
				})
				d := await(t, engine, request("Bearer "+recorded.Token))
				switch {
				case name == good && (d.Outcome != authz.Allowed || d.Identity == nil || d.Identity.User != r.user):
					t.Errorf("a good token: %v, %v %s", d.Outcome, d.Reason, d.Detail)
				case name != good && d.Outcome != authz.Unauthenticated:
					t.Errorf("%v, %v %s; want 401", d.Outcome, d.Reason, d.Detail)
				}
				if d := engine.Decide(t.Context(), request("")); d.Outcome != authz.Unauthenticated {
					t.Errorf("no token: %v, %v", d.Outcome, d.Reason)
				}
			})
		}
	}
}

// TestAPITokens takes the example of our own tokens through its page: each way
// of bringing one, a wrong one, and none.
func TestAPITokens(t *testing.T) {
	t.Parallel()
	const file = "api-tokens/config.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse(file, []byte(strings.Replace(string(text), "sqlite:tokens.db", "sqlite:"+t.TempDir()+"/tokens.db", 1)), variable)
	if err != nil {
		t.Fatal(err)
	}
	token := makeToken(t, c.APITokens)
	gate, err := serve.Open(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Close)
	inHeader := request("")
	inHeader.Headers = []authz.Header{{Name: "x-api-key", Value: token}}
	for name, q := range map[string]authz.Request{
		"bearer": request("Bearer " + token), "key": inHeader, "basic": request("Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+token))),
	} {
		if d := gate.Decide(t.Context(), q); d.Outcome != authz.Allowed || d.Identity == nil || d.Identity.User != "alice" {
			t.Errorf("%s: %v, %v %s", name, d.Outcome, d.Reason, d.Detail)
		}
	}
	for _, header := range []string{"", "Bearer gl_wrong", "Bearer " + token[:len(token)-1] + "!"} {
		if d := gate.Decide(t.Context(), request(header)); d.Outcome == authz.Allowed || d.Outcome == authz.Undecided {
			t.Errorf("%.10s: %v, %v", header, d.Outcome, d.Reason)
		}
	}
}

// makeToken makes a token as `gatelodge token create` does.
func makeToken(t *testing.T, c *config.APITokens) string {
	t.Helper()
	store, err := serve.OpenTokenStore(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := tokenstore.NewIssuer(store, nil, serve.TokenLimits(c), time.Now, nil).
		Create(context.Background(), "test", tokenstore.Order{User: "alice", Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return issued.Secret.Reveal()
}
