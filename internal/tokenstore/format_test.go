package tokenstore

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func mustSecret(t testing.TB) string {
	t.Helper()
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

func TestNewSecret(t *testing.T) {
	pattern := regexp.MustCompile(`^(?:` + Pattern + `)$`)
	seen := map[string]bool{}
	for range 10_000 {
		token := mustSecret(t)
		if !Valid(token) || !pattern.MatchString(token) {
			t.Fatalf("made a token that is none: %q", token)
		}
		if seen[token] {
			t.Fatal("the same token twice")
		}
		seen[token] = true
	}
}

// Every digit must be as likely as any other: chi-squared with 61 degrees of
// freedom stays below 118 in all but one run of 100,000.
func TestDigitsAreUniform(t *testing.T) {
	var count [256]float64
	const tokens = 5000
	for range tokens {
		for _, c := range []byte(mustSecret(t)[len(Prefix):checksumAt]) {
			count[c]++
		}
	}
	expected := float64(tokens*randomDigits) / float64(len(digits))
	var chi float64
	for _, c := range []byte(digits) {
		d := count[c] - expected
		chi += d * d / expected
	}
	if chi > 118 {
		t.Errorf("chi-squared %.1f", chi)
	}
}

func TestNoRandomnessNoToken(t *testing.T) {
	if s, err := newSecret(io.LimitReader(rand.Reader, 20)); err == nil || !s.IsZero() {
		t.Errorf("%v, %v", s, err)
	}
	// Bytes that are thrown away are made up for.
	all := append(bytes.Repeat([]byte{255}, 2*randomDigits), make([]byte, 2*randomDigits)...)
	s, err := newSecret(bytes.NewReader(all))
	if err != nil || !strings.HasPrefix(s.Reveal(), "gl_0000000000") {
		t.Errorf("%q, %v", s.Reveal(), err)
	}
}

// A published example: whoever writes a scanner can check theirs against it.
// The expected values were computed with Python's zlib and hashlib.
func TestKnownToken(t *testing.T) {
	body := "gl_" + strings.Repeat("0", randomDigits)
	sum := checksum(body)
	known := body + string(sum[:])
	if want := body + "2QAeGb"; known != want {
		t.Errorf("got %q, want %q", known, want)
	}
	if got := fmt.Sprintf("%x", HashOf(known)); got != "7d14d571f663e5f85249f7459287b1d7283da110453ad7198943197b0a9d886d" {
		t.Errorf("hash %s", got)
	}
}

func TestEveryAlterationIsRefused(t *testing.T) {
	for range 20 {
		token := mustSecret(t)
		for at := range len(token) {
			for c := range 256 {
				if altered := token[:at] + string([]byte{byte(c)}) + token[at+1:]; altered != token && Valid(altered) {
					t.Fatalf("%q: byte %d changed to %#x is taken", token, at, c)
				}
			}
			for name, altered := range map[string]string{
				"cut":        token[:at],
				"cut front":  token[at+1:],
				"dropped":    token[:at] + token[at+1:],
				"doubled":    token[:at+1] + token[at:],
				"extended":   token + token[:at+1],
				"case":       token[:at] + string(flip(rune(token[at]))) + token[at+1:],
				"full width": token[:at] + string(rune(token[at])+0xFEE0) + token[at+1:],
				"space":      token[:at] + " " + token[at:],
				"NUL":        token[:at] + "\x00" + token[at:],
			} {
				if altered != token && Valid(altered) {
					t.Fatalf("%q: %s at %d is taken", token, name, at)
				}
			}
			if at > 0 {
				swapped := []byte(token)
				swapped[at-1], swapped[at] = swapped[at], swapped[at-1]
				if string(swapped) != token && Valid(string(swapped)) {
					t.Fatalf("%q: swapped at %d is taken", token, at)
				}
			}
		}
		for from, to := range homoglyphs {
			if altered := strings.ReplaceAll(token, from, to); altered != token && Valid(altered) {
				t.Fatalf("%q: %q for %q is taken", token, to, from)
			}
		}
	}
}

// Letters that look like ours: Cyrillic, Greek, digits of other scripts.
var homoglyphs = map[string]string{
	"a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "y": "у", "A": "А", "B": "В", "H": "Η",
	"K": "К", "M": "М", "O": "Ο", "T": "Т", "l": "ӏ", "_": "＿", "g": "ɡ", "0": "٠", "1": "१", "2": "２",
}

func flip(r rune) rune {
	if unicode.IsUpper(r) {
		return unicode.ToLower(r)
	}
	return unicode.ToUpper(r)
}

func TestIDs(t *testing.T) {
	for range 1000 {
		if id := newID(); checkID(id) != nil || Valid(id) {
			t.Fatalf("made an id that is none: %q", id)
		}
	}
	for _, id := range []string{"", "abc", strings.Repeat("a", 17), strings.Repeat("A", 16), strings.Repeat("1", 16), "aaaaaaaaaaaaaaa'", mustSecret(t)} {
		if checkID(id) == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

func FuzzToken(f *testing.F) {
	token := mustSecret(f)
	for _, seed := range []string{token, token[:51], token + "0", "", "gl_", strings.ToUpper(token), "GL_" + token[3:]} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(`^(?:` + Pattern + `)$`)
	f.Fuzz(func(t *testing.T, text string) {
		if !Valid(text) {
			return
		}
		if !pattern.MatchString(text) || !utf8.ValidString(text) {
			t.Fatalf("%q is taken, but does not match the published expression", text)
		}
		if sum := checksum(text[:checksumAt]); string(sum[:]) != text[checksumAt:] {
			t.Fatalf("%q is taken with a wrong checksum", text)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	token := mustSecret(b)
	b.ReportAllocs()
	for b.Loop() {
		if !Valid(token) {
			b.Fatal()
		}
	}
}

func BenchmarkHashOf(b *testing.B) {
	token := mustSecret(b)
	b.ReportAllocs()
	for b.Loop() {
		_ = HashOf(token)
	}
}
