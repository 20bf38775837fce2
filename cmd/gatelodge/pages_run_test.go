package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// A pageRun is a page of the examples that is done as it is written, from its
// first command to the curl lines through the real Envoy.
type pageRun struct {
	name   string   // of the folder
	config string   // the file that the page works with
	pairs  []string // what is exchanged in it and in the commands, as by strings.NewReplacer
	env    []string
	token  string // in the place of one that is fetched
	skip   string // what is in blocks that need the provider itself, or a program of somebody else's
}

// TestPageOIDC does what examples/oidc says, with the real OpenID provider.
func TestPageOIDC(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	pageRun{
		name: "oidc", config: "config.yaml",
		pairs: []string{
			"https://sso.example.com", op.Issuer, "[https://api.example.com]", "[\"urn:api:jwt\"]", "https://api.example.com", "urn:api:jwt",
			"wiki-cli", "cli",
		},
		env: []string{"SIGN_IN_AS=alice", "SIGN_IN_PASSWORD=any", "BROWSER=sign-in"},
	}.run(t)
}

// TestPageKeycloak does what examples/keycloak says of a realm of one's own, with
// the real Keycloak.
func TestPageKeycloak(t *testing.T) {
	t.Parallel()
	realm := realtest.Keycloak(t).Realm(t)
	pageRun{
		name: "keycloak", config: "config-own.yaml",
		pairs: []string{
			"https://sso.example.com", realm.Keycloak.URL, "realm: corp", "realm: " + realm.Name,
			"[wiki-api]", "[\"" + realtest.RealmAudience + "\"]", "wiki-cli", "web",
		},
		env: []string{"SIGN_IN_AS=alice", "SIGN_IN_PASSWORD=alice-pw", "BROWSER=sign-in"},
	}.run(t)
}

// TestPageAPITokens does what examples/api-tokens says.
func TestPageAPITokens(t *testing.T) {
	t.Parallel()
	pageRun{name: "api-tokens", config: "config.yaml", skip: "gitleaks "}.run(t)
}

// TestPagesOfHostedProviders does what the pages say of the providers that no test
// can reach: recorded answers stand in for them, and a recorded token for one that
// is fetched. Each starts a dozen programs: three are done in every run, and all
// when proofs are asked for.
func TestPagesOfHostedProviders(t *testing.T) {
	t.Parallel()
	pages := []hostedPage{
		{name: "entra", endpoints: "{jwks: $URL/keys}", skip: "config-graph.yaml"},
		{name: "github", good: "good-organizations", env: "GITHUB_CLIENT_SECRET=gh-secret", endpoints: "{api: $URL}"},
		{
			name: "oauth2", env: "OAUTH2_CLIENT_SECRET=s:cret /", skip: "grant_type=client_credentials",
			pairs: []string{"https://sso.example.com/introspect", "$URL/introspect", "client_id: wiki-api", "client_id: \"api:1\""},
		},
		{name: "okta", endpoints: "{jwks: $URL/keys}"},
		{name: "cognito", endpoints: "{jwks: $URL/keys}", skip: "client-credentials"},
		{name: "google", good: "good-domain", endpoints: "{tokeninfo: $URL/tokeninfo, userinfo: $URL/v1/userinfo}"},
		{name: "gitlab", pairs: []string{"https://gitlab.com", "$URL"}},
		{name: "slack", endpoints: "{api: $URL/api}"},
		{name: "facebook", env: "FACEBOOK_APP_SECRET=fb-secret", endpoints: "{graph: $URL}"},
	}
	for _, c := range pages[:realtest.Scale(3, len(pages))] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// A hostedPage is one whose provider is replayed. $URL is the server that does.
type hostedPage struct {
	name, good, env string
	pairs           []string
	endpoints       string // that are added to the provider's settings
	skip            string
}

func (c hostedPage) run(t *testing.T) {
	t.Helper()
	server := providertest.NewServer(t)
	folder := "../../providers/testdata/" + c.name + "/"
	good := providertest.ReadCase(t, folder+cmp.Or(c.good, "good")+".txtar", server)
	server.Play(good)
	server.Otherwise(providertest.ReadCase(t, folder+"refused.txtar", server))
	line := "    type: " + c.name + "\n"
	more := line + "    ca_file: " + server.CAFile + "\n"
	if c.endpoints != "" {
		more += "    endpoints: " + c.endpoints + "\n"
	}
	page := pageRun{name: c.name, config: "config.yaml", token: good.Token, skip: c.skip, pairs: append(c.pairs, line, more)}
	if c.env != "" {
		page.env = []string{c.env}
	}
	for i := range page.pairs {
		page.pairs[i] = strings.ReplaceAll(page.pairs[i], "$URL", server.URL)
	}
	page.run(t)
}

func (p pageRun) run(t *testing.T) {
	t.Helper()
	folder := "../../examples/" + p.name
	page, err := os.ReadFile(folder + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(filepath.Join(folder, p.config))
	if err != nil {
		t.Fatal(err)
	}
	envoy := realtest.EnvoyPath(t)
	front, api := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	exchange := strings.NewReplacer(append(p.pairs,
		"localhost:10000", front, "snippet envoy", "snippet envoy --listen "+front, "127.0.0.1:8080", api,
		"/tmp/envoy.yaml", "envoy.yaml",
		// Several of them run on this machine, and their admin pages are not asked.
		"envoy -c /tmp/envoy.yaml", "sed -i 's/port_value: 9901/port_value: 0/' envoy.yaml\nenvoy --disable-hot-restart --concurrency 1 -l error -c envoy.yaml",
	)...)
	listen := fmt.Sprintf("listen: {grpc: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n", realtest.FreePort(t), realtest.FreePort(t))
	files := map[string]string{
		p.config: listen + exchange.Replace(string(settings)), "page.sh": p.script(exchange, string(page)), "build.log": "nothing\n",
		"page.txtar": "exec sh -eu page.sh\nstdout 'decision: +allow'\nstdout 'HTTP/1.1 200'\nstdout 'x-forwarded-user'\n",
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, p.name+".txtar"), []byte(files["page.txtar"]), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, dir, func(env *testscript.Env) error {
		env.Setenv("PATH", env.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(envoy))
		for _, v := range p.env {
			name, value, _ := strings.Cut(v, "=")
			env.Setenv(name, value)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
		return nil
	})
}

var promised = regexp.MustCompile(`^(.*?)\s+# .*?\b(allow \(200|deny \(401|200|401)`)

// pageScript makes a shell script of the commands of a page. What a comment
// promises ("# 401") must come, and what is started in the background is ended.
func (p pageRun) script(exchange *strings.Replacer, page string) string {
	var b strings.Builder
	if p.token != "" {
		b.WriteString("export TOKEN='" + p.token + "'\n")
	}
	b.WriteString("pids=\ntrap 'kill -KILL $pids; wait 2>/dev/null' EXIT\n")
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		if m[1] != "sh" || strings.Contains(m[2], "docker ") || p.skip != "" && strings.Contains(m[2], p.skip) {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(m[2], "\\\n", " ")) {
			if p.token != "" && strings.HasPrefix(line, "export ") {
				continue // a token or secret of one's own
			}
			b.WriteString(pageLine(exchange.Replace(strings.TrimRight(line, "\n"))))
		}
	}
	return b.String()
}

func pageLine(line string) string {
	if m := promised.FindStringSubmatch(line); m != nil {
		want := m[2]
		if len(want) == 3 {
			want = "HTTP/1.1 " + want
		}
		return fmt.Sprintf("out=$(%s) || :\necho \"$out\"\ncase \"$out\" in *'%s'*) ;; *) echo 'want %s' >&2; exit 1;; esac\n", m[1], want, want)
	}
	words, _, _ := strings.Cut(line, " # ")
	words = strings.TrimSpace(words)
	if before, ok := strings.CutSuffix(words, "&"); ok {
		return before + " &\npids=\"$pids $!\"\n"
	}
	return words + "\n"
}

// curlForPages is as much of curl as the pages use. It waits for what has only
// just been started.
func curlForPages() {
	args := os.Args[1:]
	req, err := http.NewRequest(http.MethodGet, "", nil)
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(1)
		}
	}
	check(err)
	for len(args) > 0 {
		switch word := args[0]; {
		case word == "-i" || word == "-s":
		case word == "-H" || word == "-u":
			value := args[1]
			args = args[1:]
			if word == "-u" {
				user, password, _ := strings.Cut(value, ":")
				req.SetBasicAuth(user, password)
				break
			}
			name, value, _ := strings.Cut(value, ":")
			req.Header.Set(name, strings.TrimSpace(value))
		default:
			parsed, err := http.NewRequest(http.MethodGet, word, nil)
			check(err)
			req.URL, req.Host = parsed.URL, parsed.Host
		}
		args = args[1:]
	}
	deadline := time.Now().Add(awaitFor)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		r, err := http.DefaultClient.Do(req)
		if time.Now().Before(deadline) && (err != nil || r.StatusCode == http.StatusServiceUnavailable) {
			continue
		}
		check(err)
		body, err := io.ReadAll(r.Body)
		check(err)
		fmt.Printf("HTTP/1.1 %s\n\n%s\n", strconv.Itoa(r.StatusCode), body)
		return
	}
}
