package demo

import (
	"crypto/rand"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed pages.html
var pagesHTML string

var pages = template.Must(template.New("pages").Parse(pagesHTML))

// show renders one of the templates of pages.html.
func show(w http.ResponseWriter, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data) // the browser is gone; nobody is left to be told
}

func (p *IdP) welcome(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, "welcome", map[string]any{"Users": Users, "Issuer": p.Issuer()})
}

// authorize is the authorization endpoint (RFC 6749 §4.1.1, RFC 7636 §4.3). It
// asks who is there, unless login_hint says so already.
func (p *IdP) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	// Without a good client and redirect there is nowhere to send an error to.
	if q.Get("client_id") != Client || !loopbackRedirect(q.Get("redirect_uri")) {
		show(w, http.StatusBadRequest, "problem", "The client or its redirect URI is not known here.")
		return
	}
	switch {
	case q.Get("response_type") != "code":
		p.redirect(w, r, url.Values{"error": {"unsupported_response_type"}})
		return
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		p.redirect(w, r, url.Values{"error": {"invalid_request"}, "error_description": {"PKCE with S256 is required"}})
		return
	}
	u, ok := findUser(q.Get("login_hint"))
	if !ok {
		var choices []choice
		for _, u := range Users {
			q.Set("login_hint", u.Name)
			choices = append(choices, choice{u.Name, "/authorize?" + q.Encode()})
		}
		show(w, http.StatusOK, "choose", choices)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = signIn{
		user: u, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		nonce: q.Get("nonce"), until: time.Now().Add(codeFor),
	}
	p.mu.Unlock()
	p.redirect(w, r, url.Values{"code": {code}})
}

type choice struct{ User, URL string }

// redirect sends the browser back with an answer, the state it came with, and
// our name (RFC 9207).
func (p *IdP) redirect(w http.ResponseWriter, r *http.Request, answer url.Values) {
	q := r.URL.Query()
	answer.Set("iss", p.Issuer())
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	to := q.Get("redirect_uri")
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	http.Redirect(w, r, to+sep+answer.Encode(), http.StatusFound)
}

func (p *IdP) deviceForm(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, "device", map[string]any{"Users": Users, "Code": r.FormValue("user_code")})
}

func (p *IdP) deviceApprove(w http.ResponseWriter, r *http.Request) {
	u, known := findUser(r.PostFormValue("user"))
	code := strings.ToUpper(strings.TrimSpace(r.PostFormValue("user_code")))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		if known && d.userCode == code && time.Now().Before(d.until) {
			d.user = u
			show(w, http.StatusOK, "done", u.Name)
			return
		}
	}
	show(w, http.StatusNotFound, "problem", "No device waits under that code.")
}
