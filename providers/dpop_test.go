package providers

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

var proofTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A proofMaker makes proofs as a good client does, and lets a test bend them.
type proofMaker struct {
	key   providertest.Key
	token string
	count int
}

func (m *proofMaker) claims() map[string]any {
	m.count++
	sum := sha256.Sum256([]byte(m.token))
	return map[string]any{
		"jti": fmt.Sprint("id-", m.count), "htm": "GET", "htu": "https://api.example.com/rest/a", "iat": proofTime.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

func (m *proofMaker) header() map[string]any {
	key := m.key.JWK(nil)
	delete(key, "kid")
	delete(key, "use")
	return map[string]any{"typ": "dpop+jwt", "alg": m.key.Algorithm, "jwk": key}
}

func (m *proofMaker) thumbprint(t *testing.T) string {
	text, err := json.Marshal(m.key.JWK(nil))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	_, print, err := proofKey(members)
	if err != nil {
		t.Fatal(err)
	}
	return print
}

func newDPoP(t *testing.T, change func(*DPoPSettings)) *DPoP {
	t.Helper()
	s := DPoPSettings{Origins: []string{"https://api.example.com"}, MaxAge: time.Minute, MaxProofs: 10_000}
	if change != nil {
		change(&s)
	}
	d, err := NewDPoP(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestProofs(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"} {
		m := &proofMaker{key: providertest.NewKey(t, "", alg), token: "the-token"}
		other := providertest.NewKey(t, "", alg)
		d := newDPoP(t, nil)
		request := authz.Proof{
			Token: authz.NewSecret(m.token), Thumbprint: m.thumbprint(t), Method: "GET", Host: "pod:8080", Path: "/rest/a?x=1", Now: proofTime,
		}
		set := func(name string, v any) func(h, c map[string]any) {
			return func(_, c map[string]any) { c[name] = v }
		}
		head := func(name string, v any) func(h, c map[string]any) {
			return func(h, _ map[string]any) { h[name] = v }
		}
		private := func(member string) func(h, c map[string]any) {
			return func(h, _ map[string]any) {
				jwk := maps.Clone(h["jwk"].(map[string]any))
				jwk[member] = "AQAB"
				h["jwk"] = jwk
			}
		}
		for name, bend := range map[string]func(h, c map[string]any){
			"typ of a token":        head("typ", "JWT"),
			"no typ":                head("typ", nil),
			"no key":                head("jwk", nil),
			"key of another client": head("jwk", other.JWK(nil)),
			"private key d":         private("d"),
			"private key p":         private("p"),
			"shared secret":         private("k"),
			"critical extension":    head("crit", []string{"x"}),
			"alg none":              head("alg", "none"),
			"alg HS256":             head("alg", "HS256"),
			"another method":        set("htm", "POST"),
			"method in lower case":  set("htm", "get"),
			"no method":             set("htm", nil),
			"another path":          set("htu", "https://api.example.com/rest/b"),
			"another host":          set("htu", "https://evil.example.com/rest/a"),
			"another scheme":        set("htu", "http://api.example.com/rest/a"),
			"another port":          set("htu", "https://api.example.com:8443/rest/a"),
			"the pod's own URL":     set("htu", "http://pod:8080/rest/a"),
			"credentials in htu":    set("htu", "https://u@api.example.com/rest/a"),
			"no htu":                set("htu", nil),
			"another token":         set("ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32))),
			"no token":              set("ath", nil),
			"no jti":                set("jti", nil),
			"jti is a number":       set("jti", 5),
			"old":                   set("iat", proofTime.Add(-61*time.Second).Unix()),
			"from the future":       set("iat", proofTime.Add(31*time.Second).Unix()),
			"no iat":                set("iat", nil),
			"iat is text":           set("iat", fmt.Sprint(proofTime.Unix())),
		} {
			h, c := m.header(), m.claims()
			bend(h, c)
			maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
			maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
			request.JWT = m.key.Sign(h, c)
			if err := d.Prove(request); err == nil {
				t.Errorf("%s, %s: taken", alg, name)
			}
		}
		for name, bend := range map[string]func(h, c map[string]any){
			"as it is":            func(_, _ map[string]any) {},
			"query and fragment":  set("htu", "https://api.example.com/rest/a?y=2#z"),
			"default port":        set("htu", "https://api.example.com:443/rest/a"),
			"capitals":            set("htu", "HTTPS://API.example.com/rest/a"),
			"needless escape":     set("htu", "https://api.example.com/rest/%61"),
			"as old as it may be": set("iat", proofTime.Add(-60*time.Second).Unix()),
			"fast clock":          set("iat", proofTime.Add(30*time.Second).Unix()),
		} {
			h, c := m.header(), m.claims()
			bend(h, c)
			request.JWT = m.key.Sign(h, c)
			if err := d.Prove(request); err != nil {
				t.Errorf("%s, %s: %v", alg, name, err)
			}
			if err := d.Prove(request); err == nil {
				t.Errorf("%s, %s: taken twice", alg, name)
			}
		}
		// Any one character changed.
		h, c := m.header(), m.claims()
		good := m.key.Sign(h, c)
		for i := 0; i < len(good); i += 7 {
			bent := []byte(good)
			bent[i] ^= 1
			request.JWT = string(bent)
			if err := d.Prove(request); err == nil {
				t.Errorf("%s: taken with byte %d changed", alg, i)
			}
		}
	}
}

// With several origins each host has its own, and a proof for one is none for
// another.
func TestProofOrigins(t *testing.T) {
	m := &proofMaker{key: providertest.NewKey(t, "", "ES256"), token: "t"}
	d := newDPoP(t, func(s *DPoPSettings) { s.Origins = []string{"https://a.example.com", "https://b.example.com:8443"} })
	for _, c := range []struct {
		host, htu string
		good      bool
	}{
		{"a.example.com", "https://a.example.com/x", true},
		{"A.example.com:443", "https://a.example.com/x", true},
		{"b.example.com:8443", "https://b.example.com:8443/x", true},
		{"b.example.com:8443", "https://a.example.com/x", false},
		{"c.example.com", "https://a.example.com/x", false},
		{"c.example.com", "https://c.example.com/x", false},
	} {
		claims := m.claims()
		claims["htu"] = c.htu
		err := d.Prove(authz.Proof{
			JWT: m.key.Sign(m.header(), claims), Token: authz.NewSecret("t"), Thumbprint: m.thumbprint(t), Method: "GET", Host: c.host, Path: "/x", Now: proofTime,
		})
		if (err == nil) != c.good {
			t.Errorf("%s, %s: %v", c.host, c.htu, err)
		}
	}
}

func TestProofNonces(t *testing.T) {
	m := &proofMaker{key: providertest.NewKey(t, "", "ES256"), token: "t"}
	key := authz.NewSecret("a key that all replicas have, of 32 bytes")
	withNonce := func(s *DPoPSettings) { s.Nonce, s.NonceKey = true, key }
	d, replica := newDPoP(t, withNonce), newDPoP(t, withNonce)
	try := func(d *DPoP, nonce any, now time.Time) error {
		claims := m.claims()
		claims["htu"], claims["iat"] = "https://api.example.com/x", now.Unix()
		if nonce != nil {
			claims["nonce"] = nonce
		}
		return d.Prove(authz.Proof{
			JWT: m.key.Sign(m.header(), claims), Token: authz.NewSecret("t"), Thumbprint: m.thumbprint(t), Method: "GET", Path: "/x", Now: now,
		})
	}
	var wanted *authz.NonceWanted
	if err := try(d, nil, proofTime); !errors.As(err, &wanted) || wanted.Nonce == "" {
		t.Fatalf("no nonce is asked for: %v", err)
	}
	nonce := wanted.Nonce
	for _, d := range []*DPoP{d, replica} {
		if err := try(d, nonce, proofTime.Add(nonceStep)); err != nil {
			t.Errorf("a nonce of a step ago: %v", err)
		}
		for _, bad := range []any{"", "x", 7, nonce + "x"} {
			if err := try(d, bad, proofTime); !errors.As(err, &wanted) {
				t.Errorf("nonce %v: %v", bad, err)
			}
		}
		if err := try(d, nonce, proofTime.Add(3*nonceStep)); !errors.As(err, &wanted) {
			t.Errorf("an old nonce: %v", err)
		}
	}
	stranger := newDPoP(t, func(s *DPoPSettings) { s.Nonce = true })
	if err := try(stranger, nonce, proofTime); !errors.As(err, &wanted) {
		t.Errorf("a nonce of another key: %v", err)
	}
}

// What is remembered is bounded; when it is full nothing more passes, and one
// key cannot fill it for the others.
func TestProofsSeenIsBounded(t *testing.T) {
	s := newProofsSeen(3200, time.Minute)
	taken := 0
	for i := range 20_000 {
		if s.take("greedy", fmt.Sprint(i), proofTime) == nil {
			taken++
		}
	}
	if taken < 200 || taken > 800 {
		t.Errorf("one key filled %d of 3200 places", taken)
	}
	if err := s.take("modest", "1", proofTime); err != nil {
		t.Errorf("another key: %v", err)
	}
	total := taken + 1
	for i := range 20_000 {
		if s.take(fmt.Sprint("key", i), "1", proofTime) == nil {
			total++
		}
	}
	if total > 3200 {
		t.Errorf("%d are remembered, more than 3200", total)
	}
	for i := range 20_000 {
		if s.take("greedy", fmt.Sprint(i), proofTime) == nil {
			t.Fatalf("proof %d passed once it was full", i)
		}
	}
	if err := s.take("greedy", "later", proofTime.Add(time.Minute)); err != nil {
		t.Errorf("a window later: %v", err)
	}
	if err := s.take("modest", "1", proofTime.Add(time.Minute)); err == nil {
		t.Error("a window later a proof passed again")
	}
	if err := s.take("modest", "1", proofTime.Add(4*time.Minute)); err != nil {
		t.Errorf("windows later its iat refuses it, not the memory: %v", err)
	}
}

// A changed setting is no reason to take a proof again.
func TestProofsSeenOutliveTheirSettings(t *testing.T) {
	former := newDPoP(t, nil)
	for name, change := range map[string]func(*DPoPSettings){
		"nonce":  func(s *DPoPSettings) { s.Nonce = true },
		"age":    func(s *DPoPSettings) { s.MaxAge = 2 * time.Minute },
		"number": func(s *DPoPSettings) { s.MaxProofs = 20_000 },
	} {
		for i := range 100 {
			if err := former.seen.take("key", fmt.Sprint(name, i), proofTime); err != nil {
				t.Fatal(err)
			}
		}
		d := newDPoP(t, change)
		d.Remember(nil, proofTime)
		d.Remember(former, proofTime)
		for i := range 100 {
			for _, later := range []time.Duration{0, d.seen.window - time.Second} {
				if err := d.seen.take("key", fmt.Sprint(name, i), proofTime.Add(later)); err == nil {
					t.Fatalf("%s: a proof passed again after %v", name, later)
				}
			}
		}
		if err := d.seen.take("key", name, proofTime); err != nil {
			t.Errorf("%s: a new proof: %v", name, err)
		}
	}
}

func TestThumbprint(t *testing.T) {
	// RFC 7638 §3.1.
	var members map[string]any
	if err := json.Unmarshal([]byte(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`), &members); err != nil {
		t.Fatal(err)
	}
	_, print, err := proofKey(members)
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || print != want {
		t.Errorf("%q, %v, want %q", print, err, want)
	}
}

func FuzzProof(f *testing.F) {
	m := &proofMaker{key: providertest.NewKey(f, "", "ES256"), token: "t"}
	f.Add(m.key.Sign(m.header(), m.claims()))
	d, err := NewDPoP(DPoPSettings{Origins: []string{"https://api.example.com"}, MaxAge: time.Minute, MaxProofs: 1000})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, proof string) {
		if d.Prove(authz.Proof{JWT: proof, Token: authz.NewSecret("t"), Thumbprint: "none", Method: "GET", Path: "/", Now: proofTime}) == nil {
			t.Error("a proof for no key passed")
		}
	})
}
