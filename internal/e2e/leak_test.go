package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cryptorand "crypto/rand"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// telltale is how much of a secret must not stand anywhere, in bytes.
const telltale = 12

// vault knows every part of every secret that a test used.
type vault map[[telltale]byte]string

// add makes a secret known; what it is stands in messages instead of it.
func (v vault) add(what, secret string) string {
	for i := 0; i+telltale <= len(secret); i++ {
		v[[telltale]byte([]byte(secret[i:i+telltale]))] = what
	}
	return secret
}

// search looks through a text for a part of any secret.
func (v vault) search(t *testing.T, where string, text []byte) {
	t.Helper()
	for i := 0; i+telltale <= len(text); i++ {
		if what, leaked := v[[telltale]byte(text[i:i+telltale])]; leaked {
			from, to := max(0, i-120), min(len(text), i+telltale+20)
			t.Errorf("%s holds a part of %s: …%q…", where, what, text[from:to])
			return
		}
	}
}

func random() string { return cryptorand.Text() + strings.ToLower(cryptorand.Text()) }

// shapes are the ways in which people send a credential, right and wrong.
var shapes = []struct {
	name string
	make func(secret string) (target string, headers map[string]string)
}{
	{"bearer", func(s string) (string, map[string]string) { return "/issues", auth("Bearer " + s) }},
	{"basic", func(s string) (string, map[string]string) { return "/issues", auth("Basic " + b64("alice:"+s)) }},
	{"key", func(s string) (string, map[string]string) { return "/issues", map[string]string{"x-api-key": s} }},
	{"no scheme", func(s string) (string, map[string]string) { return "/issues", auth(s) }},
	{"another scheme", func(s string) (string, map[string]string) { return "/issues", auth("Token " + s) }},
	{"glued", func(s string) (string, map[string]string) { return "/issues", auth("Bearer" + s) }},
	{"twice in a line", func(s string) (string, map[string]string) { return "/issues", auth("Bearer " + s + ", Bearer " + s) }},
	{"two", func(s string) (string, map[string]string) {
		return "/issues", map[string]string{"authorization": "Bearer " + s, "x-api-key": s}
	}},
	{"as the user", func(s string) (string, map[string]string) { return "/issues", auth("Basic " + b64(s+":")) }},
	{"without a colon", func(s string) (string, map[string]string) { return "/issues", auth("Basic " + b64(s)) }},
	{"not base64", func(s string) (string, map[string]string) { return "/issues", auth("Basic alice:" + s) }},
	{"in the query", func(s string) (string, map[string]string) { return "/issues?access_token=" + s, nil }},
	{"quoted", func(s string) (string, map[string]string) { return "/issues", auth(`Bearer "` + s + `"`) }},
	{"DPoP", func(s string) (string, map[string]string) {
		return "/issues", map[string]string{"authorization": "DPoP " + s, "dpop": s}
	}},
}

func auth(value string) map[string]string { return map[string]string{"authorization": value} }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// leaky is an identity provider that says back what it was sent, in whatever
// it answers.
func leaky(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		said := string(body) + " " + r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		switch rand.IntN(6) {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, said)
		case 1:
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid_request", "error_description": said})
		case 2:
			_, _ = io.WriteString(w, said) // not JSON
		case 3:
			w.Header().Set("Location", "/elsewhere?"+string(body))
			w.WriteHeader(http.StatusFound)
		case 4:
			_ = json.NewEncoder(w).Encode(map[string]any{"active": false, "error": said})
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"active": said, "exp": said})
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// leakWorld is a server that logs all it can, with every secret in its
// configuration, and everything that it and the command line ever said.
type leakWorld struct {
	t      *testing.T
	vault  vault
	g      *gatelodge
	asker  *asker
	issuer *issuer
	config string
	said   map[string]*bytes.Buffer
	made   []string // good API tokens
	audit  string
	admin  string // the admin token
}

func newLeakWorld(t *testing.T, store, format string) *leakWorld {
	t.Helper()
	w := &leakWorld{t: t, vault: vault{}, issuer: newIssuer(t), said: map[string]*bytes.Buffer{}}
	w.g = newGatelodge(t, "")
	dir := filepath.Dir(w.g.config)
	secret := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(w.vault.add("the "+name, random())), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := w.vault.add("the password of a static user", random())
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(users, []byte("carol:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.vault.add("the hash of a password", string(hash)[7:])
	w.admin = w.vault.add("the admin token", random())
	w.audit = filepath.Join(dir, "audit.log")
	w.config = fmt.Sprintf(`
listen: {grpc: %q, admin: %q}
log: {level: debug, format: %s, audit: {file: %q}}
limits: {drain_delay: 0.1s}
admin: {token: %q}
api_tokens: {store: %q, store_password: {file: %q}, htpasswd_file: %q, per_user: 0}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q]}
  - {name: leaky, type: oauth2, client_id: me, client_secret: {file: %q}, audiences: [x], endpoints: {introspection: %q}, timeout: 1s}
`, w.g.grpc, w.g.admin, format, w.audit, w.admin, store, secret("store-password"), users, w.issuer.url, audience, secret("client-secret"), leaky(t).URL)
	w.write(w.config)
	w.g.signal = "QUIT" // for a dump at the end
	w.g.start(t)
	w.asker = newAsker(t, w.g.grpc)
	return w
}

func (w *leakWorld) write(config string) {
	w.t.Helper()
	if err := os.WriteFile(w.g.config, []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// note keeps what was said somewhere.
func (w *leakWorld) note(where string, text []byte) {
	b := w.said[where]
	if b == nil {
		b = new(bytes.Buffer)
		w.said[where] = b
	}
	b.Write(append(text, '\n'))
}

// send presents a secret in one shape, and notes the answer.
func (w *leakWorld) send(what, secret string, shape int) {
	w.t.Helper()
	s := shapes[shape%len(shapes)]
	target, headers := s.make(w.vault.add(what+", "+s.name, secret))
	for _, value := range headers {
		w.vault.add(what+", "+s.name, value[strings.IndexByte(value, ' ')+1:])
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	m, err := w.asker.client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: target, Host: "api.example.test", Headers: headers,
		}},
	}})
	if err != nil {
		w.t.Fatalf("%s, %s: %v", what, s.name, err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.note("an answer to Envoy", text)
}

// replay presents credentials, good and bad, in every shape.
func (w *leakWorld) replay(many int) {
	w.t.Helper()
	stranger := newIssuer(w.t)
	for n := range many {
		// Each kind meets each shape: their numbers have no common divisor.
		token := w.made[n%len(w.made)]
		at := 3 + rand.IntN(len(token)-3)
		good := w.issuer.claims("alice")
		switch n % 13 {
		case 0, 1:
			w.send("a good API token", token, n)
		case 2:
			w.send("a wrong API token", token[:at]+string('0'+(token[at]+1)%10)+token[at+1:], n)
		case 3:
			w.send("a cut API token", token[:max(at, telltale)], n)
		case 4:
			w.send("a long API token", token+token, n)
		case 5:
			unknown, err := tokenstore.NewSecret()
			if err != nil {
				w.t.Fatal(err)
			}
			w.send("an unknown API token", unknown.Reveal(), n)
		case 6:
			w.send("an opaque token", random(), n)
		case 7:
			w.send("a JWT", w.issuer.sign(good), n)
		case 8:
			w.send("an expired JWT", w.issuer.sign(good.with(claims{"exp": 1, "iat": 0})), n)
		case 9:
			w.send("a JWT for others", w.issuer.sign(good.with(claims{"aud": "others"})), n)
		case 10:
			w.send("a JWT of a stranger", stranger.sign(good), n)
		case 11:
			w.send("a JWT with a broken part", w.issuer.sign(good)[:60+n%300], n)
		case 12:
			w.send("a JWT of an unknown issuer", stranger.sign(stranger.claims("alice")), n)
		}
	}
}

// call sends a request to the admin listener and notes the answer.
func (w *leakWorld) call(method, path, token, body string) []byte {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.g.admin+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, "leaked") {
		req.Header.Set("Content-Type", "text/plain")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func (w *leakWorld) get(path string) {
	w.t.Helper()
	w.note("GET "+path, w.call("GET", path, w.admin, ""))
}

// create makes API tokens by the admin API, whose answer alone shows them.
func (w *leakWorld) create(many int) {
	w.t.Helper()
	for range many {
		var made struct{ ID, Token string }
		text := w.call("POST", "/api/v1/tokens", w.admin, `{"user": "alice", "name": "n"}`)
		if err := json.Unmarshal(text, &made); err != nil || made.Token == "" {
			w.t.Fatalf("%s: %v", text, err)
		}
		w.made = append(w.made, w.vault.add("an API token", made.Token))
		if len(w.made)%4 == 0 {
			w.note("the admin API", w.call("POST", "/api/v1/tokens/"+made.ID+"/revoke", w.admin, ""))
		}
	}
}

// misuse has the admin API refuse what holds secrets in the wrong places.
func (w *leakWorld) misuse() {
	w.t.Helper()
	token := w.made[0]
	for _, c := range [][4]string{
		{"GET", "/api/v1/tokens", token, ""},
		{"GET", "/api/v1/tokens", w.issuer.sign(w.issuer.claims("alice").with(claims{"exp": 1})), ""},
		{"GET", "/api/v1/tokens", w.admin + "x", ""},
		{"GET", "/api/v1/tokens/" + token, w.admin, ""},
		{"POST", "/api/v1/tokens/" + token + "/revoke", w.admin, ""},
		{"POST", "/api/v1/tokens/" + token + "/rotate", w.admin, "{}"},
		{"GET", "/api/v1/tokens?after=" + token, w.admin, ""},
		{"GET", "/api/v1/tokens?user=" + token, w.admin, ""},
		{"GET", "/api/v1/tokens?" + token + "=1", w.admin, ""},
		{"GET", "/" + token, w.admin, ""},
		{"POST", "/api/v1/tokens", w.admin, `{"user": "alice", "name": "` + token + `"}`},
		{"POST", "/api/v1/tokens", w.admin, `{"user": "` + token + `", "name": "n"}`},
		{"POST", "/api/v1/tokens", w.admin, `{"` + token + `": "n"}`},
		{"POST", "/api/v1/tokens", w.admin, token},
		{"POST", "/api/v1/tokens", w.admin, `{"user": "alice", "name": "n", "expires": "` + token + `"}`},
		{"POST", "/api/v1/tokens", w.admin, `{"user": "alice", "name": "n", "paths": ["/` + token + `"]}`},
		{"POST", "/api/v1/tokens/import", w.admin, `[{"user": "alice", "name": "n", "token_sha256": "` + token + `"}]`},
		{"POST", "/api/v1/tokens/revoke-leaked", w.admin, "it was " + w.made[len(w.made)-1] + " and " + token[:30]},
	} {
		req := w.call(c[0], c[1], w.vault.add("a credential of the admin API", c[2]), c[3])
		w.note("the admin API", req)
	}
}

// misconfigure has files refused, with a secret near each kind of fault: by the
// running server and by the command line.
func (w *leakWorld) misconfigure() {
	w.t.Helper()
	failed := 0.0
	for n, broken := range []string{
		"admin: {token: %s",
		"admin: {token: [%s]}",
		"admin: {tokn: %s}",
		"admin: {token: {evn: %s}}",
		"admin: {token: {env: %s}}",
		"admin: {token: {file: /nowhere/%s}}",
		"admin:\n  token: %[1]s\n  token: %[1]s",
		"admin: {token: %s}\n\tx",
		"admin: %s",
		"api_tokens: {store: \"postgres://u:%s@127.0.0.1/db\"}",
		"api_tokens: {store: \"postgres://u@127.0.0.1/db?password=%s\"}",
		"api_tokens: {store: \"%s\"}",
		"api_tokens: {store: \"postgres://u@127.0.0.1:1/db\", store_password: {%s: x}}",
		"providers:\n  - {name: a, type: oauth2, client_id: x, client_secret: %s}",
		"providers:\n  - {name: a, type: oauth2, client_id: x, client_secret: {value: %s}}",
		"providers:\n  - {name: a, type: oidc, issuer: \"https://u:%s@idp.example.com\", audiences: [x]}",
		"providers:\n  - {name: a, type: oauth2, client_id: x, client_secret: [%s], endpoints: {introspection: \"https://idp.example.com\"}}",
		"dpop: {nonce_key: [%s]}",
	} {
		secret := w.vault.add(fmt.Sprintf("the secret of broken file %d", n), random())
		w.write("listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n" + fmt.Sprintf(broken, secret) + "\n")
		w.shell("", "check-config", "--config", w.g.config)
		w.shell("", "token", "list", "--config", w.g.config)
		w.shell("", "serve", "--config", w.g.config)
		if n%realtest.Scale(3, 1) > 0 {
			continue // the server takes its time to look at a file
		}
		before := failed
		eventually(w.t, 10*time.Second, fmt.Sprintf("the server refuses broken file %d", n), func() bool {
			failed = w.g.metric(w.t, failedReloads)
			return failed > before
		})
	}
	w.write(w.config)
	w.shell("", "check-config", "--config", w.g.config)
}

// shell runs a command and notes all that it prints.
func (w *leakWorld) shell(in string, args ...string) (stdout []byte) {
	w.t.Helper()
	path, err := binary()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Dir = strings.NewReader(in), filepath.Dir(w.g.config)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	_ = cmd.Run() // many are to fail
	if ctx.Err() != nil {
		w.t.Errorf("gatelodge %s did not end", args[0])
	}
	where := "gatelodge " + args[0]
	if len(args) > 1 && args[0] == "token" && len(args[1]) < telltale {
		where += " " + args[1]
	}
	w.note(where+" on standard error", told.Bytes())
	if len(args) < 2 || args[0] != "token" || args[1] != "create" && args[1] != "rotate" && args[1] != "import" {
		w.note(where, out.Bytes())
	}
	return out.Bytes()
}

// commandLine runs every command, with secrets where they belong and where
// they do not.
func (w *leakWorld) commandLine() {
	w.t.Helper()
	dir := filepath.Dir(w.g.config)
	var made struct{ ID, Token string }
	out := w.shell("", "token", "create", "--user", "bob", "--name", "n", "--json", "--config", w.g.config)
	if err := json.Unmarshal(out, &made); err != nil || bytes.Count(out, []byte(made.Token)) != 1 {
		w.t.Errorf("token create shows its token other than once: %v", err)
	}
	token := w.vault.add("a token of the command line", made.Token)
	out = w.shell("", "token", "rotate", made.ID, "--config", w.g.config)
	if text := strings.TrimSpace(string(out)); !tokenstore.Valid(text) {
		w.t.Errorf("token rotate prints %d bytes", len(text))
	} else {
		w.vault.add("a rotated token", text)
	}
	file := filepath.Join(dir, "given")
	jwt := w.vault.add("a JWT of the command line", w.issuer.token("bob"))
	for _, in := range []string{token, token[:40], token + "x", jwt, jwt[:100], random()} {
		w.vault.add("what test was given", in)
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			w.t.Fatal(err)
		}
		for _, more := range [][]string{nil, {"--json"}, {"--type", "basic", "--user", "bob"}, {"--type", "key"}} {
			w.shell("", append([]string{"test", "--config", w.g.config, "--token-file", file, "--timeout", "3s"}, more...)...)
		}
		for _, p := range []string{"lab", "leaky"} {
			w.shell("", "attributes", "--config", w.g.config, "--provider", p, "--token-file", file, "--timeout", "3s")
		}
	}
	c := []string{"--config", w.g.config}
	for _, args := range [][]string{
		{"token", "list"},
		{"token", "list", "--json"},
		{"token", "show", made.ID},
		{"token", "show", made.ID, "--json"},
		{"token", "show", token},
		{"token", "revoke", token},
		{"token", "rotate", token},
		{"token", "revoke", "--user", token},
		{"token", "list", "--user", token},
		{"token", "list", "--status", token},
		{"token", "list", "--older-than", token},
		{"token", "create", "--user", "bob", "--name", token},
		{"token", "create", "--user", token, "--name", "n"},
		{"token", "create", "--user", "bob", "--name", "n", "--expires", token},
		{"token", "create", "--user", "bob", "--name", "n", "--path", "/" + token},
		{"token", "create", "--user", "bob", "--name", "n", "--source", token},
		{"token", "create", "--user", "bob", "--name", "n", "--group", token},
		{"token", "create", "--user", "bob", "--name", "n", token},
		{"token", "rotate", made.ID, token},
		{"token", "rotate", made.ID, "--overlap", token},
		{"token", token},
		{token},
		{"test", token},
		{"test", "--token", token},
		{"test", "--token=" + token},
		{"test", "--header", "Authorization: Bearer " + token},
		{"test", "--header", "X-Api-Key: " + token},
		{"token", "revoke", "--token=" + token},
		{"serve", token},
		{"check-config", token},
		{"attributes", "--provider", token},
		{"help", token},
	} {
		w.shell("", append(args, c...)...)
	}
	w.shell(`[{"user": "bob", "name": "`+token+`"}]`, "token", "import", "--file", "-", "--config", w.g.config)
	w.shell(`[{"user": "bob", "token": "`+token+`"}]`, "token", "import", "--file", "-", "--config", w.g.config)
	w.shell(`[{"`+token+`": 1}]`, "token", "import", "--file", "-", "--config", w.g.config)
	w.shell(`{"`+token, "token", "import", "--file", "-", "--config", w.g.config)
	w.shell(token, "token", "import", "--file", "-", "--config", w.g.config)
	w.shell("in a log: "+token, "token", "revoke", "--leaked", "--config", w.g.config)
	w.shell("in a log: "+token, "token", "revoke", "--leaked", "--json", "--config", w.g.config)
}

// end has the server dump its goroutines, and searches all that was said.
func (w *leakWorld) end(presented int) {
	t := w.t
	t.Helper()
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/api/v1/tokens?limit=1000", "/api/v1/openapi.json"} {
		w.get(path)
	}
	record := func() []byte {
		text, err := os.ReadFile(w.audit)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	eventually(t, 10*time.Second, "every decision is recorded", func() bool { return bytes.Count(record(), []byte("\n")) >= presented })
	w.note("the audit record", record())
	_ = w.g.Stop()
	w.note("the log", []byte(w.g.Output()))
	if !strings.Contains(w.g.Output(), "\ngoroutine 1 ") || strings.Count(w.g.Output(), "(*Server)") == 0 {
		t.Error("there is no dump")
	}
	total := 0
	for where, text := range w.said {
		w.vault.search(t, where, text.Bytes())
		total += text.Len()
	}
	realtest.Measured(t, "%d credentials presented; %d KiB of logs, audit, metrics, answers, errors and a dump hold no %d bytes of any of them", presented, total>>10, telltale)
}

// Whatever the server and the command line say, they say no secret: at the log
// level debug, over every kind of error.
func TestNothingSaysASecret(t *testing.T) {
	t.Parallel()
	many := realtest.Scale(180, 3000)
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "tokens.db")
		w := newLeakWorld(t, "sqlite:"+path, "text")
		w.create(12)
		w.replay(many)
		w.misuse()
		w.commandLine()
		w.misconfigure()
		files, err := filepath.Glob(path + "*")
		if err != nil || len(files) < 2 {
			t.Fatalf("%q, %v", files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			w.note("the file of the store", text)
		}
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		w.outage()
		w.end(many)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := realtest.NewPostgres(t)
		at, err := url.Parse(server.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		w := newLeakWorld(t, at.String(), "json")
		w.create(12)
		w.replay(many)
		server.Stop()
		w.outage()
		w.commandLineOut()
		w.end(many)
	})
}

// outage uses the server while its store is away.
func (w *leakWorld) outage() {
	w.t.Helper()
	eventually(w.t, 10*time.Second, "the server notices", func() bool { return strings.Contains(w.g.Output(), "out of reach") })
	w.replay(26)
	w.misuse()
	w.note("the admin API", w.call("POST", "/api/v1/tokens", w.admin, `{"user": "alice", "name": "n"}`))
	w.get("/readyz")
	w.shell("", "token", "list", "--config", w.g.config)
}

// commandLineOut runs commands whose store is away.
func (w *leakWorld) commandLineOut() {
	w.t.Helper()
	for _, args := range [][]string{{"token", "list"}, {"token", "create", "--user", "bob", "--name", "n"}, {"token", "revoke", "--user", "bob"}} {
		w.shell("", append(args, "--config", w.g.config)...)
	}
	w.shell(w.made[0], "token", "revoke", "--leaked", "--config", w.g.config)
}
