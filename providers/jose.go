package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"unsafe"

	"github.com/gatelodge/gatelodge/authz"
)

// maxToken bounds a token in bytes.
const maxToken = 64 << 10

// signedToken is a compact JWS, taken apart. Nothing in it is proven.
type signedToken struct {
	signed    string // what the signature is over
	header    map[string]any
	algorithm string
	keyID     string
	payload   []byte
	signature []byte
}

// parseToken takes a compact JWS apart (RFC 7515 §7.1), strictly: whatever
// could be read in two ways, or asks for what we do not do, is refused here,
// before any library sees it.
func parseToken(token string) (*signedToken, error) {
	payload, err := decodePayload(token)
	if err != nil {
		return nil, err
	}
	t, err := parseSignature(token)
	if err == nil {
		t.payload = payload
	}
	return t, err
}

func malformed(why string) error { return authz.Reject(authz.ReasonMalformedToken, "%s", why) }

// split finds the two dots of a compact JWS.
func split(token string) (first, last int, err error) {
	if len(token) > maxToken {
		return 0, 0, malformed("larger than 64 KiB")
	}
	first = strings.IndexByte(token, '.')
	last = strings.LastIndexByte(token, '.')
	if first <= 0 || last == len(token)-1 || last <= first+1 || strings.IndexByte(token[first+1:last], '.') >= 0 {
		return 0, 0, malformed("not three parts")
	}
	return first, last, nil
}

func decodePayload(token string) ([]byte, error) {
	first, last, err := split(token)
	if err != nil {
		return nil, err
	}
	payload, err := decodePart(token[first+1 : last])
	if err != nil {
		return nil, malformed("payload is not base64url")
	}
	return payload, nil
}

// parseSignature is parseToken without the payload.
func parseSignature(token string) (*signedToken, error) {
	first, last, err := split(token)
	if err != nil {
		return nil, err
	}
	rawHeader, err := decodePart(token[:first])
	if err != nil {
		return nil, malformed("header is not base64url")
	}
	t := &signedToken{signed: token[:last]}
	if t.signature, err = decodePart(token[last+1:]); err != nil {
		return nil, malformed("signature is not base64url")
	}
	if t.header, err = parseObjectText(textOf(rawHeader)); err != nil {
		return nil, malformed("header: " + err.Error())
	}
	return t, t.checkHeader()
}

// decodePart decodes unpadded base64url (RFC 7515 §2): no white space, and no
// second spelling of the same bytes.
func decodePart(s string) ([]byte, error) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 { // which Go's decoder passes over
		return nil, base64.CorruptInputError(0)
	}
	return strictBase64.DecodeString(s)
}

var strictBase64 = base64.RawURLEncoding.Strict()

// checkHeader looks at the members that say how the token is to be read. Keys
// that come with the token (jwk, jku, x5u, x5c) are not looked at at all.
func (t *signedToken) checkHeader() error {
	var ok bool
	if t.algorithm, ok = t.header["alg"].(string); !ok || !slices.Contains(allAlgorithms, t.algorithm) {
		return authz.Reject(authz.ReasonAlgorithm, "alg is not one of the signature algorithms that are known")
	}
	for _, member := range []string{"crit", "b64", "zip", "enc"} {
		if _, there := t.header[member]; there {
			return authz.Reject(authz.ReasonMalformedToken, "header has %s", member)
		}
	}
	if v, there := t.header["cty"]; there {
		if s, ok := v.(string); !ok || strings.EqualFold(s, "jwt") || strings.EqualFold(s, "application/jwt") {
			return authz.Reject(authz.ReasonMalformedToken, "a token inside a token")
		}
	}
	if v, there := t.header["kid"]; there {
		if t.keyID, ok = v.(string); !ok || len(t.keyID) > 1024 {
			return authz.Reject(authz.ReasonMalformedToken, "kid is not text")
		}
	}
	return nil
}

// checkType looks at typ (RFC 8725 §3.11). strict wants the type of RFC 9068.
func (t *signedToken) checkType(strict bool) error {
	v, there := t.header["typ"]
	if !there && !strict {
		return nil
	}
	typ, ok := v.(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if ok && (typ == "at+jwt" || typ == "jwt" && !strict) {
		return nil
	}
	return authz.Reject(authz.ReasonTokenType, "typ is not that of an access token")
}

// The signature algorithms that are known (RFC 7518 §3.1, RFC 8037 §3.1): none
// with a shared secret, and not none.
var allAlgorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// verify checks the signature with a key that was parsed once.
func (t *signedToken) verify(k *publicKey) bool {
	switch t.algorithm[:2] {
	case "RS":
		h := hashOf(t.algorithm)
		return k.rsa != nil && k.rsa.verify(h, t.digest(h), t.signature)
	case "PS":
		key, ok := k.key.(*rsa.PublicKey)
		h := hashOf(t.algorithm)
		return ok && rsa.VerifyPSS(key, h, t.digest(h), t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case "ES":
		key, ok := k.key.(*ecdsa.PublicKey)
		return ok && t.verifyECDSA(key)
	case "Ed":
		key, ok := k.key.(ed25519.PublicKey)
		return ok && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(t.signed), t.signature)
	}
	return false
}

// verifyECDSA checks r||s, each of the curve's length (RFC 7518 §3.4). The
// curve must be the algorithm's.
func (t *signedToken) verifyECDSA(key *ecdsa.PublicKey) bool {
	bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[t.algorithm]
	if key.Curve == nil || key.Curve.Params().BitSize != bits {
		return false
	}
	size := (bits + 7) / 8
	if len(t.signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:])
	return ecdsa.Verify(key, t.digest(hashOf(t.algorithm)), r, s)
}

func hashOf(algorithm string) crypto.Hash {
	switch algorithm[2:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

func (t *signedToken) digest(h crypto.Hash) []byte {
	signed := unsafe.Slice(unsafe.StringData(t.signed), len(t.signed)) // read only
	switch h {
	case crypto.SHA384:
		d := sha512.Sum384(signed)
		return d[:]
	case crypto.SHA512:
		d := sha512.Sum512(signed)
		return d[:]
	}
	d := sha256.Sum256(signed)
	return d[:]
}

// textOf is b as text, without a copy: b must not change any more.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// claims are those of a token, read once for all providers that are asked
// about it. They are not proven.
type claims struct {
	token string // whose they are
	all   map[string]any
	err   error // a rejection: they cannot be read
}

// claimsOf reads the claims of a credential, or finds them in its notes.
func claimsOf(c *authz.Credential) *claims {
	token := c.Secret.Reveal()
	if c.Notes != nil {
		if found, ok := c.Notes.Value.(*claims); ok && found.token == token {
			return found
		}
	}
	found := readClaims(token)
	if c.Notes != nil {
		c.Notes.Value = found
	}
	return found
}

func readClaims(token string) *claims {
	payload, err := decodePayload(token)
	if err != nil {
		return &claims{token: token, err: err}
	}
	all, err := parseObjectText(textOf(payload))
	if err != nil {
		return &claims{token: token, err: authz.Reject(authz.ReasonMalformedToken, "payload: %v", err)}
	}
	return &claims{token: token, all: all}
}

// unverifiedIssuer returns iss of a credential that looks like a JWS, "" for
// anything else. Nothing is proven by it: it only says who is to be asked.
func unverifiedIssuer(c *authz.Credential) string {
	if !strings.HasPrefix(c.Secret.Reveal(), "ey") {
		return ""
	}
	return textAt(claimsOf(c).all, "iss")
}
