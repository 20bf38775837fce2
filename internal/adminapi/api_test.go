package adminapi

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

const adminToken = "an admin token of some length"

// desk is an API on a store of its own, with an issuer whose users log in.
type desk struct {
	t      *testing.T
	url    string
	issuer *providertest.Issuer
	store  tokenstore.Store
	index  *tokenstore.Index
	access Access
	log    *book
	none   bool // no API tokens are configured
}

type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newDesk(t *testing.T) *desk { return newDeskWith(t, providertest.NewIssuer(t)) }

func newDeskWith(t *testing.T, issuerOfUsers *providertest.Issuer) *desk {
	t.Helper()
	d := &desk{t: t, issuer: issuerOfUsers, log: &book{}}
	d.access = Access{Token: authz.NewSecret(adminToken), Admins: []string{"root"}, Auditors: []string{"eve"}}
	var err error
	d.store, err = tokenstore.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "tokens.db"), authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	d.index = tokenstore.NewIndex(time.Hour, time.Now)
	if err := d.index.Sync(t.Context(), d.store); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(d.log, nil))
	issuer := tokenstore.NewIssuer(d.store, d.index, tokenstore.Limits{MaxLifetime: 365 * 24 * time.Hour, PerUser: 100_000}, time.Now, nil)
	server := httptest.NewServer(New(Options{
		Tokens: func() *tokenstore.Issuer {
			if d.none {
				return nil
			}
			return issuer
		},
		Login: d.engine(log, nil).Decide, Gate: d.engine(log, gateRules), Access: func() Access { return d.access }, Now: time.Now, Log: log,
	}))
	t.Cleanup(server.Close)
	d.url = server.URL + Root
	return d
}

// gateRules are those of the gate whose decisions are explained.
var gateRules = []authz.Rule{
	{Name: "public", Match: authz.Match{Paths: []string{"/public/**"}}, Access: authz.Public},
	{Name: "staff", Match: authz.Match{Paths: []string{"/staff/**"}, Headers: map[string][]string{"x-stage": {"test"}}}, Allow: authz.Allow{
		Groups: []string{"staff"}, Users: []string{"alice"},
	}},
	{Name: "wiki", Match: authz.Match{Context: map[string][]string{"app": {"wiki"}}}, Allow: authz.Allow{Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
}

// engine decides as a gate whose one provider is the issuer.
func (d *desk) engine(log *slog.Logger, rules []authz.Rule) *authz.Engine {
	d.t.Helper()
	p, err := providers.New(providers.Config{
		Name: "sso", Type: "oidc", Issuer: d.issuer.URL, Audiences: []string{"api"}, Groups: []string{"groups"},
	}, providers.Env{Now: time.Now, Log: log})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(p.Close)
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		d.t.Fatal(err)
	}
	engine, err := authz.New(&authz.Policy{
		Enabled: true, Providers: []authz.NamedProvider{{Name: "sso", Provider: p}}, Rules: rules,
	}, cache, time.Now)
	if err != nil {
		d.t.Fatal(err)
	}
	return engine
}

// who returns the credential of a person: "" is nobody, "token" the admin token.
func (d *desk) who(person string) string {
	switch person {
	case "":
		return ""
	case "token":
		return "Bearer " + adminToken
	}
	return "Bearer " + d.issuer.Token(person, map[string]any{"groups": []string{person + "s", "staff"}})
}

// call sends a request and returns the status and the answer.
func (d *desk) call(person, method, path, body string) (int, map[string]any) {
	d.t.Helper()
	contentType := "application/json"
	if strings.HasSuffix(path, "revoke-leaked") {
		contentType = "text/plain"
	}
	status, header, text := d.send(method, path, body, map[string]string{"Authorization": d.who(person), "Content-Type": contentType})
	var answer map[string]any
	if method != http.MethodHead {
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			d.t.Fatalf("%s %s: %d %s: %v", method, path, status, text, err)
		}
	}
	want := "application/json"
	if status >= 400 {
		want = "application/problem+json"
	}
	if got := header.Get("Content-Type"); got != want || header.Get("Cache-Control") != "no-store" {
		d.t.Errorf("%s %s: %d with headers %v", method, path, status, header)
	}
	return status, answer
}

func (d *desk) send(method, path, body string, headers map[string]string) (int, http.Header, string) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func (d *desk) want(status int, person, method, path, body string) map[string]any {
	d.t.Helper()
	got, answer := d.call(person, method, path, body)
	if got != status {
		d.t.Fatalf("%s: %s %s %.100s: %d %v, want %d", person, method, path, body, got, answer, status)
	}
	return answer
}

// create makes a token and returns its id and its text.
func (d *desk) create(person, body string) (id, token string) {
	d.t.Helper()
	made := d.want(201, person, "POST", "tokens", body)
	return made["id"].(string), made["token"].(string)
}

func (d *desk) good(token string) bool {
	_, err := d.index.Lookup(authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}, netip.Addr{}, new(authz.Room))
	return err == nil
}

func (d *desk) count() int {
	d.t.Helper()
	list, err := d.store.List(d.t.Context(), tokenstore.Filter{})
	if err != nil {
		d.t.Fatal(err)
	}
	return len(list)
}

func ids(answer map[string]any, list string) (out []string) {
	for _, t := range answer[list].([]any) {
		out = append(out, t.(map[string]any)["id"].(string))
	}
	return out
}

func TestLife(t *testing.T) {
	d := newDesk(t)
	status, header, text := d.send("POST", "tokens", `{"user": "alice", "name": "ci", "expires": "30d", "read_only": true, "paths": ["/rest/**"], "sources": ["10.0.0.0/8"]}`,
		map[string]string{"Authorization": "bearer " + adminToken, "Content-Type": "application/json; charset=UTF-8"})
	var made tokenstore.View
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != 201 || header.Get("Location") != Root+"tokens/"+made.ID {
		t.Fatalf("%d %v %s", status, header, text)
	}
	if !d.good(made.Token) || made.CreatedBy != "admin token" || !made.ReadOnly {
		t.Errorf("%+v", made)
	}
	rotated := d.want(200, "root", "POST", "tokens/"+made.ID+"/rotate", `{"overlap": "1h"}`)
	second := rotated["token"].(string)
	if !d.good(made.Token) || !d.good(second) || rotated["previous_until"] == nil {
		t.Errorf("%v", rotated)
	}
	third := d.want(200, "root", "POST", "tokens/"+made.ID+"/rotate", `{"overlap": "0s", "expires": "60d"}`)["token"].(string)
	if d.good(second) || !d.good(third) {
		t.Error("without overlap the old secret goes on")
	}
	shown := d.want(200, "eve", "GET", "tokens/"+made.ID, "")
	if history := shown["history"].([]any); len(history) != 3 || shown["token"] != nil || shown["token_sha256"] != nil {
		t.Errorf("%v", shown)
	}
	for range 2 { // the second changes nothing
		if gone := d.want(200, "token", "POST", "tokens/"+made.ID+"/revoke", ""); gone["status"] != "revoked" || gone["revoked_by"] != "admin token" {
			t.Errorf("%v", gone)
		}
	}
	if d.good(third) {
		t.Error("a revoked token is good")
	}
	d.want(409, "token", "POST", "tokens/"+made.ID+"/rotate", `{}`)
	if strings.Contains(d.log.String(), third[3:15]) {
		t.Error("a token stands in the log")
	}
}

func TestListAndRevokeMany(t *testing.T) {
	d := newDesk(t)
	var all []string
	for _, user := range []string{"alice", "alice", "bob", "carol"} {
		id, _ := d.create("token", `{"user": "`+user+`", "name": "n"}`)
		all = append(all, id)
	}
	slices.Sort(all)
	var seen []string
	for path := "tokens?limit=3"; ; {
		page := d.want(200, "eve", "GET", path, "")
		seen = append(seen, ids(page, "tokens")...)
		next, more := page["next"].(string)
		if !more {
			break
		}
		path = "tokens?limit=3&after=" + next
	}
	if !slices.Equal(seen, all) {
		t.Errorf("pages show %q, want %q", seen, all)
	}
	if got := ids(d.want(200, "token", "GET", "tokens?user=alice&status=active", ""), "tokens"); len(got) != 2 {
		t.Errorf("of alice: %q", got)
	}
	if got := ids(d.want(200, "token", "GET", "tokens?older_than=1d", ""), "tokens"); len(got) != 0 {
		t.Errorf("older than a day: %q", got)
	}
	if got := ids(d.want(200, "token", "POST", "tokens/revoke", `{"user": "alice", "older_than": "1d"}`), "revoked"); len(got) != 0 {
		t.Errorf("revoked of alice, older than a day: %q", got)
	}
	if got := ids(d.want(200, "token", "POST", "tokens/revoke", `{"user": "alice"}`), "revoked"); len(got) != 2 {
		t.Errorf("revoked of alice: %q", got)
	}
	if got := ids(d.want(200, "token", "GET", "tokens?status=revoked", ""), "tokens"); len(got) != 2 {
		t.Errorf("revoked: %q", got)
	}
	_, token := d.create("token", `{"user": "dave", "name": "n"}`)
	if got := d.want(200, "token", "POST", "tokens/revoke-leaked", "x "+token+" y "+token); len(ids(got, "revoked")) != 1 || got["found"] != 1.0 || d.good(token) {
		t.Errorf("leaked: %v", got)
	}
	imported := d.want(201, "root", "POST", "tokens/import", `[{"user": "erin", "name": "a"}, {"user": "erin", "name": "b", "token_sha256": "`+strings.Repeat("0a", 32)+`"}]`)
	if tokens := imported["tokens"].([]any); len(tokens) != 2 || tokens[1].(map[string]any)["token"] != nil {
		t.Errorf("imported: %v", imported)
	}
}

// Every route for every role: what is not said here is refused.
func TestRoles(t *testing.T) {
	d := newDesk(t)
	own, _ := d.create("token", `{"user": "alice", "name": "own"}`)
	other, _ := d.create("token", `{"user": "bob", "name": "other"}`)
	d.create("token", `{"user": "carol", "name": "n"}`)
	people := []string{"token", "root", "eve", "alice", ""}
	for _, c := range []struct {
		method, path, body string
		want               [5]int // of people
	}{
		{"GET", "tokens", "", [5]int{200, 200, 200, 200, 401}},
		{"HEAD", "tokens", "", [5]int{200, 200, 200, 200, 401}},
		{"GET", "tokens?user=alice", "", [5]int{200, 200, 200, 200, 401}},
		{"GET", "tokens?user=bob", "", [5]int{200, 200, 200, 403, 401}},
		{"GET", "tokens/" + own, "", [5]int{200, 200, 200, 200, 401}},
		{"GET", "tokens/" + other, "", [5]int{200, 200, 200, 404, 401}},
		{"POST", "tokens", `{"user": "alice", "name": "n"}`, [5]int{201, 201, 403, 201, 401}},
		{"POST", "tokens", `{"name": "n"}`, [5]int{400, 201, 403, 201, 401}},
		{"POST", "tokens", `{"user": "bob", "name": "n"}`, [5]int{201, 201, 403, 403, 401}},
		{"POST", "tokens", `{"user": "alice", "name": "n", "groups": ["staff", "alices"]}`, [5]int{201, 201, 403, 201, 401}},
		{"POST", "tokens", `{"user": "alice", "name": "n", "groups": ["staff", "roots"]}`, [5]int{201, 201, 403, 403, 401}},
		{"POST", "tokens/import", `[{"user": "alice", "name": "n"}]`, [5]int{201, 201, 403, 403, 401}},
		{"POST", "tokens/" + own + "/rotate", `{}`, [5]int{200, 200, 403, 200, 401}},
		{"POST", "tokens/" + other + "/rotate", `{}`, [5]int{200, 200, 403, 404, 401}},
		{"POST", "tokens/" + other + "/revoke", "", [5]int{200, 200, 403, 404, 401}},
		{"POST", "tokens/" + own + "/revoke", "", [5]int{200, 200, 403, 200, 401}},
		{"POST", "tokens/revoke", `{"user": "bob"}`, [5]int{200, 200, 403, 403, 401}},
		{"POST", "tokens/revoke", `{"unused": "1d"}`, [5]int{200, 200, 403, 200, 401}},
		{"POST", "tokens/revoke-leaked", "nothing", [5]int{200, 200, 403, 200, 401}},
		{"GET", "openapi.json", "", [5]int{200, 200, 200, 200, 200}},
		{"GET", "nothing", "", [5]int{404, 404, 404, 404, 404}},
		{"DELETE", "tokens/" + own, "", [5]int{405, 405, 405, 405, 405}},
		{"PUT", "tokens", "{}", [5]int{405, 405, 405, 405, 405}},
		{"GET", "tokens/import", "", [5]int{405, 405, 405, 405, 405}},
	} {
		for i, person := range people {
			if got, answer := d.call(person, c.method, c.path, c.body); got != c.want[i] {
				t.Errorf("%q: %s %s %s: %d %v, want %d", person, c.method, c.path, c.body, got, answer, c.want[i])
			}
		}
	}
	for _, id := range ids(d.want(200, "alice", "GET", "tokens", ""), "tokens") {
		if shown := d.want(200, "eve", "GET", "tokens/"+id, ""); shown["user"] != "alice" {
			t.Errorf("alice sees a token of %v", shown["user"])
		}
	}
}

// Revoking all that is one's own leaves everybody else's alone.
func TestSelfServiceEndsAtOneself(t *testing.T) {
	d := newDesk(t)
	_, bobs := d.create("token", `{"user": "bob", "name": "n"}`)
	_, alices := d.create("alice", `{"name": "n"}`)
	d.want(200, "alice", "POST", "tokens/revoke", `{"older_than": "0s"}`)
	d.want(200, "alice", "POST", "tokens/revoke-leaked", bobs)
	if !d.good(bobs) {
		t.Error("alice revoked a token of bob's")
	}
	d.want(200, "alice", "POST", "tokens/revoke-leaked", alices)
	if d.good(alices) {
		t.Error("alice could not revoke her own")
	}
	d.access.Creators = []string{"builders"}
	d.want(403, "alice", "POST", "tokens", `{"name": "n"}`)
	d.access.Creators = []string{"builders", "alices"}
	id, _ := d.create("alice", `{"name": "n"}`)
	d.access.AdminsOnly = true
	d.want(403, "alice", "POST", "tokens", `{"name": "n"}`)
	d.want(403, "alice", "POST", "tokens/"+id+"/rotate", `{}`)
	d.want(200, "alice", "POST", "tokens/"+id+"/revoke", "")
	d.want(201, "root", "POST", "tokens", `{"name": "n"}`)
}

func TestWhoIsRefused(t *testing.T) {
	d := newDesk(t)
	_, token := d.create("token", `{"user": "root", "name": "n"}`)
	for what, c := range map[string]struct {
		line string
		want int
	}{
		"nobody":              {"", 401},
		"an API token":        {"Bearer " + token, 401},
		"the admin token cut": {"Bearer " + adminToken[:len(adminToken)-1], 400},
		"as Basic":            {"Basic cm9vdDp4", 401},
		"another audience":    {"Bearer " + d.issuer.Token("root", map[string]any{"aud": "other"}), 401},
		"expired":             {"Bearer " + d.issuer.Token("root", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), 401},
		"bound to a key":      {"Bearer " + d.issuer.Token("root", map[string]any{"cnf": map[string]string{"jkt": "x"}}), 401},
		"two in one":          {"Bearer a,Bearer b", 400},
	} {
		status, header, body := d.send("GET", "tokens", "", map[string]string{"Authorization": c.line})
		if status != c.want || status == 401 && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %v %s", what, status, header, body)
		}
		if strings.Contains(body+d.log.String(), token[3:15]) {
			t.Errorf("%s: a token is told", what)
		}
	}
	d.access.Token = authz.Secret{}
	for _, line := range []string{"Bearer ", "Bearer", "Bearer " + adminToken} {
		if status, _, _ := d.send("GET", "tokens", "", map[string]string{"Authorization": line}); status == 200 {
			t.Errorf("without an admin token %q is let in", line)
		}
	}
	down := providertest.NewIssuer(t)
	down.Fail(providertest.Down)
	d = newDeskWith(t, down)
	status, header, _ := d.send("GET", "tokens", "", map[string]string{"Authorization": d.who("root")})
	if status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("the provider is down: %d %v", status, header)
	}
	d.want(200, "token", "GET", "tokens", "")
}

func TestForeignPagesAreRefused(t *testing.T) {
	d := newDesk(t)
	for what, header := range map[string][2]string{
		"origin": {"Origin", "https://evil.example"}, "site": {"Sec-Fetch-Site", "cross-site"}, "same site": {"Sec-Fetch-Site", "same-site"},
	} {
		status, _, body := d.send("POST", "tokens", `{"user": "alice", "name": "n"}`,
			map[string]string{"Authorization": "Bearer " + adminToken, "Content-Type": "application/json", header[0]: header[1]})
		if status != 403 || d.count() != 0 {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
}

func TestBadInput(t *testing.T) {
	d := newDesk(t)
	id, token := d.create("token", `{"user": "alice", "name": "n"}`)
	long := strings.Repeat("a", 1<<20)
	sql := `'; DROP TABLE tokens; --`
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	bodies := map[string]string{
		"nothing": "", "not JSON": "{", "a list": "[]", "a text": `"x"`, "null": "null", "two": `{"user": "a", "name": "n"} {}`,
		"unknown member": `{"user": "a", "name": "n", "created_by": "root"}`, "another case": `{"USER": "a", "name": "n"}`,
		"twice": `{"user": "a", "user": "b", "name": "n"}`, "null member": `{"user": "a", "name": "n", "groups": null}`,
		"number": `{"user": 5, "name": "n"}`, "deep": `{"user": "a", "name": "n", "groups": [[[[[["x"]]]]]]}`,
		"not UTF-8": "{\"user\": \"a\", \"name\": \"n\xff\"}", "lone surrogate": `{"user": "a", "name": "n\ud800"}`,
		"a hash": `{"user": "a", "name": "n", "token_sha256": "` + strings.Repeat("00", 32) + `"}`,
		"status": `{"user": "a", "name": "n", "revoked": null}`,
	}
	for _, field := range []string{"user", "name", "description", "expires"} {
		for what, text := range map[string]string{"NUL": "a\x00", "LF": "a\nb", "CR LF": "a\r\nX: y", "1 MiB": long, "SQL": sql, "token": token} {
			body := map[string]string{"user": "a", "name": "n"}
			body[field] = text
			b, _ := json.Marshal(body)
			bodies[field+" "+what] = string(b)
		}
	}
	for _, field := range []string{"groups", "hosts", "paths", "sources"} {
		for what, text := range map[string]string{"NUL": "/a\x00", "LF": "/a\nb", "1 MiB": "/" + long, "SQL": "/" + sql} {
			bodies[field+" "+what] = `{"user": "a", "name": "n", "` + field + `": [` + quote(text) + `]}`
		}
	}
	for what, body := range bodies {
		status, answer := d.call("token", "POST", "tokens", body)
		if detail, _ := answer["detail"].(string); status != 400 || detail == "" || len(detail) > 400 || strings.Contains(detail, token[3:15]) {
			t.Errorf("create: %s: %d %.600v", what, status, answer)
		}
		if strings.HasPrefix(body, "{") && what != "a hash" {
			if status, answer := d.call("token", "POST", "tokens/import", "["+body+"]"); status != 400 {
				t.Errorf("import: %s: %d %.600v", what, status, answer)
			}
		}
	}
	for _, query := range []string{
		"user=a%00", "user=a%0d%0ab", "user=" + strings.Repeat("a", 5000), "user=%27%3B+DROP+TABLE+tokens%3B+--", "user=%ff", "user=", "user=a&user=b",
		"status=good", "older_than=1y", "unused=%27", "after=x", "after=%00", "limit=0", "limit=1001", "limit=01", "limit=1e2", "limit=-1", "nothing=1", "user=a;limit=1", "user=%zz",
	} {
		if status, answer := d.call("token", "GET", "tokens?"+query, ""); status != 400 {
			t.Errorf("list %.50s: %d %v", query, status, answer)
		}
	}
	for what, c := range map[string][3]string{
		"an id with SQL":   {"GET", "tokens/%27%3B%20DROP%20TABLE%20tokens", ""},
		"an id with NUL":   {"GET", "tokens/" + id[:15] + "%00", ""},
		"an id with LF":    {"GET", "tokens/" + id + "%0a", ""},
		"another case":     {"POST", "tokens/" + strings.ToUpper(id) + "/revoke", ""},
		"a token as an id": {"POST", "tokens/" + token + "/revoke", ""},
	} {
		if status, answer := d.call("token", c[0], c[1], c[2]); status != 404 {
			t.Errorf("%s: %d %v", what, status, answer)
		}
	}
	for what, body := range map[string]string{"overlap": `{"overlap": "1y"}`, "long overlap": `{"overlap": "31d"}`, "never": `{"expires": "never"}`, "SQL": `{"overlap": "'; DROP TABLE tokens"}`} {
		if status, answer := d.call("token", "POST", "tokens/"+id+"/rotate", body); status != 400 {
			t.Errorf("rotate: %s: %d %v", what, status, answer)
		}
	}
	for what, body := range map[string]string{"nothing": "{}", "empty": `{"user": ""}`, "SQL": `{"user": "' OR '1'='1"}`, "NUL": `{"user": "\u0000"}`, "age": `{"older_than": "x"}`} {
		if status, answer := d.call("token", "POST", "tokens/revoke", body); status != 400 {
			t.Errorf("revoke: %s: %d %v", what, status, answer)
		}
	}
	auth := "Bearer " + adminToken
	if status, _, _ := d.send("POST", "tokens", `{"user": "a", "name": "n"}`, map[string]string{"Authorization": auth, "Content-Type": "text/plain"}); status != 415 {
		t.Errorf("as text: %d", status)
	}
	if status, _, _ := d.send("POST", "tokens", `{"name": "`+strings.Repeat(long, 5)+`"}`, map[string]string{"Authorization": auth, "Content-Type": "application/json"}); status != 413 {
		t.Errorf("5 MiB: %d", status)
	}
	if n := d.count(); n != 1 || !d.good(token) {
		t.Errorf("%d tokens are stored, want 1; it is good: %t", n, d.good(token))
	}
}

func TestStoreOutOfReach(t *testing.T) {
	d := newDesk(t)
	id, token := d.create("token", `{"user": "alice", "name": "n"}`)
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{"tokens": `{"user": "a", "name": "n"}`, "tokens/" + id + "/revoke": "", "tokens/" + id + "/rotate": "{}", "tokens/revoke": `{"user": "alice"}`} {
		status, header, text := d.send("POST", path, body, map[string]string{"Authorization": "Bearer " + adminToken, "Content-Type": "application/json"})
		if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(text, "nothing was changed") || strings.Contains(text, "sql") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if !d.good(token) {
		t.Error("a token that is known is refused")
	}
	d.none = true
	d.want(404, "token", "GET", "tokens", "")
}

// The document tells every route, and no other.
func TestDocumentHasEveryRoute(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(Document, &doc); err != nil {
		t.Fatal(err)
	}
	var told, are []string
	for path, operations := range doc.Paths {
		for method := range operations {
			if method != "parameters" && path != "/openapi.json" {
				told = append(told, strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/"))
			}
		}
	}
	for _, r := range routes {
		are = append(are, r.method+" "+r.path)
	}
	slices.Sort(told)
	slices.Sort(are)
	if !slices.Equal(told, are) {
		t.Errorf("the document tells %q, there are %q", told, are)
	}
}
