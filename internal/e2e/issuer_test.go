package e2e

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// audience is what every good token is for.
const audience = "https://api.example.test"

// issuer is a small OpenID provider of the tests' own: it shares no code with
// what it is used to test, and signs whatever it is told to.
type issuer struct {
	url string

	mu   sync.Mutex
	key  *rsa.PrivateKey
	past []*rsa.PrivateKey // that it signs with no more
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t)}
	s := httptest.NewServer(i.handler())
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// handler answers for the issuer under whatever URL i.url says.
func (i *issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, claims{"issuer": i.url, "jwks_uri": i.url + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		list := []claims{jwk(&i.key.PublicKey)}
		for _, k := range i.past {
			list = append(list, jwk(&k.PublicKey))
		}
		i.mu.Unlock()
		answer(w, claims{"keys": list})
	})
	return mux
}

// rotate signs with a new key from now on; the old ones stay published.
func (i *issuer) rotate(t testing.TB) {
	t.Helper()
	next := newKey(t)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.past = append(i.past, i.key)
	i.key = next
}

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *issuer) signingKey() *rsa.PrivateKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func jwk(key *rsa.PublicKey) claims {
	return claims{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID(key),
		"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
	}
}

func keyID(key *rsa.PublicKey) string {
	sum := sha256.Sum256(key.N.Bytes())
	return encode(sum[:8])
}

type claims map[string]any

// with returns a copy with the given members set; nil removes one.
func (c claims) with(more claims) claims {
	out := claims{}
	for _, m := range []claims{c, more} {
		for k, v := range m {
			if v == nil {
				delete(out, k)
			} else {
				out[k] = v
			}
		}
	}
	return out
}

// claims returns those of a good token of a user.
func (i *issuer) claims(user string) claims {
	now := time.Now().Unix()
	return claims{
		"iss": i.url, "aud": audience, "sub": "id-of-" + user, "preferred_username": user, "azp": "web",
		"iat": now, "exp": now + 600, "email": user + "@example.test", "groups": []string{"eng", "ops"},
	}
}

// token returns a good token of a user.
func (i *issuer) token(user string) string { return i.sign(i.claims(user)) }

// sign signs any claims as the issuer does.
func (i *issuer) sign(c claims) string { return i.signWith(i.signingKey(), claims{}, c) }

// signWith signs with any key and adds to the header.
func (i *issuer) signWith(key *rsa.PrivateKey, header, c claims) string {
	head := claims{"alg": "RS256", "typ": "JWT", "kid": keyID(&i.signingKey().PublicKey)}.with(header)
	input := encodeJSON(head) + "." + encodeJSON(c)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // a key we made, a digest of the right size
	}
	return input + "." + encode(signature)
}

// hmacWithPublicKey is the attack of taking the public key for a shared secret.
func (i *issuer) hmacWithPublicKey(c claims) string {
	input := encodeJSON(claims{"alg": "HS256", "typ": "JWT", "kid": keyID(&i.signingKey().PublicKey)}) + "." + encodeJSON(c)
	mac := hmac.New(sha256.New, i.signingKey().N.Bytes())
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func encodeJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of plain values
	}
	return encode(b)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
