package providers

import (
	"bytes"
	"crypto"
	"crypto/rsa"

	"filippo.io/bigmod"
)

// rsaKey is a public RSA key with what a verification needs of it, computed
// once: crypto/rsa computes it anew for each signature, a third of the cost of
// a token that is seen for the first time. bigmod is the arithmetic of crypto/rsa
// itself, published by its authors. Only PKCS #1 v1.5 is done here, where all
// there is to do besides is to compare; PSS is left to crypto/rsa.
type rsaKey struct {
	modulus  *bigmod.Modulus
	exponent uint
	size     int // of the modulus and of a signature, in bytes
}

// newRSAKey makes the key ready; nil: there is none to be made ready.
func newRSAKey(k *rsa.PublicKey) *rsaKey {
	m, err := bigmod.NewModulus(k.N.Bytes())
	if err != nil {
		return nil
	}
	return &rsaKey{modulus: m, exponent: uint(k.E), size: k.Size()}
}

// The beginnings of a DigestInfo, by hash (RFC 8017 §9.2, note 1).
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// verify reports whether signature is that of digest (RFC 8017 §8.2.2): what
// the signature encodes must be, byte for byte, what the digest encodes to. Nothing
// of it is parsed, so there is no room for anything else in it.
func (k *rsaKey) verify(h crypto.Hash, digest, signature []byte) bool {
	info, known := digestInfo[h]
	if !known || len(digest) != h.Size() || len(signature) != k.size {
		return false
	}
	s, err := bigmod.NewNat().SetBytes(signature, k.modulus) // refuses what is not below the modulus
	if err != nil {
		return false
	}
	found := bigmod.NewNat().ExpShortVarTime(s, k.exponent, k.modulus).Bytes(k.modulus)
	padding := k.size - len(info) - len(digest) - 3
	if padding < 8 || len(found) != k.size {
		return false
	}
	want := make([]byte, 0, k.size)
	want = append(want, 0x00, 0x01)
	for range padding {
		want = append(want, 0xff)
	}
	want = append(want, 0x00)
	want = append(append(want, info...), digest...)
	return bytes.Equal(found, want)
}
