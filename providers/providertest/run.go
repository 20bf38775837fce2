package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Harness is what Run is told of a type of provider.
type Harness struct {
	Dir string // of its cases

	// New makes the provider, set up for the server. settings is what a case
	// says: the name of a variation, empty for the usual ones.
	New func(t testing.TB, s *Server, settings string, log *slog.Logger) Subject

	Signed   bool              // its tokens are checked without asking: faults only hit the keys
	CatchAll bool              // it owns every opaque token that is not known to be another's
	Prefixes []string          // of the tokens that it owns
	Secrets  []string          // that must never be told, beside the token
	InQuery  bool              // the provider knows no other place for a token than the query
	LeftOut  map[string]string // cases that it cannot have, and why
}

// Subject is a provider under test.
type Subject struct {
	authz.Provider
	Attributes func(ctx context.Context, c authz.Credential) (map[string]any, error)
	Status     func() (ready, misconfigured bool, detail string)
	Close      func()
}

// required are the cases that every type of provider has.
var required = []string{"good", "refused", "expired", "revoked", "foreign-app", "app-only", "throttled", "misconfigured"}

// Run is the suite that every type of provider passes: each recorded case comes
// out as it says, a provider that fails in any way is never taken for one that
// refuses, a token is owned by its shape alone, and nothing tells a secret.
func Run(t *testing.T, h Harness) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.Dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", h.Dir, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		names[name] = true
		t.Run(name, func(t *testing.T) { h.play(t, file) })
	}
	for _, name := range required {
		if !names[name] && h.LeftOut[name] == "" {
			t.Errorf("there is no case %s, and no word why", name)
		}
		if names[name] && h.LeftOut[name] != "" {
			t.Errorf("the case %s is there and said to be left out", name)
		}
	}
	faults := []Fault{Down, Broken, Throttled, Garbage, Page, Oversize, Bomb, Cut, Twice, List, Nothing, Redirect, Slow, Drip, Untrusted}
	if !h.Signed {
		faults = append(faults, WrongType) // a key set proves itself, whatever it is said to be
	}
	for _, f := range faults {
		t.Run("provider is "+f.String(), func(t *testing.T) { h.fail(t, f) })
	}
	t.Run("ownership", h.ownership)
}

// rig is a provider and its server at work on a case.
type rig struct {
	Subject
	server *Server
	c      *Case
	cred   authz.Credential
	log    *quietLog
}

func (h *Harness) set(t *testing.T, file string, fault Fault) *rig {
	s := NewServer(t)
	r := &rig{server: s, c: ReadCase(t, file, s), log: &quietLog{}}
	s.Play(r.c)
	s.Fail(fault)
	switch fault {
	case Slow, Drip:
		s.Timeout = 200 * time.Millisecond
	case Untrusted:
		s.CAFile = otherAuthority(t)
	}
	r.Subject = h.New(t, s, r.c.Settings, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r.cred = authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(r.c.Token)}
	return r
}

func (h *Harness) play(t *testing.T, file string) {
	t.Parallel()
	r := h.set(t, file, None)
	defer r.Close()
	if !r.Owns(r.cred) {
		t.Fatal("the token is not owned")
	}
	ctx, steps := authz.WithSteps(t.Context())
	id, err := r.Verify(ctx, r.cred)
	r.compare(t, &id, err)
	attrs, attrErr := r.Attributes(ctx, r.cred)
	if r.c.Want.Outcome == "allowed" {
		if attrErr != nil || len(attrs) == 0 {
			t.Errorf("attributes: %v %v", attrs, attrErr)
		}
		for name, e := range r.c.exchanges {
			if !e.used {
				t.Errorf("%s was never asked for", name)
			}
		}
	}
	h.discreet(t, r, fmt.Sprint(err, attrErr, steps.List(), attrs, id))
}

// compare holds what came of a case against what it wants.
func (r *rig) compare(t *testing.T, id *authz.Identity, err error) {
	t.Helper()
	w := r.c.Want
	var refusal *authz.Rejection
	var down *authz.Unavailable
	got := "unavailable"
	switch {
	case err == nil:
		got = "allowed"
	case errors.As(err, &refusal):
		got = "refused"
	case errors.As(err, &down) && down.Misconfigured:
		got = "misconfigured"
	case errors.As(err, &down) && down.Throttled:
		got = "throttled"
	}
	if got != w.Outcome {
		t.Fatalf("%s: %v; want %s", got, err, w.Outcome)
	}
	switch got {
	case "allowed":
		compareIdentity(t, id, w)
	case "refused":
		if w.Value != refusal.Reason.String() {
			t.Errorf("refused: %s, want %s: %v", refusal.Reason, w.Value, err)
		}
		if len(r.server.Calls()) > 0 && refusal.CacheFor <= 0 {
			t.Error("a refusal that cost a call is not remembered")
		}
	case "misconfigured":
		if _, misconfigured, detail := r.Status(); !misconfigured || detail == "" {
			t.Error("the status does not say that the settings are wrong")
		}
		if !strings.Contains(r.log.String(), "level=ERROR") {
			t.Error("the log does not say that the settings are wrong")
		}
	default:
		if w.Value == "" {
			return
		}
		wait, parseErr := time.ParseDuration(w.Value)
		if parseErr != nil || down == nil || (down.RetryAfter-wait).Abs() > 5*time.Second {
			t.Errorf("%v, want to be told to wait about %s", err, w.Value)
		}
	}
}

func compareIdentity(t *testing.T, id *authz.Identity, w Want) {
	t.Helper()
	if id.User != w.Value {
		t.Errorf("user %q, want %q", id.User, w.Value)
	}
	expires := ""
	if !id.Expires.IsZero() {
		expires = "set"
	}
	bound := ""
	if id.Bound != nil {
		bound = id.Bound.KeyThumbprint
	}
	got := map[string]string{
		"bound": bound, "client": id.Client, "subject": id.Subject, "email": id.Email, "issuer": id.Issuer, "token": id.TokenID,
		"groups": strings.Join(id.Groups, ","), "roles": strings.Join(id.Roles, ","), "scopes": strings.Join(id.Scopes, ","),
		"app": fmt.Sprint(id.App), "groups-unknown": fmt.Sprint(id.GroupsUnknown), "expires": expires,
	}
	for name, want := range w.More {
		if have, known := got[name]; !known || have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
}

// fail makes sure that a provider that fails is not taken for one that refuses.
func (h *Harness) fail(t *testing.T, f Fault) {
	t.Parallel()
	r := h.set(t, filepath.Join(h.Dir, "good.txtar"), f)
	defer r.Close()
	ctx := t.Context()
	began := time.Now()
	id, err := r.Verify(ctx, r.cred)
	if took := time.Since(began); took > patience {
		t.Errorf("held up for %v", took)
	}
	if err == nil || errors.Is(err, authz.ErrRejected) {
		t.Fatalf("%v %v; want: cannot tell", id.User, err)
	}
	var down *authz.Unavailable
	if f == Throttled && !h.Signed && (!errors.As(err, &down) || !down.Throttled || down.RetryAfter != 17*time.Second) {
		t.Errorf("%v does not say that we are throttled, for 17s", err)
	}
	calls := r.server.Calls()
	if slices.ContainsFunc(calls, func(c Call) bool { return pathOf(c.Target) == "/elsewhere" }) {
		t.Error("a redirect was followed")
	}
	if f == Throttled && !h.Signed {
		if _, err := r.Verify(ctx, r.cred); err == nil || errors.Is(err, authz.ErrRejected) || len(r.server.Calls()) != len(calls) {
			t.Errorf("asked again before its time: %v, %d calls", err, len(r.server.Calls()))
		}
	}
	h.discreet(t, r, fmt.Sprint(err))
	if !h.Signed && !slices.Contains([]Fault{Throttled, Slow, Drip, Untrusted}, f) {
		h.recovers(t, r)
	}
}

// recovers makes sure that a failure is not remembered as an answer: the very
// token is good once the provider is.
func (h *Harness) recovers(t *testing.T, r *rig) {
	t.Helper()
	r.server.Fail(None)
	id, err := r.Verify(t.Context(), r.cred)
	r.compare(t, &id, err)
	if ready, misconfigured, detail := r.Status(); err == nil && (!ready || misconfigured) {
		t.Errorf("after a good answer the status is still: %s", detail)
	}
}

// ownership makes sure that no other's credential is ever shown to the provider.
func (h *Harness) ownership(t *testing.T) {
	r := h.set(t, filepath.Join(h.Dir, "good.txtar"), None)
	defer r.Close()
	others := []string{
		"gl_0123456789abcdef", "gho_0123", "ghp_0123", "github_pat_0123", "glpat-0123", "gloas-0123", "gldt-0123", "xoxe-1-2", "xapp-1-2", "ghr_0123", "ghs_0123", "xoxb-1-2", "xoxp-1-2", "ya29.a0Af",
		r.server.Sign(nil, map[string]any{"iss": "https://issuer.example.com", "sub": "x"}),
	}
	if !h.CatchAll {
		others = append(others, "0123456789abcdef", "ey.ey.x", "a.b.c", "")
	}
	for _, token := range others {
		if slices.ContainsFunc(h.Prefixes, func(p string) bool { return strings.HasPrefix(token, p) }) {
			continue
		}
		if r.Owns(authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}) {
			t.Errorf("owns %q", token)
		}
	}
	for _, kind := range []authz.Kind{authz.Basic, authz.APIKey, authz.NoCredential} {
		if r.Owns(authz.Credential{Kind: kind, User: "alice", Secret: r.cred.Secret}) {
			t.Errorf("owns a credential of kind %v", kind)
		}
	}
	if calls := r.server.Calls(); len(calls) > 0 {
		t.Errorf("asked to find out whose a token is: %v", calls)
	}
}

// discreet makes sure that nothing tells the token or a secret.
func (h *Harness) discreet(t *testing.T, r *rig, told string) {
	t.Helper()
	_, _, detail := r.Status()
	for where, text := range map[string]string{"the log": r.log.String(), "the status": detail, "what was returned": told} {
		for _, secret := range append([]string{r.c.Token}, h.Secrets...) {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("%s holds a secret", where)
			}
		}
	}
	for _, c := range r.server.Calls() {
		if !h.InQuery && strings.Contains(c.Target, r.c.Token) {
			t.Errorf("the token is in the URL of %s %s", c.Method, pathOf(c.Target))
		}
	}
}

// quietLog keeps what is logged.
type quietLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *quietLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *quietLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
