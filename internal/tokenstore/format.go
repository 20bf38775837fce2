package tokenstore

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unsafe"

	"github.com/gatelodge/gatelodge/authz"
)

// Prefix starts every API token, so that people and secret scanners know one
// when they see it.
const Prefix = "gl_"

// Pattern is the regular expression of an API token (RE2 syntax), for secret
// scanners. Not every match is a token: Valid also looks at the checksum.
const Pattern = `\bgl_[0-9A-Za-z]{49}\b`

// A token is the prefix, 43 random base62 digits (256 bits) and the CRC-32 of
// all that in 6 base62 digits. Its text fits one block of SHA-256.
const (
	randomDigits   = 43
	checksumDigits = 6
	checksumAt     = len(Prefix) + randomDigits
	tokenLength    = checksumAt + checksumDigits
)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isDigit is read where comparing would be guessed wrong by the processor, as
// digits come at random.
var isDigit = func() (is [256]bool) {
	for i := range len(digits) {
		is[digits[i]] = true
	}
	return is
}()

// Hash is what is stored of a token: SHA-256 of its text. A slow hash would
// add nothing: nobody can try out 2^256 tokens.
type Hash [sha256.Size]byte

// HashOf returns the hash of a token's text. The text must be Valid.
func HashOf(text string) Hash {
	var buf [tokenLength]byte
	return sha256.Sum256(buf[:copy(buf[:], text)])
}

// Valid reports whether text is what NewSecret makes: prefix, length, alphabet
// and checksum. It looks at nothing else, so a mistyped or made-up token costs
// no look-up.
func Valid(text string) bool {
	if len(text) != tokenLength || text[:len(Prefix)] != Prefix {
		return false
	}
	for i := len(Prefix); i < len(text); i++ {
		if !isDigit[text[i]] {
			return false
		}
	}
	sum := checksum(text[:checksumAt])
	return string(sum[:]) == text[checksumAt:]
}

// checksum is the CRC-32 (IEEE) of text as base62 digits, most significant
// first.
func checksum(text string) (out [checksumDigits]byte) {
	// It only reads, so the text need not be copied for it.
	sum := crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text)))
	for i := checksumDigits - 1; i >= 0; i-- {
		out[i] = digits[sum%uint32(len(digits))]
		sum /= uint32(len(digits))
	}
	return out
}

// NewSecret makes a token. It fails only where the system has no randomness.
func NewSecret() (authz.Secret, error) { return newSecret(rand.Reader) }

func newSecret(random io.Reader) (authz.Secret, error) {
	text := append(make([]byte, 0, tokenLength), Prefix...)
	block := make([]byte, 2*randomDigits)
	for len(text) < checksumAt {
		if _, err := io.ReadFull(random, block); err != nil {
			return authz.Secret{}, fmt.Errorf("making a token: %w", err)
		}
		for _, b := range block {
			// The bytes above the last multiple of 62 are thrown away, so that
			// every digit is as likely as any other.
			if limit := byte(256 / len(digits) * len(digits)); b < limit && len(text) < checksumAt {
				text = append(text, digits[int(b)%len(digits)])
			}
		}
	}
	sum := checksum(string(text))
	return authz.NewSecret(string(append(text, sum[:]...))), nil
}

// newID makes the accessor id of a token: 80 random bits in lower-case base32.
// It names the token in lists, logs and audit, and is no secret.
func newID() string { return strings.ToLower(rand.Text()[:idLength]) }

const idLength = 16

var errID = errors.New("not the id of a token: 16 letters a–z and digits 2–7, as `token list` shows them")

// checkID refuses what newID cannot have made.
func checkID(id string) error {
	ok := len(id) == idLength
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] >= 'a' && id[i] <= 'z' || id[i] >= '2' && id[i] <= '7'
	}
	if !ok {
		return errID
	}
	return nil
}
