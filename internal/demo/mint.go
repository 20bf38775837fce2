package demo

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// A Flaw is what is wrong with a token.
type Flaw string

// The flaws that a token can be minted with.
const (
	Sound         Flaw = ""               // nothing
	Expired       Flaw = "expired"        // its hour was yesterday
	WrongAudience Flaw = "wrong-audience" // meant for another API
	Forged        Flaw = "forged"         // signed with a key that is not the provider's
)

// AccessToken mints an access token of a user (RFC 9068).
func (p *IdP) AccessToken(u User, flaw Flaw) (string, error) {
	now := time.Now()
	claims := p.claims(now, Audience)
	maps.Copy(claims, userClaims(u))
	key := p.key
	switch flaw {
	case Sound:
	case Expired:
		then := now.Add(-24 * time.Hour)
		claims["iat"], claims["exp"] = then.Unix(), then.Add(tokenFor).Unix()
	case WrongAudience:
		claims["aud"] = "api://payroll"
	case Forged:
		key = p.forger
	default:
		return "", fmt.Errorf("there is no flaw %q", flaw)
	}
	return p.sign(key, "at+jwt", claims)
}

// appToken mints the access token of the client itself: no user, and the
// subject is the client (RFC 9068 §2.2).
func (p *IdP) appToken() (string, error) {
	claims := p.claims(time.Now(), Audience)
	claims["sub"] = Client
	return p.sign(p.key, "at+jwt", claims)
}

// idToken mints an ID token for the client (OpenID Connect Core 1.0 §2).
func (p *IdP) idToken(u User, nonce string) (string, error) {
	claims := p.claims(time.Now(), Client)
	maps.Copy(claims, userClaims(u))
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return p.sign(p.key, "JWT", claims)
}

func (p *IdP) claims(now time.Time, audience string) map[string]any {
	return map[string]any{
		"iss":       p.Issuer(),
		"aud":       audience,
		"iat":       now.Unix(),
		"exp":       now.Add(tokenFor).Unix(),
		"jti":       rand.Text(),
		"client_id": Client,
		"azp":       Client,
		"scope":     "openid profile email",
	}
}

func userClaims(u User) map[string]any {
	return map[string]any{
		"sub":                "user-" + u.Name,
		"preferred_username": u.Name,
		"email":              u.Email,
		"email_verified":     true,
		"groups":             u.Groups,
	}
}

// handOut answers with a token and nothing else, for command lines:
//
//	curl -s 'http://127.0.0.1:PORT/demo/token?user=alice&flaw=expired'
func (p *IdP) handOut(w http.ResponseWriter, r *http.Request) {
	u, ok := findUser(r.FormValue("user"))
	if !ok {
		http.Error(w, "there is no such user", http.StatusNotFound)
		return
	}
	token, err := p.AccessToken(u, Flaw(r.FormValue("flaw")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintln(w, token)
}
