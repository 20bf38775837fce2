package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
)

// issuerName stands in the tokens; the keys are found at the configured place.
const issuerName = "https://sso.bench.example"

// issuer signs the tokens of every workload with one RS256 key, and publishes
// that key on loopback as an identity provider does.
type issuer struct {
	key    *rsa.PrivateKey
	now    time.Time
	keys   string // URL of the key set
	server *http.Server

	tokens []string // by number; "" until signed
}

// newIssuer starts an issuer that can sign so many different tokens.
func newIssuer(tokens int) (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{key: key, now: time.Now(), keys: "http://" + l.Addr().String() + "/keys", tokens: make([]string, tokens)}
	i.server = &http.Server{Handler: http.HandlerFunc(i.serveKeys), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = i.server.Serve(l) }() // ends with close
	return i, nil
}

func (i *issuer) close() { _ = i.server.Close() }

func (i *issuer) keySet() []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	set, _ := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench-1",
		"n": b64(i.key.N.Bytes()), "e": b64(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
	return set
}

func (i *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(i.keySet())
}

// userOf is the user of token n. All are of one length, so that all tokens
// are: one can be put in another's place in a captured request.
func userOf(n int) string { return fmt.Sprintf("user-%06d", n) }

// sign makes the tokens of these numbers, as far as they are not made yet.
func (i *issuer) sign(numbers []int) {
	work := make(chan int)
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for n := range work {
				i.tokens[n] = i.token(n)
			}
		})
	}
	asked := make(map[int]bool, len(numbers))
	for _, n := range numbers {
		if !asked[n] && i.tokens[n] == "" { // in this order: what was asked for is being written
			asked[n] = true
			work <- n
		}
	}
	close(work)
	done.Wait()
}

// token makes token n: an access token as large sites' are, 1.2 kB.
func (i *issuer) token(n int) string {
	b64 := base64.RawURLEncoding.EncodeToString
	user := userOf(n)
	header, _ := json.Marshal(map[string]string{"alg": "RS256", "typ": "at+jwt", "kid": "bench-1"})
	claims, _ := json.Marshal(map[string]any{
		"iss": issuerName, "aud": []string{"api"}, "sub": "6f1c1de0-5b1f-4b56-8e1c-" + user, "client_id": "wiki-frontend",
		"preferred_username": user, "email": user + "@example.com", "name": "Somebody " + user,
		"groups": []string{"wiki-users", "engineering", "berlin", "on-call"}, "scope": "openid profile email read write",
		"iat": i.now.Unix(), "nbf": i.now.Unix(), "exp": i.now.Add(6 * time.Hour).Unix(), "jti": fmt.Sprintf("token-%08d", n),
		"sid": strings.Repeat("0123456789abcdef", 4), "acr": "urn:example:acr:password", "azp": "wiki-frontend",
	})
	signed := b64(header) + "." + b64(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // the key is our own, and good
	}
	return signed + "." + b64(signature)
}

// forged is a token whose signature is wrong in a way that no one has sent
// before. Its first byte is 0, below any modulus: the whole signature has to
// be computed before it is found wrong.
func forged(token string) string {
	signature := make([]byte, 256)
	_, _ = rand.Read(signature)
	signature[0] = 0
	return token[:strings.LastIndexByte(token, '.')+1] + base64.RawURLEncoding.EncodeToString(signature)
}
