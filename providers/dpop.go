package providers

import (
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatelodge/gatelodge/authz"
)

// maxProof bounds a DPoP proof in bytes: an RSA key of 4096 bits with room.
const maxProof = 8 << 10

// proofSkew is how far ahead a client's clock may run.
const proofSkew = 30 * time.Second

// DPoP checks proofs of possession (RFC 9449 §4.3). It implements
// authz.Prover and is safe for concurrent use.
type DPoP struct {
	origins []origin
	maxAge  time.Duration
	seen    *proofsSeen
	nonces  *proofNonces // nil: none are asked for
}

// DPoPSettings are what proofs are checked by.
type DPoPSettings struct {
	// Origins are those under which clients know the API, as
	// https://api.example.com: htu is compared to the one of the request's
	// host, or to the only one.
	Origins []string
	MaxAge  time.Duration // of a proof, by its iat
	// MaxProofs bounds how many proofs are remembered. When it is reached,
	// more are refused: to forget one would let it pass twice.
	MaxProofs int
	Nonce     bool         // wants a nonce of ours in each proof (RFC 9449 §9)
	NonceKey  authz.Secret // makes the nonces; empty: a key of this process alone
}

type origin struct{ scheme, host string } // in normal form

// NewDPoP makes a checker of proofs. The error says which origin is none.
func NewDPoP(s DPoPSettings) (*DPoP, error) {
	d := &DPoP{maxAge: s.MaxAge, seen: newProofsSeen(s.MaxProofs, s.MaxAge+proofSkew)}
	for _, text := range s.Origins {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.TrimSuffix(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is not an origin, as https://api.example.com", text)
		}
		d.origins = append(d.origins, origin{u.Scheme, normalHost(u.Scheme, u.Host)})
	}
	if s.Nonce {
		d.nonces = newProofNonces(s.NonceKey)
	}
	return d, nil
}

// Remember takes over what a former checker has seen, so that no proof passes
// again because a setting was changed. It is for the time before the first Prove.
func (d *DPoP) Remember(former *DPoP, now time.Time) {
	switch {
	case former == nil:
	case former.seen.window == d.seen.window && former.seen.shards[0].limit == d.seen.shards[0].limit:
		d.seen = former.seen
	default:
		d.seen.copy(former.seen, now)
	}
}

// errProof is a proof that does not prove; the text is for the log.
type errProof string

func (e errProof) Error() string { return string(e) }

// Prove implements authz.Prover. A proof is good once. The error is an
// *authz.NonceWanted where all that is missing is a nonce of ours.
func (d *DPoP) Prove(p authz.Proof) error {
	if len(p.JWT) > maxProof {
		return errProof("the proof is larger than 8 KiB")
	}
	t, err := parseToken(p.JWT)
	if err != nil {
		return fmt.Errorf("the proof: %w", err)
	}
	if typ, ok := t.header["typ"].(string); !ok || !strings.EqualFold(typ, "dpop+jwt") {
		return errProof("typ of the proof is not dpop+jwt")
	}
	key, thumbprint, err := proofKey(t.header["jwk"])
	if err != nil {
		return fmt.Errorf("jwk of the proof: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(thumbprint), []byte(p.Thumbprint)) != 1 {
		return errProof("the proof is by another key than the token is bound to")
	}
	if !key.suits(t.algorithm) || !t.verify(key) {
		return errProof("the signature of the proof is bad")
	}
	claims, err := parseObject(t.payload)
	if err != nil {
		return fmt.Errorf("claims of the proof: %w", err)
	}
	return d.checkClaims(claims, &p)
}

// checkClaims looks at what a well-signed proof is for. The proof is taken
// note of last: only one that is good in every other way is used up.
func (d *DPoP) checkClaims(claims map[string]any, p *authz.Proof) error {
	if method := textAt(claims, "htm"); method == "" || method != p.Method {
		return errProof("the proof is for another method (htm)")
	}
	want, ok := d.target(p)
	if !ok {
		return errProof("the request is for a host that dpop.origins does not have")
	}
	if got, ok := normalTarget(textAt(claims, "htu")); !ok || got != want {
		return errProof("the proof is for another URL (htu)")
	}
	sum := sha256.Sum256([]byte(p.Token.Reveal()))
	ath := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(textAt(claims, "ath")), []byte(ath)) != 1 {
		return errProof("the proof is for another token (ath)")
	}
	id := textAt(claims, "jti")
	if id == "" || len(id) > 1024 {
		return errProof("the proof has no jti, or one of more than 1 KiB")
	}
	issued, ok := number(claims["iat"])
	if !ok {
		return errProof("the proof has no iat")
	}
	if d.nonces != nil {
		if nonce := textAt(claims, "nonce"); !d.nonces.good(nonce, p.Now) {
			return &authz.NonceWanted{Nonce: d.nonces.current(p.Now)}
		}
	}
	age := p.Now.Sub(time.Unix(0, 0)).Seconds() - issued
	if age > d.maxAge.Seconds() || age < -proofSkew.Seconds() {
		return errProof("the proof is too old, or from the future (iat)")
	}
	return d.seen.take(p.Thumbprint, id, p.Now)
}

// target is the URL that a proof for the request must name, in normal form.
func (d *DPoP) target(p *authz.Proof) (string, bool) {
	path, _, _ := strings.Cut(p.Path, "?")
	for _, o := range d.origins {
		if len(d.origins) == 1 || o.host == normalHost(o.scheme, p.Host) {
			return o.scheme + "://" + o.host + normalPath(path), true
		}
	}
	return "", false
}

// normalTarget returns a URL without query and fragment in the normal form of
// RFC 3986 §6.2.2 and §6.2.3; dot segments stay: no request that gets so far
// has any.
func normalTarget(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	return u.Scheme + "://" + normalHost(u.Scheme, u.Host) + normalPath(u.EscapedPath()), true
}

func normalHost(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// normalPath decodes what never needed encoding and writes the rest in upper
// case, so that two spellings of one path are one.
func normalPath(path string) string {
	if path == "" {
		return "/"
	}
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		decoded, err := url.PathUnescape(path[i : i+3])
		switch {
		case err != nil:
			b.WriteByte('%')
			continue
		case strings.Trim(decoded, unreserved) == "":
			b.WriteString(decoded)
		default:
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// unreserved are the characters that are the same encoded and not (RFC 3986
// §2.3).
const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

// proofKey reads the key that a proof carries, and its thumbprint (RFC 7638).
// The key proves nothing by itself: it must be the one that the token names.
func proofKey(member any) (*publicKey, string, error) {
	members, ok := member.(map[string]any)
	if !ok {
		return nil, "", errors.New("is missing")
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := members[private]; there {
			return nil, "", errors.New("has a private part")
		}
	}
	// No use, key_ops or kid is asked of a key that was made a moment ago.
	public := map[string]any{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if v, there := members[name]; there {
			public[name] = v
		}
	}
	text, err := json.Marshal(public)
	if err != nil {
		return nil, "", errors.New("not a JWK")
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, "", err
	}
	parsed, err := jwk.FromRaw(key.key)
	if err != nil {
		return nil, "", errors.New("not a public key")
	}
	sum, err := parsed.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, "", errors.New("has no thumbprint")
	}
	return key, base64.RawURLEncoding.EncodeToString(sum), nil
}

// DPoPAlgorithms are the signature algorithms that proofs may be made with.
func DPoPAlgorithms() []string { return slices.Clone(allAlgorithms) }
