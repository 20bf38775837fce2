package providers

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of the parameters that are taken: below the least a hash is too weak,
// above the most a login costs too much.
const (
	minBcryptCost, maxBcryptCost = 10, 15
	minArgonKiB, maxArgonKiB     = 7 << 10, 256 << 10 // OWASP's least for argon2id is 7 MiB, t=5
	maxArgonTime, maxArgonLanes  = 16, 16
)

// readPasswordHash reads bcrypt as htpasswd -B writes it ($2y$…), or argon2id
// in the PHC string format.
func readPasswordHash(text string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(text, "$2y$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2a$"):
		return readBcrypt(text)
	case strings.HasPrefix(text, "$argon2id$"):
		return readArgon(text)
	}
	return nil, errors.New("the hash is neither bcrypt ($2y$…, made by htpasswd -B) nor argon2id; other kinds are too fast to keep passwords")
}

type bcryptHash struct{ text []byte }

func readBcrypt(text string) (passwordHash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != bcryptLength {
		return nil, errors.New("not a whole bcrypt hash")
	}
	if cost < minBcryptCost || cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt with cost %d: %d to %d are taken (htpasswd -B -C %d)", cost, minBcryptCost, maxBcryptCost, minBcryptCost)
	}
	for _, c := range text[bcryptHead:] {
		if !strings.ContainsRune(bcryptDigits, c) {
			return nil, errors.New("not a whole bcrypt hash")
		}
	}
	return bcryptHash{[]byte(text)}, nil
}

func (h bcryptHash) matches(password []byte) bool {
	return bcrypt.CompareHashAndPassword(h.text, password) == nil
}

// A bcrypt hash is "$2y$10$", 22 digits of salt and 31 of the hash, in an
// alphabet of its own.
const (
	bcryptLength = 60
	bcryptHead   = len("$2y$10$")
	bcryptDigits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

func (h bcryptHash) decoy(random io.Reader) (passwordHash, error) {
	text := append([]byte(nil), h.text...)
	if _, err := io.ReadFull(random, text[bcryptHead:]); err != nil {
		return nil, err
	}
	for i := bcryptHead; i < len(text); i++ {
		text[i] = bcryptDigits[text[i]%64]
	}
	text[bcryptHead+21] = '.' // the last digit of the salt has two bits
	return bcryptHash{text}, nil
}

type argonHash struct {
	kib, time  uint32
	lanes      uint8
	salt, hash []byte
}

func readArgon(text string) (passwordHash, error) {
	var h argonHash
	parts := strings.Split(text, "$") // "", argon2id, v=19, m=…,t=…,p=…, salt, hash
	if len(parts) != 6 || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errors.New("not a whole argon2id hash of version 19")
	}
	if n, err := fmt.Sscanf(parts[3]+"\n", "m=%d,t=%d,p=%d\n", &h.kib, &h.time, &h.lanes); n != 3 || err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.kib, h.time, h.lanes) {
		return nil, errors.New("argon2id parameters are m=…,t=…,p=…")
	}
	if h.kib < minArgonKiB || h.kib > maxArgonKiB || h.time < 1 || h.time > maxArgonTime || h.lanes < 1 || h.lanes > maxArgonLanes {
		return nil, fmt.Errorf("argon2id with %s: m from %d to %d, t and p up to %d are taken", parts[3], minArgonKiB, maxArgonKiB, maxArgonTime)
	}
	var err error
	strict := base64.RawStdEncoding.Strict()
	if h.salt, err = strict.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return nil, errors.New("the salt of the argon2id hash is cut off")
	}
	if h.hash, err = strict.DecodeString(parts[5]); err != nil || len(h.hash) < 16 || len(h.hash) > 64 {
		return nil, errors.New("the argon2id hash is cut off")
	}
	return h, nil
}

func (h argonHash) matches(password []byte) bool {
	got := argon2.IDKey(password, h.salt, h.time, h.kib, h.lanes, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}

func (h argonHash) decoy(random io.Reader) (passwordHash, error) {
	h.salt, h.hash = make([]byte, len(h.salt)), make([]byte, len(h.hash))
	if _, err := io.ReadFull(random, h.salt); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(random, h.hash); err != nil {
		return nil, err
	}
	return h, nil
}
