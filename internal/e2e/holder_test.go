package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"
)

// A holder is a client that proves to hold a key (RFC 9449). Like issuer, it
// shares no code with what it is used to test.
type holder struct{ key *ecdsa.PrivateKey }

func newHolder(t testing.TB) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{key}
}

// jwk is the public key, and with private also what nobody must be told.
func (h *holder) jwk(private bool) claims {
	point, err := h.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // a key that we made
	}
	k := claims{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	if private {
		secret, err := h.key.Bytes()
		if err != nil {
			panic(err) // a key that we made
		}
		k["d"] = encode(secret)
	}
	return k
}

// A bend spoils a proof in one way.
type bend func(head, body claims)

// proof proves that the holder sends a request with a token ("": that it asks
// for one).
func (h *holder) proof(method, url, token string, bends ...bend) string {
	input := proofInput(h.jwk(false), method, url, token, bends)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, h.key, sum[:])
	if err != nil {
		panic(err) // a key that we made, a digest of the right size
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + encode(signature)
}

// proofByHMAC is the attack of taking the public key for a shared secret.
func (h *holder) proofByHMAC(method, url, token string) string {
	input := proofInput(h.jwk(false), method, url, token, []bend{func(head, _ claims) { head["alg"] = "HS256" }})
	mac := hmac.New(sha256.New, []byte(encodeJSON(h.jwk(false))))
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func proofInput(key claims, method, url, token string, bends []bend) string {
	head := claims{"typ": "dpop+jwt", "alg": "ES256", "jwk": key}
	body := claims{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		body["ath"] = encode(sum[:])
	}
	for _, b := range bends {
		b(head, body)
	}
	return encodeJSON(head) + "." + encodeJSON(body)
}

// asks is the holder asking for a token.
func (h *holder) asks(method, url string) string { return h.proof(method, url, "") }
