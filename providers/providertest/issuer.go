package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Issuer is an OpenID provider for tests, on loopback: metadata, keys, and
// tokens with whatever is asked for in them.
type Issuer struct {
	URL string

	mu      sync.Mutex
	keys    []Key
	extra   map[string]any // members of every published key
	fault   Fault
	fetches int
	server  *httptest.Server
	release chan struct{}
}

// Key is a signing key of the issuer.
type Key struct {
	ID        string
	Algorithm string
	Private   crypto.Signer
}

// Fault is how the issuer's key set fails.
type Fault int

// The faults.
const (
	None      Fault = iota
	Down            // connections are cut
	Broken          // 500
	Garbage         // 200 with HTML
	Empty           // 200 with no keys
	Oversize        // 10 MiB
	Redirect        // to somewhere else
	Slow            // answers when the test ends
	Throttled       // 429, come back in 17 seconds
	Page            // 200 with HTML that says so
	WrongType       // the good answer, said to be HTML
	Bomb            // 16 MiB, which gzip makes small
	Cut             // the good answer, broken off
	Twice           // the good answer, its first member said twice
	List            // 200 with a list in the place of an object
	Nothing         // 200 with an empty body
	Drip            // a byte now and then, for ever
	Untrusted       // its certificate is of an authority that is not trusted
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{
		"none", "down", "broken", "garbage", "empty", "oversize", "redirect", "slow", "throttled",
		"page", "wrong-type", "bomb", "cut", "twice", "list", "nothing", "drip", "untrusted",
	}[f]
}

// NewIssuer starts an issuer with an RS256 and an ES256 key. It ends with the
// test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{release: make(chan struct{})}
	i.AddKey(t, "rsa-1", "RS256")
	i.AddKey(t, "ec-1", "ES256")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	mux.HandleFunc("GET /keys", i.serveKeys)
	i.server = httptest.NewServer(mux)
	i.URL = i.server.URL
	t.Cleanup(func() {
		close(i.release)
		i.server.Close()
	})
	return i
}

// NewKey makes a signing key for an algorithm.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, algorithm, key}
}

// AddKey makes a key and publishes it in front of the others.
func (i *Issuer) AddKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	k := NewKey(t, id, algorithm)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append([]Key{k}, i.keys...)
	return k
}

// RemoveKey publishes a key no more.
func (i *Issuer) RemoveKey(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := i.keys[:0:0]
	for _, k := range i.keys {
		if k.ID != id {
			kept = append(kept, k)
		}
	}
	i.keys = kept
}

// Key returns a published key.
func (i *Issuer) Key(id string) Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		if k.ID == id {
			return k
		}
	}
	panic("no key " + id)
}

// Fail makes the issuer fail from now on; None ends that.
func (i *Issuer) Fail(f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

// Fetches says how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Claims returns those of a good access token for user, with changes on top; a
// change to nil takes the claim out.
func (i *Issuer) Claims(user string, changes map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{
		"iss": i.URL, "aud": "api", "sub": "id-of-" + user, "preferred_username": user, "client_id": "app",
		"exp": now + 300, "iat": now, "jti": "token-1", "scope": "openid read", "groups": []string{"eng"}, "email": user + "@example.com",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Token returns a good RS256 access token for user, with changed claims.
func (i *Issuer) Token(user string, changes map[string]any) string {
	return i.Key("rsa-1").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}, i.Claims(user, changes))
}

// Sign makes a compact JWS with a header and claims as they are given: no
// check is made that they make sense.
func (k Key) Sign(header, claims map[string]any) string {
	return k.SignRaw(encode(header), encode(claims), fmt.Sprint(header["alg"]))
}

// SignRaw signs header and payload bytes with the algorithm.
func (k Key) SignRaw(header, payload []byte, algorithm string) string {
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(k.signature(signed, algorithm))
}

func (k Key) signature(signed, algorithm string) []byte {
	h := crypto.SHA256
	switch {
	case strings.HasSuffix(algorithm, "384"):
		h = crypto.SHA384
	case strings.HasSuffix(algorithm, "512"):
		h = crypto.SHA512
	}
	d := h.New()
	d.Write([]byte(signed))
	digest := d.Sum(nil)
	var out []byte
	var err error
	switch key := k.Private.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(algorithm, "PS") {
			out, err = rsa.SignPSS(rand.Reader, key, h, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(rand.Reader, key, h, digest)
		}
	case *ecdsa.PrivateKey:
		r, s, signErr := ecdsa.Sign(rand.Reader, key, digest)
		size := (key.Params().BitSize + 7) / 8
		out, err = make([]byte, 2*size), signErr
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
	case ed25519.PrivateKey:
		out = ed25519.Sign(key, []byte(signed))
	}
	if err != nil {
		panic(err)
	}
	return out
}

// JWK returns the public half as a JWK, with extra members.
func (k Key) JWK(extra map[string]any) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kid": k.ID, "use": "sig"}
	if k.Algorithm != "" {
		m["alg"] = k.Algorithm
	}
	switch key := k.Private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(key.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // uncompressed: 4, x, y
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		m["kty"], m["crv"] = "EC", key.Params().Name
		m["x"], m["y"] = b64(point[1:1+size]), b64(point[1+size:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(key)
	}
	maps.Copy(m, extra)
	return m
}

func (i *Issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}))
}

func (i *Issuer) serveKeys(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.fetches++
	fault, list := i.fault, []any{}
	for _, k := range i.keys {
		list = append(list, k.JWK(i.extra))
	}
	i.mu.Unlock()
	set := encode(map[string]any{"keys": list})
	switch fault {
	case None, Untrusted:
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write(set)
	case Empty:
		_, _ = w.Write([]byte(`{"keys":[]}`))
	default:
		fail(w, r, fault, set, i.release)
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
