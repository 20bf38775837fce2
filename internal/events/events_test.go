package events

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// world is the routes with one provider, "sso", and what they did.
type world struct {
	ids     int // of events, so far
	t       *testing.T
	issuer  *providertest.Issuer
	url     string
	revoked []authz.Revocation
	obeyed  []Record
	counts  map[string]int
	log     bytes.Buffer
}

const bearer = "a secret that the sender knows"

func newWorld(t *testing.T) *world {
	w := &world{t: t, issuer: providertest.NewIssuer(t), counts: map[string]int{}}
	log := slog.New(slog.NewJSONHandler(&w.log, nil))
	env := providers.Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	c := providers.Config{
		Name: "sso", Type: "oidc", Issuer: w.issuer.URL, Audiences: []string{"api"},
		Events: &providers.Events{Bearer: authz.NewSecret(bearer)},
	}
	p, err := providers.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r, err := providers.NewReceiver(c, p, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	server := httptest.NewServer(New(Options{
		Receiver: func(name string) (*providers.Receiver, bool) {
			return map[string]*providers.Receiver{"sso": r}[name], name == "sso" || name == "mute"
		},
		Revoke: func(r authz.Revocation) int { w.revoked = append(w.revoked, r); return 2 },
		Obeyed: func(r Record) { w.obeyed = append(w.obeyed, r) },
		Count:  func(provider, kind, result string) { w.counts[provider+" "+kind+" "+result]++ },
		Now:    time.Now, Log: log,
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// token is an event of the provider with changed claims; nil takes one out.
func (w *world) token(typ string, changes map[string]any) string {
	w.ids++
	claims := map[string]any{"iss": w.issuer.URL, "aud": "api", "iat": time.Now().Unix(), "jti": fmt.Sprint("event-", w.ids)}
	maps.Copy(claims, changes)
	return w.issuer.Key("rsa-1").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": typ}, claims)
}

func (w *world) logoutToken() string {
	return w.token("logout+jwt", map[string]any{
		"sid": "s1", "sub": "7", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
}

func (w *world) signalToken(event string, subject any) string {
	return w.token("secevent+jwt", map[string]any{"sub_id": subject, "events": map[string]any{"https://schemas.openid.net/secevent/" + event: map[string]any{}}})
}

func (w *world) post(path, contentType, body string, headers ...string) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

const form = "application/x-www-form-urlencoded"

func TestLogoutRoute(t *testing.T) {
	w := newWorld(t)
	token := func(s string) string { return url.Values{"logout_token": {s}}.Encode() }
	again := w.logoutToken()
	for _, c := range []struct {
		what, path, contentType, body string
		status                        int
		answer                        string
	}{
		{"good", "sso", form, token(again), 200, ""},
		{"with a charset", "sso", form + "; charset=utf-8", token(w.logoutToken()), 200, ""},
		{"beside other fields", "sso", form, "a=b&" + token(w.logoutToken()), 200, ""},
		{"again", "sso", form, token(again), 400, `{"error":"invalid_request","error_description":"the event was received before"}`},
		{"for somebody else", "sso", form, token(w.token("logout+jwt", map[string]any{"aud": "other"})), 400, `{"error":"invalid_request","error_description":"aud has none of the configured audiences"}`},
		{"no token", "sso", form, "", 400, `{"error":"invalid_request","error_description":"the form is to have logout_token, once"}`},
		{"two tokens", "sso", form, token("a") + "&" + token("b"), 400, `{"error":"invalid_request","error_description":"the form is to have logout_token, once"}`},
		{"in the address", "sso?" + token(w.logoutToken()), form, "", 400, `{"error":"invalid_request","error_description":"the form is to have logout_token, once"}`},
		{"JSON", "sso", "application/json", `{"logout_token":"x"}`, 400, `{"error":"invalid_request","error_description":"the content type is to be application/x-www-form-urlencoded"}`},
		{"huge", "sso", form, "logout_token=" + strings.Repeat("x", maxBody), 400, `{"error":"invalid_request","error_description":"the body is not a form, or is larger than a token can be"}`},
		{"no such provider", "other", form, token(w.logoutToken()), 404, "there is no such provider"},
		{"no provider", "", form, token(w.logoutToken()), 404, "404 page not found"},
		{"cannot tell", "mute", form, token(w.logoutToken()), 404, `{"error":"invalid_request","error_description":"this provider has no keys to prove that with; see its setting events"}`},
	} {
		status, header, body := w.post(LogoutPath+c.path, c.contentType, c.body)
		if status != c.status || strings.TrimSpace(body) != c.answer {
			t.Errorf("%s: %d %s, want %d %s", c.what, status, body, c.status, c.answer)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control: %q", c.what, header.Get("Cache-Control"))
		}
	}
	resp, err := http.Get(w.url + LogoutPath + "sso")
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v %v", resp.Status, err)
	}
	_ = resp.Body.Close()
	if len(w.revoked) != 3 || w.revoked[0].Session != "s1" || w.revoked[0].Subject != "7" || w.revoked[0].At.IsZero() {
		t.Errorf("%+v", w.revoked)
	}
	if diff := cmp.Diff(Record{"sso", "logout", "event-1", "s1", "7", 2}, w.obeyed[0]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"sso logout obeyed": 3, "sso logout refused": 6, "sso logout replayed": 1, "mute logout refused": 1}, w.counts); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(w.log.String(), again[20:60]) || strings.Contains(w.log.String(), again[len(again)-20:]) {
		t.Error("a token stands in the log")
	}
}

func TestSignalRoute(t *testing.T) {
	w := newWorld(t)
	const set = "application/secevent+jwt"
	alice := map[string]any{"format": "iss_sub", "iss": w.issuer.URL, "sub": "7"}
	again := w.signalToken("caep/event-type/session-revoked", alice)
	known := "Authorization: Bearer " + bearer
	foreign := providertest.NewKey(t, "rsa-1", "RS256").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": "secevent+jwt"}, map[string]any{
		"iss": w.issuer.URL, "aud": "api", "iat": 1, "jti": "x", "events": map[string]any{"e": map[string]any{}},
	})
	for _, c := range []struct {
		what, contentType, body, header string
		status                          int
		code                            string
	}{
		{"good", set, again, known, 202, ""},
		{"again", set, again, known, 202, ""},
		{"verification", set, w.signalToken("ssf/event-type/verification", map[string]any{"format": "opaque", "id": "stream"}), known, 202, ""},
		{"not understood", set, w.signalToken("caep/event-type/session-revoked", map[string]any{"format": "phone_number"}), known, 202, ""},
		{"unheard of", set, w.signalToken("caep/event-type/device-compliance-change", alice), known, 202, ""},
		{"look anew", set, w.signalToken("caep/event-type/credential-change", alice), known, 202, ""},
		{"an unknown sender", set, w.signalToken("caep/event-type/session-revoked", alice), "Authorization: Bearer x", 401, "authentication_failed"},
		{"no sender", set, w.signalToken("caep/event-type/session-revoked", alice), "X: y", 401, "authentication_failed"},
		{"content type", "application/jwt", w.signalToken("caep/event-type/session-revoked", alice), known, 400, "invalid_request"},
		{"no token", set, "", known, 400, "invalid_request"},
		{"huge", set, strings.Repeat("x", maxBody+1), known, 400, "invalid_request"},
		{"issuer", set, w.token("secevent+jwt", map[string]any{"iss": "https://other"}), known, 400, "invalid_issuer"},
		{"audience", set, w.token("secevent+jwt", map[string]any{"aud": "other"}), known, 400, "invalid_audience"},
		{"key", set, foreign, known, 400, "invalid_key"},
		{"no events", set, w.token("secevent+jwt", nil), known, 400, "invalid_request"},
	} {
		status, header, body := w.post(SignalPath+"sso", c.contentType, c.body, c.header)
		if status != c.status || c.code == "" && body != "" || c.code != "" && !strings.HasPrefix(body, `{"description":"`) || !strings.Contains(body, c.code) {
			t.Errorf("%s: %d %s, want %d %s", c.what, status, body, c.status, c.code)
		}
		if c.code != "" && (header.Get("Content-Type") != "application/json" || header.Get("Content-Language") != "en") {
			t.Errorf("%s: %v", c.what, header)
		}
	}
	if len(w.revoked) != 2 || w.revoked[0].Subject != "7" || w.revoked[0].At.IsZero() || !w.revoked[1].At.IsZero() || len(w.obeyed) != 2 {
		t.Errorf("%+v", w.revoked)
	}
	if diff := cmp.Diff(map[string]int{
		"sso session-revoked obeyed": 1, "sso signal replayed": 1, "sso verification acknowledged": 1, "sso session-revoked not_understood": 1,
		"sso other not_understood": 1, "sso credential-change obeyed": 1, "sso signal refused": 9,
	}, w.counts); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"a subject of the format", "device-compliance-change is not known"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if strings.Contains(w.log.String(), bearer) || strings.Contains(w.log.String(), again[20:60]) {
		t.Error("a secret stands in the log")
	}
}

// While the provider's keys are out of reach, nothing is refused.
func TestRoutesWithoutKeys(t *testing.T) {
	w := newWorld(t)
	first := url.Values{"logout_token": {w.logoutToken()}}.Encode()
	if status, _, _ := w.post(LogoutPath+"sso", form, first); status != 200 { // has fetched the keys
		t.Fatal(status)
	}
	w.issuer.Fail(providertest.Down)
	token := w.issuer.AddKey(t, "newer", "RS256").Sign(map[string]any{"alg": "RS256", "kid": "newer"}, map[string]any{
		"iss": w.issuer.URL, "aud": "api", "iat": time.Now().Unix(), "jti": "1", "sid": "s",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
	status, header, body := w.post(LogoutPath+"sso", form, url.Values{"logout_token": {token}}.Encode())
	if status != 503 || header.Get("Retry-After") == "" || w.counts["sso logout failed"] != 1 {
		t.Errorf("%d %v %s %v", status, header, body, w.counts)
	}
}

// However much junk comes, the log does not fill with it, and who sends it keeps
// nobody else from being heard.
func TestJunk(t *testing.T) {
	w := newWorld(t)
	for range 200 {
		if status, _, _ := w.post(LogoutPath+"sso", form, "logout_token=junk"); status != 400 {
			t.Fatal(status)
		}
	}
	if n := strings.Count(w.log.String(), "an event is not obeyed"); n != linesPerMinute {
		t.Errorf("%d lines", n)
	}
	if w.counts["sso logout refused"] != 200 {
		t.Errorf("%v", w.counts)
	}
	if status, _, body := w.post(LogoutPath+"sso", form, url.Values{"logout_token": {w.logoutToken()}}.Encode()); status != 200 {
		t.Errorf("a good one: %d %s", status, body)
	}
}

func TestSparing(t *testing.T) {
	var s sparing
	now := time.Now()
	for range linesPerMinute + 5 {
		s.allows(now)
	}
	if s.allows(now.Add(59*time.Second)) || s.untold() != 6 || s.untold() != 0 || !s.allows(now.Add(time.Minute)) {
		t.Error("a minute has its lines, and what was left out is told once")
	}
}
