package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatelodge/gatelodge/authz"
)

// Hashes of "correct horse", made with libxcrypt and argon2-cffi.
const (
	bcryptOfHorse = "$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu"
	argonOfHorse  = "$argon2id$v=19$m=8192,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$O8OCkAvhpQhmReVkNUjdbJd0jPyUmAqlZerzPg8/0Ps"
)

func mustHtpasswd(t testing.TB, text string) *Htpasswd {
	t.Helper()
	h, err := ReadHtpasswd([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func login(user, password string) authz.Credential {
	return authz.Credential{Kind: authz.Basic, User: user, Secret: authz.NewSecret(password)}
}

func TestHtpasswd(t *testing.T) {
	h := mustHtpasswd(t, "# people\n\nalice:"+bcryptOfHorse+"\r\nbob:"+argonOfHorse+"\n")
	for _, c := range []struct {
		user, password string
		ok             bool
	}{
		{"alice", "correct horse", true},
		{"bob", "correct horse", true},
		{"alice", "correct horsE", false},
		{"bob", "correct horse ", false},
		{"alice", "", false},
		{"Alice", "correct horse", false},
		{"alice ", "correct horse", false},
		{"carol", "correct horse", false},
		{"", "correct horse", false},
	} {
		id, err := h.Verify(t.Context(), login(c.user, c.password))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, authz.ErrRejected) {
			t.Errorf("%q %q: %v", c.user, c.password, err)
		}
		if c.ok && id.User != c.user {
			t.Errorf("%+v", id)
		}
	}
	for _, c := range []authz.Credential{
		{Kind: authz.Bearer, Secret: authz.NewSecret("x")},
		{Kind: authz.APIKey, Secret: authz.NewSecret("x")},
		login("alice", "gl_x"),
	} {
		if h.Owns(c) {
			t.Errorf("%v is taken for a static user", c.Kind)
		}
	}
}

// bcrypt reads 72 bytes: what is behind them must not be ignored.
func TestLongPasswordsAreRefused(t *testing.T) {
	long := strings.Repeat("x", maxPassword)
	h := mustHtpasswd(t, "alice:"+bcryptOf(t, long))
	if _, err := h.Verify(t.Context(), login("alice", long)); err != nil {
		t.Errorf("72 bytes: %v", err)
	}
	if _, err := h.Verify(t.Context(), login("alice", long+"y")); !errors.Is(err, authz.ErrRejected) {
		t.Errorf("73 bytes: %v", err)
	}
}

func TestHtpasswdFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "holds no user",
		"alice":                "line 1: is not user:hash",
		":" + bcryptOfHorse:    "the user is empty",
		"a\tb:" + argonOfHorse: "the user is empty, too long or not plain text",
		"a:" + bcryptOfHorse + "\na:" + bcryptOfHorse:                                              `line 2: the user "a" is there twice`,
		"alice:plain-text-password":                                                                "neither bcrypt",
		"alice:$apr1$x$y":                                                                          "neither bcrypt",
		"alice:{SHA}plain-text-password":                                                           "neither bcrypt",
		"alice:" + bcryptOfHorse[:59]:                                                              "not a whole bcrypt hash",
		"alice:" + bcryptOfHorse + "x":                                                             "not a whole bcrypt hash",
		"alice:" + bcryptOfHorse[:59] + "!":                                                        "not a whole bcrypt hash",
		"alice:" + strings.Replace(bcryptOfHorse, "$10$", "$09$", 1):                               "cost 9",
		"alice:" + strings.Replace(bcryptOfHorse, "$10$", "$31$", 1):                               "cost 31",
		"alice:" + strings.Replace(argonOfHorse, "v=19", "v=16", 1):                                "version 19",
		"alice:" + strings.Replace(argonOfHorse, "m=8192", "m=16", 1):                              "argon2id with",
		"alice:" + strings.Replace(argonOfHorse, "m=8192", "m=99999999", 1):                        "argon2id with",
		"alice:" + strings.Replace(argonOfHorse, "p=1", "p=0", 1):                                  "argon2id with",
		"alice:" + strings.Replace(argonOfHorse, "p=1", "p=1,x", 1):                                "parameters are",
		"alice:" + strings.Replace(argonOfHorse, "MDEyMzQ1Njc4OWFiY2RlZg", "MDE", 1):               "salt",
		"alice:" + strings.TrimSuffix(argonOfHorse, "O8OCkAvhpQhmReVkNUjdbJd0jPyUmAqlZerzPg8/0Ps"): "cut off",
		"x\n\ny": "line 3",
	} {
		_, err := ReadHtpasswd([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "plain-text") || strings.Contains(err.Error(), "JPZtHc")) {
			t.Errorf("%q: shows the hash: %v", text, err)
		}
	}
}

func TestDecoysCostTheSame(t *testing.T) {
	h := mustHtpasswd(t, "alice:"+bcryptOfHorse+"\nbob:"+argonOfHorse)
	for i, d := range h.decoys {
		if d.matches([]byte("correct horse")) {
			t.Errorf("decoy %d has the password", i)
		}
		switch d := d.(type) {
		case bcryptHash:
			if _, err := readBcrypt(string(d.text)); err != nil || string(d.text[:bcryptHead]) != bcryptOfHorse[:bcryptHead] {
				t.Errorf("decoy %s: %v", d.text, err)
			}
		case argonHash:
			if d.kib != 8192 || d.time != 2 || d.lanes != 1 || len(d.hash) != 32 {
				t.Errorf("decoy %+v", d)
			}
		}
	}
	if len(h.decoys) != 2 {
		t.Errorf("%d decoys", len(h.decoys))
	}
}

// Who asks two replicas, or one before and after a restart, does not see a user that
// there is not take another time.
func TestDecoysStandForTheSameEverywhere(t *testing.T) {
	const file = "alice:" + bcryptOfHorse + "\nbob:" + argonOfHorse
	one, other, changed := mustHtpasswd(t, file), mustHtpasswd(t, file), mustHtpasswd(t, file+"\n# another")
	kind := func(h *Htpasswd, user string) string { return fmt.Sprintf("%T", h.decoy(user)) }
	kinds, moved := map[string]int{}, 0
	for n := range 200 {
		user := fmt.Sprint("user-", n)
		if kind(one, user) != kind(other, user) {
			t.Fatalf("%s is a %s here and a %s there", user, kind(one, user), kind(other, user))
		}
		kinds[kind(one, user)]++
		if kind(one, user) != kind(changed, user) {
			moved++
		}
	}
	if len(kinds) != 2 || moved < 50 {
		t.Errorf("decoys are %v, and %d of 200 others for another file: who does not know the file must not know them", kinds, moved)
	}
}

// slow is a hash that takes its time.
type slow struct{ began, end chan struct{} }

func (s slow) matches([]byte) bool                   { s.began <- struct{}{}; <-s.end; return true }
func (s slow) decoy(io.Reader) (passwordHash, error) { return s, nil }

func bcryptOf(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), minBcryptCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func TestLoginsAreBounded(t *testing.T) {
	h := mustHtpasswd(t, "alice:"+bcryptOfHorse)
	s := slow{make(chan struct{}, 1000), make(chan struct{})}
	h.users["slow"] = s
	var wg sync.WaitGroup
	for range cap(h.turns) {
		wg.Go(func() { _, _ = h.Verify(context.WithoutCancel(t.Context()), login("slow", "x")) })
	}
	for range cap(h.turns) {
		<-s.began
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var u *authz.Unavailable
	if _, err := h.Verify(ctx, login("alice", "correct horse")); !errors.As(err, &u) || !u.Throttled {
		t.Errorf("with every place taken: %v", err)
	}
	close(s.end)
	wg.Wait()
	if _, err := h.Verify(t.Context(), login("alice", "correct horse")); err != nil || len(h.queue) != 0 || len(h.turns) != 0 {
		t.Errorf("afterwards: %v, %d waiting", err, len(h.queue))
	}
}
