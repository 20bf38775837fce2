package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// The ways in which our client proves itself to a provider's endpoints.
const (
	authBasic  = "basic"           // RFC 6749 §2.3.1; the default
	authPost   = "post"            // the same in the body
	authKey    = "private_key_jwt" // RFC 7523 §2.2
	authBearer = "bearer"          // client_secret is an access token (RFC 7662 §2.1)
)

// clientAuth proves our client to an endpoint.
type clientAuth struct {
	way      string
	id       string
	secret   authz.Secret
	key      crypto.Signer
	audience string // of our assertions; "": the endpoint
	now      func() time.Time
}

// newClientAuth makes it of settings that clientAuthFaults found nothing wrong
// with. audience is who our assertions are for: the issuer, where it is known.
func newClientAuth(c Config, env Env, audience string) (*clientAuth, error) {
	a := &clientAuth{way: c.ClientAuth, id: c.ClientID, secret: c.ClientSecret, audience: audience, now: env.Now}
	if a.way == "" {
		a.way = authBasic
	}
	if a.way != authKey {
		return a, nil
	}
	var err error
	a.key, err = parseClientKey(c.ClientKey)
	return a, err
}

// clientAuthFaults checks the settings of our client.
func clientAuthFaults(c Config) (faults []authz.Fault) {
	if c.ClientID == "" && c.ClientAuth != authBearer {
		faults = append(faults, authz.Fault{Key: "client_id", Problem: "is missing; it is our client at the provider, which may ask about tokens"})
	}
	switch c.ClientAuth {
	case "", authBasic, authPost, authBearer:
		if c.ClientSecret.IsZero() {
			faults = append(faults, authz.Fault{Key: "client_secret", Problem: "is missing; the provider answers questions about tokens only to a client that proves itself"})
		}
	case authKey:
		if _, err := parseClientKey(c.ClientKey); err != nil {
			faults = append(faults, authz.Fault{Key: "client_key", Problem: err.Error()})
		}
	default:
		faults = append(faults, authz.Fault{Key: "client_auth", Problem: fmt.Sprintf("%q is none of %s, %s, %s, %s", c.ClientAuth, authBasic, authPost, authKey, authBearer)})
	}
	return faults
}

// request makes a POST of form to the endpoint in our client's name.
func (a *clientAuth) request(endpoint string, form url.Values) (*http.Request, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch a.way {
	case authBasic:
		// Form-encoded first (RFC 6749 §2.3.1), so that a colon in the id or a
		// character beyond ASCII means the same to both sides.
		pair := url.QueryEscape(a.id) + ":" + url.QueryEscape(a.secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case authPost:
		form.Set("client_id", a.id)
		form.Set("client_secret", a.secret.Reveal())
	case authBearer:
		header.Set("Authorization", "Bearer "+a.secret.Reveal())
	case authKey:
		assertion, err := a.assertion(endpoint)
		if err != nil {
			return nil, fmt.Errorf("signing in our client's name: %w", err)
		}
		form.Set("client_id", a.id)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the address of an endpoint is not a URL")
	}
	req.Header = header
	markReplayable(req)
	return req, nil
}

// markReplayable lets the transport send a request again over a new connection
// when the one that was kept open turns out to be closed: asking twice does no
// harm. The empty value is not sent.
func markReplayable(req *http.Request) { req.Header["Idempotency-Key"] = []string{} }

// assertionLife is how long an assertion can be used, by whoever catches it.
const assertionLife = time.Minute

// assertion makes a signed proof of our client (RFC 7523 §3).
func (a *clientAuth) assertion(endpoint string) (string, error) {
	audience := a.audience
	if audience == "" {
		audience = endpoint
	}
	algorithm := algorithmOf(a.key)
	now := a.now()
	header, _ := json.Marshal(map[string]any{"alg": algorithm, "typ": "JWT"})
	claims, _ := json.Marshal(map[string]any{
		"iss": a.id, "sub": a.id, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64(header) + "." + b64(claims)
	signature, err := sign(a.key, algorithm, signed)
	return signed + "." + b64(signature), err
}

// parseClientKey reads a PEM private key, PKCS #8 or the older forms of RSA and
// EC keys. The error never holds any of it.
func parseClientKey(s authz.Secret) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(s.Reveal()))
	if block == nil {
		return nil, errors.New("holds no PEM private key")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok || algorithmOf(signer) == "" {
		return nil, errors.New("is not a private key of 2048 bits RSA or more, of P-256, P-384, P-521 or Ed25519")
	}
	return signer, nil
}

// algorithmOf is the signature algorithm that goes with a key; "" for none.
func algorithmOf(key crypto.Signer) string {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return "RS256"
		}
	case *ecdsa.PrivateKey:
		return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PrivateKey:
		return "EdDSA"
	}
	return ""
}

// sign makes a JWS signature (RFC 7518 §3).
func sign(key crypto.Signer, algorithm, text string) ([]byte, error) {
	if k, ok := key.(ed25519.PrivateKey); ok {
		return ed25519.Sign(k, []byte(text)), nil
	}
	h := hashOf(algorithm)
	d := h.New()
	d.Write([]byte(text))
	digest := d.Sum(nil)
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return key.Sign(rand.Reader, digest, h)
	}
	r, s, err := ecdsa.Sign(rand.Reader, k, digest)
	if err != nil {
		return nil, err
	}
	size := (k.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}
