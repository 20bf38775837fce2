package examples_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// The published regular expression is the one of the code, finds what the code
// makes wherever it stands, and finds nothing in random text that the checksum
// does not tell from a token.
func TestScannersKnowTokens(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`(?m)^regex = '''(.*)'''$`).FindStringSubmatch(read(t, "api-tokens/gitleaks.toml"))
	if rule == nil || rule[1] != tokenstore.Pattern {
		t.Fatalf("gitleaks.toml has the expression %q, the code %q", rule, tokenstore.Pattern)
	}
	if !strings.Contains(read(t, "api-tokens/README.md"), "`"+tokenstore.Pattern+"`") {
		t.Error("the page does not have the expression")
	}
	pattern := regexp.MustCompile(rule[1])
	for range 10_000 {
		token := secret(t)
		for _, where := range []string{"%s", `TOKEN="%s"`, "token: %s\n", "-u alice:%s http", "https://x/?k=%s&a=b", "(%s)", "Bearer %s,"} {
			if found := pattern.FindAllString(fmt.Sprintf(where, token), -1); !slices.Equal(found, []string{token}) || !tokenstore.Valid(found[0]) {
				t.Fatalf("in %q the expression finds %q", where, found)
			}
		}
	}
	like, valid := 0, 0
	for range 10_000 {
		for _, found := range pattern.FindAllString(document(t), -1) {
			like++
			if tokenstore.Valid(found) {
				valid++
			}
		}
	}
	t.Logf("of 10,000 random documents %d hold what looks like a token, and %d one with the right checksum", like, valid)
	if valid > 0 {
		t.Error("a token was found where none is")
	}
}

// document is random text of the kinds that files hold, with the prefix of
// tokens in it again and again.
func document(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 1500)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for chunk := range slices.Chunk(raw, 50) {
		for _, text := range []string{hex.EncodeToString(chunk), base64.StdEncoding.EncodeToString(chunk), base64.RawURLEncoding.EncodeToString(chunk)} {
			b.WriteString("gl_" + text + " id=" + text + "\n")
		}
	}
	return b.String()
}

func secret(t *testing.T) string {
	t.Helper()
	s, err := tokenstore.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

// gitleaks is what runs below, of a version that the rule file was written for.
const gitleaks = "github.com/zricethezav/gitleaks/v8@v8.30.1"

// The real gitleaks takes the rule file, finds each token that was left in a
// folder, and takes nothing in ten thousand other files for one.
func TestGitleaksFindsTokens(t *testing.T) {
	realtest.Proof(t)
	dir := t.TempDir()
	for n := range 10_000 {
		raw := make([]byte, 600)
		if _, err := rand.Read(raw); err != nil {
			t.Fatal(err)
		}
		text := "gl_" + hex.EncodeToString(raw[:100]) + "\nGL_" + base64.StdEncoding.EncodeToString(raw) + "\nsl_" + secret(t)[3:] + "\n"
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planted := map[string]string{}
	for n, where := range []string{"export TOKEN=%s\n", "curl -u alice:%s https://wiki.example.com\n", `{"token": "%s"}`, "# old: %s"} {
		name := filepath.Join(dir, fmt.Sprintf("planted-%d.sh", n))
		planted[name] = secret(t)
		if err := os.WriteFile(name, fmt.Appendf(nil, where, planted[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report := filepath.Join(t.TempDir(), "found.json")
	cmd := exec.CommandContext(t.Context(), "go", "run", gitleaks, "dir", "--no-banner", "--exit-code", "0", "--config", "api-tokens/gitleaks.toml",
		"--enable-rule", "gatelodge-api-token", "--report-format", "json", "--report-path", report, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gitleaks: %v\n%s", err, out)
	}
	var found []struct{ RuleID, File, Secret string }
	if err := json.Unmarshal([]byte(read(t, report)), &found); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if planted[f.File] != f.Secret {
			t.Errorf("gitleaks found %q in %s", f.Secret, f.File)
		}
		delete(planted, f.File)
	}
	for name := range planted {
		t.Errorf("gitleaks did not find the token in %s", name)
	}
	realtest.Measured(t, "gitleaks found %d of 4 tokens that were left in a folder, and nothing in 10,000 other files", len(found))
}
