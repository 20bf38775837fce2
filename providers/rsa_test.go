package providers

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	mrand "math/rand/v2"
	"testing"
)

// What crypto/rsa takes is taken, and nothing else: good signatures, altered
// ones, and signatures of what only looks like an encoded digest.
func TestRSAAgreesWithTheStandardLibrary(t *testing.T) {
	random := mrand.New(mrand.NewPCG(1, 2))
	for _, bits := range []int{2048, 2056, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		public := &private.PublicKey
		ours := newRSAKey(public)
		agree := func(what string, h crypto.Hash, digest, signature []byte, want bool) {
			t.Helper()
			theirs := rsa.VerifyPKCS1v15(public, h, digest, signature) == nil
			if got := ours.verify(h, digest, signature); got != theirs || got != want {
				t.Errorf("%d bits, %v, %s: %v, crypto/rsa says %v, want %v", bits, h, what, got, theirs, want)
			}
		}
		for h, info := range digestInfo {
			d := h.New()
			d.Write([]byte("a token"))
			digest := d.Sum(nil)
			good, err := rsa.SignPKCS1v15(nil, private, h, digest)
			if err != nil {
				t.Fatal(err)
			}
			agree("good", h, digest, good, true)
			agree("of another text", h, append([]byte{digest[0] ^ 1}, digest[1:]...), good, false)
			agree("empty", h, digest, nil, false)
			agree("cut", h, digest, good[:len(good)-1], false)
			agree("longer", h, digest, append([]byte{0}, good...), false)
			agree("zero", h, digest, make([]byte, len(good)), false)
			above := new(big.Int).Add(new(big.Int).SetBytes(good), public.N)
			if above.BitLen() <= 8*public.Size() {
				agree("plus the modulus", h, digest, above.FillBytes(make([]byte, public.Size())), false)
			}
			for range 20 {
				altered := bytes.Clone(good)
				altered[random.IntN(len(altered))] ^= 1 << random.IntN(8)
				agree("altered", h, digest, altered, false)
			}

			// Signed with the key itself, so that only the encoding is wrong.
			encode := func(first, kind, pad byte, padding int, rest ...[]byte) []byte {
				em := append([]byte{first, kind}, bytes.Repeat([]byte{pad}, padding)...)
				return append(em, bytes.Join(rest, nil)...)
			}
			whole := public.Size() - 3 - len(info) - len(digest)
			for what, em := range map[string][]byte{
				"good again":           encode(0, 1, 0xff, whole, []byte{0}, info, digest),
				"padding type 2":       encode(0, 2, 0xff, whole, []byte{0}, info, digest),
				"other padding":        encode(0, 1, 0xfe, whole, []byte{0}, info, digest),
				"no end of padding":    encode(0, 1, 0xff, whole+1, info, digest),
				"garbage behind":       encode(0, 1, 0xff, 8, []byte{0}, info, digest, bytes.Repeat([]byte{7}, whole-8)),
				"no DigestInfo":        encode(0, 1, 0xff, whole+len(info), []byte{0}, digest),
				"DigestInfo of others": encode(0, 1, 0xff, whole, []byte{0}, append([]byte{0x31}, info[1:]...), digest),
			} {
				m := new(big.Int).SetBytes(em)
				signature := m.Exp(m, private.D, public.N).FillBytes(make([]byte, public.Size()))
				agree(what, h, digest, signature, what == "good again")
			}
		}
		if ours.verify(crypto.SHA1, make([]byte, 20), make([]byte, public.Size())) {
			t.Error("SHA-1 is taken")
		}
	}
}
