package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// publicKey is one key of a provider, checked and parsed once.
type publicKey struct {
	id        string
	algorithm string  // that the key is for; "": any of its kind
	issuer    string  // of Entra's keys: whose tokens it signs
	key       any     // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	rsa       *rsaKey // of an RSA key
}

// suits reports whether the key may verify a token of the algorithm.
func (k *publicKey) suits(algorithm string) bool {
	if k.algorithm != "" {
		return k.algorithm == algorithm
	}
	switch k.key.(type) {
	case *rsa.PublicKey:
		return algorithm[:2] == "RS" || algorithm[:2] == "PS"
	case *ecdsa.PublicKey:
		return algorithm[:2] == "ES"
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// maxKeys bounds how many keys of a set are looked at.
const maxKeys = 1000

// parseKeys reads a JWK set (RFC 7517 §5). Keys that must not verify anything
// are left out, and told in dropped; a set without any good key is an error.
func parseKeys(text []byte) (keys []*publicKey, dropped []string, err error) {
	if _, err := parseObject(text); err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, errors.New("key set: keys is not a list")
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("key set: %d keys, %d are the most", len(set.Keys), maxKeys)
	}
	seen := map[string]bool{}
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		switch {
		case err != nil:
			dropped = append(dropped, fmt.Sprintf("key %d: %v", i+1, err))
		case k.id != "" && seen[k.id]:
			dropped = append(dropped, fmt.Sprintf("key %d: its kid is that of an earlier key", i+1))
		default:
			seen[k.id] = true
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, dropped, errors.New("key set: no key in it can verify a signature")
	}
	return keys, dropped, nil
}

func parseKey(raw []byte) (*publicKey, error) {
	members, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	if err := checkPurpose(members); err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, errors.New("not a JWK")
	}
	k := &publicKey{id: textAt(members, "kid"), algorithm: textAt(members, "alg"), issuer: textAt(members, "issuer")}
	if err := parsed.Raw(&k.key); err != nil {
		return nil, errors.New("not a public key")
	}
	if err := k.checkCertificate(members); err != nil {
		return nil, err
	}
	if err := k.checkStrength(); err != nil {
		return nil, err
	}
	if key, ok := k.key.(*rsa.PublicKey); ok {
		k.rsa = newRSAKey(key)
	}
	return k, nil
}

// checkCertificate refuses a key that is published with the certificate of
// another (RFC 7517 §4.7): one of the two is not what its owner meant. Nothing is
// trusted for a certificate's sake, so one that cannot be read says nothing.
func (k *publicKey) checkCertificate(members map[string]any) error {
	chain, _ := members["x5c"].([]any)
	if len(chain) == 0 {
		return nil
	}
	text, _ := chain[0].(string)
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	if own, ok := k.key.(interface{ Equal(crypto.PublicKey) bool }); ok && !own.Equal(certificate.PublicKey) {
		return errors.New("its certificate (x5c) is of another key")
	}
	return nil
}

// checkPurpose refuses keys that are secret, or are for something else.
func checkPurpose(members map[string]any) error {
	switch members["kty"] {
	case "RSA", "EC", "OKP":
	case "oct":
		return errors.New("a shared secret; whoever can check with it can sign")
	default:
		return errors.New("of an unknown kty")
	}
	if _, private := members["d"]; private {
		return errors.New("a private key, published: it must be replaced at the provider")
	}
	if use, ok := members["use"]; ok && use != "sig" {
		return errors.New("not for signatures (use)")
	}
	if ops, ok := members["key_ops"]; ok {
		if list, ok := ops.([]any); !ok || !slices.Contains(list, any("verify")) {
			return errors.New("not for verifying (key_ops)")
		}
	}
	if alg, ok := members["alg"]; ok {
		if s, ok := alg.(string); !ok || !slices.Contains(allAlgorithms, s) {
			return errors.New("for an algorithm that is not taken")
		}
	}
	return nil
}

func (k *publicKey) checkStrength() error {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		if bits < 2048 || bits > 16384 || key.E < 65537 || key.E%2 == 0 || key.N.Bit(0) == 0 {
			return fmt.Errorf("an RSA key of %d bits with exponent %d", bits, key.E)
		}
		if weakModulus(key.N) {
			return errors.New("an RSA key of a generator whose keys can be factored (ROCA, CVE-2017-15361)")
		}
	case *ecdsa.PublicKey:
		if _, err := key.ECDH(); err != nil {
			return errors.New("a point that is not on its curve")
		}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key of a wrong length")
		}
	default:
		return fmt.Errorf("of a kind that does not sign")
	}
	if k.algorithm != "" && !(&publicKey{key: k.key}).suits(k.algorithm) {
		return errors.New("of another kind than its alg says")
	}
	return nil
}

// weakModulus recognises keys of the generator behind CVE-2017-15361: modulo
// every small prime they are a power of 65537. A good key is so by chance once
// in 2^27 times.
func weakModulus(n *big.Int) bool {
	for _, p := range []int64{
		11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
	} {
		residue := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == residue
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}
