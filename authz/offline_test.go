package authz

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// keyring is a book that decides by itself, but for credentials with an "x".
type keyring struct {
	*book
	offline int
}

func (k *keyring) VerifyOffline(ctx context.Context, c Credential) (Identity, bool, error) {
	k.offline++
	if strings.Contains(c.Secret.Reveal(), "x") {
		return Identity{}, false, nil
	}
	if strings.Contains(c.Secret.Reveal(), "~") {
		panic(c.Secret.Reveal())
	}
	if c.Notes == nil {
		return Identity{}, true, errors.New("no notes")
	}
	id, known := k.known[c.Secret.Reveal()]
	if !known {
		return Identity{}, true, Reject(ReasonSignature, "not in the book")
	}
	return id, true, nil
}

func TestOfflineProvider(t *testing.T) {
	k := &keyring{book: bookOf("k-", "alice", "max")}
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "k", Provider: k}}})
	for _, c := range []struct {
		token          string
		outcome        Outcome
		reason         Reason
		user           string
		offline, calls int
	}{
		{"k-alice", Allowed, ReasonVerified, "alice", 1, 0},
		{"k-alice", Allowed, ReasonVerified, "alice", 1, 0}, // remembered
		{"k-eve", Unauthenticated, ReasonSignature, "", 2, 0},
		{"k-eve", Unauthenticated, ReasonSignature, "", 3, 0}, // not remembered: it was cheap
		{"k-max", Allowed, ReasonVerified, "max", 4, 1},       // has to ask
		{"k-max", Allowed, ReasonVerified, "max", 4, 1},
		{"k-~secret", Undecided, ReasonPanic, "", 5, 1},
	} {
		d := e.Decide(t.Context(), get("/", "authorization: Bearer "+c.token))
		user := ""
		if d.Identity != nil {
			user = d.Identity.User
		}
		if d.Outcome != c.outcome || d.Reason != c.reason || user != c.user || strings.Contains(d.Detail, "secret") {
			t.Errorf("%s: %v %v %q %s", c.token, d.Outcome, d.Reason, user, d.Detail)
		}
		if k.offline != c.offline || k.calls.Load() != int64(c.calls) {
			t.Errorf("%s: %d offline, %d calls, want %d, %d", c.token, k.offline, k.calls.Load(), c.offline, c.calls)
		}
	}
}
