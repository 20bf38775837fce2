package demo

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// A User is somebody who can be signed in as, without a password.
type User struct {
	Name   string
	Email  string
	Groups []string
}

// Users are the people of the demo.
var Users = []User{
	{Name: "alice", Email: "alice@example.com", Groups: []string{"wiki-users"}},
	{Name: "bob", Email: "bob@example.com", Groups: []string{"wiki-users", "wiki-admins"}},
}

func findUser(name string) (User, bool) {
	for _, u := range Users {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

// What the demo's tokens are made of.
const (
	Client   = "demo"          // the one OAuth client
	Audience = "api://wiki"    // what its access tokens are for
	tokenFor = 1 * time.Hour   // the life of a token
	codeFor  = 1 * time.Minute // the life of an authorization code
	keyBits  = 2048
)

// IdP is an OpenID provider for showing and for tests: discovery, keys,
// authorization code with PKCE, device code, client credentials. Its keys are
// made with it and end with it; its users have no passwords.
type IdP struct {
	site   site
	secret string // of Client
	key    *rsa.PrivateKey
	kid    string
	forger *rsa.PrivateKey // signs what claims to be signed by key

	mu      sync.Mutex
	codes   map[string]signIn
	devices map[string]*device // by device code
}

// NewIdP makes a provider that is still down.
func NewIdP() (*IdP, error) {
	p := &IdP{
		site:    site{address: loopback},
		secret:  rand.Text(),
		kid:     rand.Text()[:8],
		codes:   map[string]signIn{},
		devices: map[string]*device{},
	}
	p.site.handler = p.routes()
	var err error
	if p.key, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return nil, fmt.Errorf("demo identity provider: making a key: %w", err)
	}
	if p.forger, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return nil, fmt.Errorf("demo identity provider: making a key: %w", err)
	}
	return p, nil
}

// Up starts answering on a loopback port, after the first time on the same one.
func (p *IdP) Up() error { return p.site.up() }

// Down ends answering, as when the provider is gone.
func (p *IdP) Down() error { return p.site.down() }

// Issuer returns the issuer URL. It is known once the provider has been up.
func (p *IdP) Issuer() string { return "http://" + p.site.addr() }

// Secret returns the client secret of Client.
func (p *IdP) Secret() string { return p.secret }

func (p *IdP) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.welcome)
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /device_authorization", p.deviceAuthorization)
	mux.HandleFunc("GET /device", p.deviceForm)
	mux.HandleFunc("POST /device", p.deviceApprove)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /demo/token", p.handOut)
	return mux
}

// discovery is the provider's metadata (OpenID Connect Discovery 1.0 §3, with
// the members of RFC 8414, RFC 8628 §4 and RFC 9207 §3).
func (p *IdP) discovery(w http.ResponseWriter, _ *http.Request) {
	at := p.Issuer()
	answerJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         at,
		"authorization_endpoint":                         at + "/authorize",
		"token_endpoint":                                 at + "/token",
		"device_authorization_endpoint":                  at + "/device_authorization",
		"jwks_uri":                                       at + "/jwks",
		"response_types_supported":                       []string{"code"},
		"grant_types_supported":                          []string{grantCode, grantDevice, grantClient},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "none"},
		"scopes_supported":                               []string{"openid", "profile", "email"},
		"authorization_response_iss_parameter_supported": true,
	})
}

// jwks publishes the public key (RFC 7517).
func (p *IdP) jwks(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	answerJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.kid,
		"n": encode(p.key.N.Bytes()),
		"e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

// sign makes a compact JWS (RFC 7515) over the claims.
func (p *IdP) sign(key *rsa.PrivateKey, typ string, claims map[string]any) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": typ, "kid": p.kid})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	input := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return input + "." + encode(signature), nil
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the caller is gone; nobody is left to be told
}
