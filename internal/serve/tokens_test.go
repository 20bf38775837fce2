package serve

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/crypto/bcrypt"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// send returns the HTTP status, the user, and the names of the headers that
// are taken off the request.
func (l *lodge) send(method, path string, headers map[string]string) (status int, user string, removed []string) {
	l.t.Helper()
	m, err := l.check.Check(l.t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: method, Path: path, Host: "api", Headers: headers}},
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	ok := m.GetOkResponse()
	if ok == nil {
		return int(m.GetDeniedResponse().GetStatus().GetCode()), "", nil
	}
	for _, h := range ok.GetHeaders() {
		if h.GetHeader().GetKey() == "x-forwarded-user" {
			user = h.GetHeader().GetValue()
		}
	}
	return 200, user, ok.GetHeadersToRemove()
}

func withBasic(user, password string) map[string]string {
	return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func withBearer(token string) map[string]string {
	return map[string]string{"authorization": "Bearer " + token}
}

func withKey(token string) map[string]string { return map[string]string{"x-api-key": token} }

// beside opens the store of a configuration as the command line does, while a
// server runs on it.
func beside(t *testing.T, setting string) *tokenstore.Issuer {
	t.Helper()
	c := &config.APITokens{Store: setting, MaxLifetime: 24 * time.Hour}
	store, err := OpenTokenStore(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return tokenstore.NewIssuer(store, nil, TokenLimits(c), time.Now, nil)
}

func create(t *testing.T, i *tokenstore.Issuer, o tokenstore.Order) (id, token string) {
	t.Helper()
	if o.Name == "" {
		o.Name = "test"
	}
	made, err := i.Create(context.WithoutCancel(t.Context()), "tester", o)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, made.Secret.Reveal()
}

const tokenConfig = `
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
api_tokens: {store: %q, header: x-api-key}
rules:
  - {name: reports, match: {paths: [/reports/**]}, allow: {groups: [reporters]}}
`

func TestServeAPITokens(t *testing.T) {
	setting := "sqlite:" + filepath.Join(t.TempDir(), "tokens.db")
	l := start(t, fmt.Sprintf(tokenConfig, setting))
	tokens := beside(t, setting)
	_, all := create(t, tokens, tokenstore.Order{User: "alice", Groups: []string{"reporters"}})
	id, limited := create(t, tokens, tokenstore.Order{User: "bob", ReadOnly: true, Paths: []string{"/rest/**"}})
	l.eventually("the tokens are known", func() bool { s, _, _ := l.send("GET", "/rest/a", withKey(limited)); return s == 200 })

	other := limited[:len(limited)-1] + "!"
	for _, c := range []struct {
		what, method, path string
		headers            map[string]string
		status             int
		user               string
	}{
		{"Bearer", "GET", "/x", withBearer(all), 200, "alice"},
		{"Basic", "GET", "/x", withBasic("alice", all), 200, "alice"},
		{"key", "GET", "/x", withKey(all), 200, "alice"},
		{"writing", "POST", "/x", withBearer(all), 200, "alice"},
		{"group", "GET", "/reports/1", withBearer(all), 200, "alice"},
		{"not in the group", "GET", "/reports/1", withBearer(limited), 403, ""},
		{"another user", "GET", "/x", withBasic("bob", all), 401, ""},
		{"a password", "GET", "/x", withBasic("alice", "secret"), 401, ""},
		{"read-only reads", "GET", "/rest/a", withBearer(limited), 200, "bob"},
		{"read-only writes", "POST", "/rest/a", withBearer(limited), 403, ""},
		{"another path", "GET", "/x", withBearer(limited), 403, ""},
		{"checksum", "GET", "/rest/a", withKey(other), 400, ""},
		{"cut", "GET", "/rest/a", withKey(limited[:20]), 401, ""},
		{"nothing", "GET", "/x", nil, 401, ""},
		{"two", "GET", "/x", map[string]string{"authorization": "Bearer " + all, "x-api-key": all}, 400, ""},
	} {
		status, user, removed := l.send(c.method, c.path, c.headers)
		if status != c.status || user != c.user {
			t.Errorf("%s: %d %q, want %d %q", c.what, status, user, c.status, c.user)
		}
		for name := range c.headers {
			if status == 200 && !strings.Contains(strings.Join(removed, " "), name) {
				t.Errorf("%s: %s is passed on: %q", c.what, name, removed)
			}
		}
	}

	if _, err := tokens.Revoke(t.Context(), "tester", tokenstore.Filter{ID: id}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.eventually("the revocation is obeyed", func() bool { s, _, _ := l.send("GET", "/rest/a", withKey(limited)); return s == 401 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("a revocation was obeyed after %v", took)
	}
	if code, body := l.get("/readyz"); code != 200 || !strings.Contains(body, authz.APITokens) || !strings.Contains(body, "2 tokens") {
		t.Errorf("readyz: %d %s", code, body)
	}
	l.eventually("the record of decisions", func() bool { return strings.Contains(l.log.String(), `"token_id":"`+id+`"`) })
	for _, token := range []string{all, limited} {
		if strings.Contains(l.log.String(), token[3:15]) {
			t.Error("a part of a token stands in the log")
		}
	}
}

// The block may come, change and go while the server runs; tokens go with it.
func TestAPITokensComeAndGo(t *testing.T) {
	dir := t.TempDir()
	first, second := "sqlite:"+filepath.Join(dir, "first.db"), "sqlite:"+filepath.Join(dir, "second.db")
	_, one := create(t, beside(t, first), tokenstore.Order{User: "alice"})
	_, two := create(t, beside(t, second), tokenstore.Order{User: "bob"})
	htpasswd := filepath.Join(dir, "htpasswd")
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(htpasswd, []byte("carol:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	without := configFor(providertest.NewIssuer(t), "")
	l := start(t, without)
	status := func(headers map[string]string) int { s, _, _ := l.send("GET", "/x", headers); return s }
	if s := status(withBearer(one)); s != 401 {
		t.Errorf("without the block: %d", s)
	}
	l.write(without + fmt.Sprintf("api_tokens: {store: %q}\n", first))
	l.eventually("the first store", func() bool { return status(withBearer(one)) == 200 })
	l.write(without + fmt.Sprintf("api_tokens: {store: %q, htpasswd_file: %q}\n", second, htpasswd))
	l.eventually("the second store", func() bool { return status(withBearer(two)) == 200 })
	if s := status(withBearer(one)); s != 401 {
		t.Errorf("a token of the store that went: %d", s)
	}
	if s := status(withBasic("carol", "correct horse")); s != 200 {
		t.Errorf("a static user: %d", s)
	}
	for _, user := range []string{"carol", "dave"} {
		if s := status(withBasic(user, "wrong horse")); s != 401 {
			t.Errorf("a wrong password of %s: %d", user, s)
		}
	}
	l.write(without)
	l.eventually("none", func() bool { return status(withBearer(two)) == 401 })
}

// The admin API on the admin listener: a user of the one provider makes a token
// of their own, which works at once and is no way back into the API.
func TestAdminAPI(t *testing.T) {
	i := providertest.NewIssuer(t)
	dir := t.TempDir()
	audit := filepath.Join(dir, "audit.log")
	l := start(t, configFor(i, fmt.Sprintf(`
  - {name: shut, match: {paths: ["/**"]}, access: deny}
api_tokens: {store: "sqlite:%s/tokens.db"}
admin: {token: an-admin-token-of-32-characters., auditors: [eve]}
log: {audit: {file: %q}}
`, dir, audit)))
	l.write(configFor(i, fmt.Sprintf("api_tokens: {store: \"sqlite:%s/tokens.db\"}\nadmin: {auditors: [eve]}\nlog: {audit: {file: %q}}\n", dir, audit)))
	post := func(token, path, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest("POST", l.admin+"/api/v1/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	l.eventually("a user of the provider", func() bool {
		s, _ := post(i.Token("alice", nil), "tokens/revoke", `{"older_than": "0s"}`)
		return s == 200
	})
	status, made := post(i.Token("alice", nil), "tokens", `{"name": "ci"}`)
	token, _ := made["token"].(string)
	if status != 201 || made["user"] != "alice" || made["created_by"] != "alice (sso)" {
		t.Fatalf("%d %v", status, made)
	}
	l.eventually("the changed rules", func() bool { s, user, _ := l.send("GET", "/x", withBearer(token)); return s == 200 && user == "alice" })
	if status, answer := post(token, "tokens", `{"name": "more"}`); status != 401 {
		t.Errorf("an API token makes another: %d %v", status, answer)
	}
	if status, answer := post("an-admin-token-of-32-characters.", "tokens", `{"user": "bob", "name": "n"}`); status != 401 {
		t.Errorf("an admin token that the configuration no longer has: %d %v", status, answer)
	}
	if status, answer := post(i.Token("eve", nil), "tokens", `{"name": "n"}`); status != 403 {
		t.Errorf("an auditor makes a token: %d %v", status, answer)
	}
	if status, answer := post(i.Token("alice", nil), "tokens/"+made["id"].(string)+"/revoke", ""); status != 200 || answer["status"] != "revoked" {
		t.Errorf("%d %v", status, answer)
	}
	if s, _, _ := l.send("GET", "/x", withBearer(token)); s != 401 {
		t.Errorf("revoked here, it is not refused at once: %d", s)
	}
	lines, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"create", "revoke"} {
		if want := fmt.Sprintf(`"msg":"token changed","action":%q,"by":"alice (sso)","token_id":%q,"user":"alice","name":"ci"}`, action, made["id"]); !strings.Contains(string(lines), want) {
			t.Errorf("the audit record has no %s: %s", want, lines)
		}
	}
	if strings.Contains(string(lines)+l.log.String(), token[3:15]) {
		t.Error("a part of a token stands in a log")
	}
	if code, body := l.get("/api/v1/openapi.json"); code != 200 || !strings.Contains(body, `"openapi": "3.1.0"`) {
		t.Errorf("the document: %d %.100s", code, body)
	}
}
