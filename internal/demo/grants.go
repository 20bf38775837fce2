package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The grants of the token endpoint, by their names on the wire.
const (
	grantCode   = "authorization_code"                           // RFC 6749 §4.1, with RFC 7636
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628
	grantClient = "client_credentials"                           // RFC 6749 §4.4
)

// signIn is what an authorization code stands for.
type signIn struct {
	user      User
	redirect  string
	challenge string
	nonce     string
	until     time.Time
}

// device is a device that waits for somebody to approve it.
type device struct {
	userCode string
	user     User // the zero User until approved
	until    time.Time
}

// token is the token endpoint (RFC 6749 §3.2).
func (p *IdP) token(w http.ResponseWriter, r *http.Request) {
	id, secret := clientOf(r)
	// The client is a public one where a code or a device proves itself, but
	// a secret that is sent must be the right one.
	if id != Client || secret != "" && !same(secret, p.secret) {
		oauthError(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	switch r.PostFormValue("grant_type") {
	case grantCode:
		p.redeemCode(w, r)
	case grantDevice:
		p.redeemDevice(w, r)
	case grantClient:
		if secret == "" {
			oauthError(w, http.StatusUnauthorized, "invalid_client")
			return
		}
		token, err := p.appToken()
		answerToken(w, token, "", err)
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func (p *IdP) redeemCode(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	p.mu.Lock()
	s, ok := p.codes[code]
	delete(p.codes, code) // good or bad: a code is used once
	p.mu.Unlock()
	proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || time.Now().After(s.until) || r.PostFormValue("redirect_uri") != s.redirect ||
		!same(base64.RawURLEncoding.EncodeToString(proof[:]), s.challenge) {
		oauthError(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	p.answerUser(w, s.user, s.nonce)
}

func (p *IdP) redeemDevice(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("device_code")
	p.mu.Lock()
	d, ok := p.devices[code]
	var u User
	if ok {
		u = d.user
	}
	if ok && u.Name != "" {
		delete(p.devices, code)
	}
	p.mu.Unlock()
	switch {
	case !ok:
		oauthError(w, http.StatusBadRequest, "invalid_grant")
	case time.Now().After(d.until):
		oauthError(w, http.StatusBadRequest, "expired_token")
	case u.Name == "":
		oauthError(w, http.StatusBadRequest, "authorization_pending")
	default:
		p.answerUser(w, u, "")
	}
}

func (p *IdP) answerUser(w http.ResponseWriter, u User, nonce string) {
	token, err := p.AccessToken(u, Sound)
	if err != nil {
		answerToken(w, "", "", err)
		return
	}
	id, err := p.idToken(u, nonce)
	answerToken(w, token, id, err)
}

// deviceAuthorization begins the device flow (RFC 8628 §3.1, §3.2).
func (p *IdP) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	if id, secret := clientOf(r); id != Client || secret != "" && !same(secret, p.secret) {
		oauthError(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	const life = 10 * time.Minute
	code, userCode := rand.Text(), rand.Text()[:8]
	p.mu.Lock()
	p.devices[code] = &device{userCode: userCode, until: time.Now().Add(life)}
	p.mu.Unlock()
	at := p.Issuer() + "/device"
	answerJSON(w, http.StatusOK, map[string]any{
		"device_code":               code,
		"user_code":                 userCode,
		"verification_uri":          at,
		"verification_uri_complete": at + "?user_code=" + userCode,
		"expires_in":                int(life.Seconds()),
		"interval":                  1,
	})
}

// clientOf reads the client's name and secret from Basic (form-encoded, RFC
// 6749 §2.3.1) or the form.
func clientOf(r *http.Request) (id, secret string) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	id, err := url.QueryUnescape(user)
	if err != nil {
		return "", ""
	}
	if secret, err = url.QueryUnescape(password); err != nil {
		return "", ""
	}
	return id, secret
}

func answerToken(w http.ResponseWriter, access, id string, err error) {
	if err != nil {
		oauthError(w, http.StatusInternalServerError, "server_error")
		return
	}
	answer := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   int(tokenFor.Seconds()),
	}
	if id != "" {
		answer["id_token"] = id
	}
	answerJSON(w, http.StatusOK, answer)
}

// oauthError answers as RFC 6749 §5.2 says.
func oauthError(w http.ResponseWriter, status int, word string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
	}
	answerJSON(w, status, map[string]string{"error": word})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// loopbackRedirect reports whether a redirect URI is a loopback one with any
// port (RFC 8252 §7.3): codes go nowhere else.
func loopbackRedirect(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.User != nil || strings.Contains(s, "#") {
		return false
	}
	host := u.Hostname()
	return host == "127.0.0.1" || host == "::1"
}
