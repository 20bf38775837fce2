package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestReadCallback(t *testing.T) {
	m := metadata{Issuer: "https://idp", SendsIssuer: true}
	for name, tc := range map[string]struct {
		query string
		m     metadata
		code  string
		err   string
	}{
		"good":                {"code=c&iss=https://idp", m, "c", ""},
		"no issuer, promised": {"code=c", m, "", "does not name its issuer"},
		"no issuer":           {"code=c", metadata{Issuer: "https://idp"}, "c", ""},
		"other issuer":        {"code=c&iss=https://evil", metadata{Issuer: "https://idp"}, "", "another issuer"},
		"two issuers":         {"code=c&iss=https://idp&iss=https://evil", m, "", "another issuer"},
		"refused":             {"error=access_denied&error_description=no%1b[2J&iss=https://idp", m, "", "access_denied: no?[2J"},
		"two codes":           {"code=a&code=b&iss=https://idp", m, "", "no code"},
		"none":                {"iss=https://idp", m, "", "no code"},
	} {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(tc.query)
			if err != nil {
				t.Fatal(err)
			}
			code, err := readCallback(query, tc.m)
			if code != tc.code || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v; want %q, %q", code, err, tc.code, tc.err)
			}
		})
	}
	if _, err := readCallback(url.Values{"error": {"access_denied"}}, metadata{}); !errors.As(err, new(*Refusal)) {
		t.Errorf("a refusal is %v", err)
	}
}

// The listener takes only the answer with our state, and waits on through
// anything else that a page makes the browser send.
func TestCallbackTakesOurStateOnly(t *testing.T) {
	back, err := listenForCode(DefaultRedirect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(back.close)
	type result struct {
		query url.Values
		err   error
	}
	got := make(chan result, 1)
	go func() {
		query, err := back.wait(t.Context(), "right")
		got <- result{query, err}
	}()
	for _, path := range []string{"?code=x", "?code=x&state=wrong", "?code=x&state=right&state=right", "/other?code=x&state=right"} {
		res, err := http.Get(back.redirect + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
	}
	res, err := http.Get(back.redirect + "?code=good&state=right")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if r := <-got; r.err != nil || r.query.Get("code") != "good" {
		t.Errorf("got %v, %v", r.query, r.err)
	}
}

func TestCheckIDToken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good := map[string]any{"iss": "https://idp", "aud": "me", "nonce": "n", "exp": now.Add(time.Hour).Unix()}
	for name, tc := range map[string]struct {
		claim string
		value any
		err   string
	}{
		"good":             {"x", 1, ""},
		"among audiences":  {"aud", []string{"other", "me"}, ""},
		"nonce":            {"nonce", "other", "nonce"},
		"no nonce":         {"nonce", nil, "nonce"},
		"issuer":           {"iss", "https://evil", "issuer"},
		"audience":         {"aud", "other", "another client"},
		"authorized party": {"azp", "other", "another client"},
		"expired":          {"exp", now.Add(-2 * time.Minute).Unix(), "expired"},
		"no expiry":        {"exp", nil, "expired"},
		"broken audience":  {"aud", 7, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{}
			maps.Copy(claims, good)
			claims[tc.claim] = tc.value
			payload, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			token := fmt.Sprintf("e30.%s.c2ln", base64.RawURLEncoding.EncodeToString(payload))
			err = checkIDToken(token, "https://idp", "me", "n", now)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
		})
	}
	for _, token := range []string{"", "a.b", "a.!.c", "a.e30x.c"} {
		if err := checkIDToken(token, "", "me", "n", now); err == nil {
			t.Errorf("%q was taken", token)
		}
	}
}

func TestBrowserCommand(t *testing.T) {
	for _, tc := range []struct {
		system string
		env    map[string]string
		want   string
	}{
		{"linux", nil, ""},
		{"linux", map[string]string{"DISPLAY": ":0"}, "xdg-open"},
		{"linux", map[string]string{"WAYLAND_DISPLAY": "wayland-0"}, "xdg-open"},
		{"linux", map[string]string{"BROWSER": "lynx"}, "lynx"},
		{"darwin", nil, "open"},
		{"windows", nil, "rundll32"},
	} {
		got, _, err := browserCommand(tc.system, func(k string) string { return tc.env[k] })
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s %v: %q, %v", tc.system, tc.env, got, err)
		}
	}
}
