package authz

import (
	"errors"
	"testing"
	"time"
)

func TestPresets(t *testing.T) {
	a := bookOf("a-", "alice")
	a.known["a-alice"] = Identity{User: "alice", Groups: []string{"readers"}}
	for _, c := range []struct {
		preset, method, path string
		want                 Outcome
	}{
		{"jira", "GET", "/rest/api/2/issue/X-1", Allowed},
		{"jira", "POST", "/rest/api/2/issue", Forbidden},
		{"jira", "POST", "/rest/api/2/search", Allowed},
		{"jira", "POST", "/rest/api/2/search/", Allowed},
		{"jira", "PUT", "/rest/api/2/search", Forbidden},
		{"jira", "GET", "/rest/plugins/1.0/", Forbidden},
		{"confluence", "POST", "/rest/api/content/", Forbidden},
		{"confluence", "GET", "/rest/api/content/", Allowed},
		{"bitbucket", "GET", "/scm/p/r.git/info/refs?service=git-upload-pack", Allowed},
		{"bitbucket", "POST", "/scm/p/r.git/git-upload-pack", Allowed},
		{"bitbucket", "GET", "/scm/p/r.git/info/refs?service=git-receive-pack", Forbidden},
		{"bitbucket", "GET", "/scm/p/r.git/info/refs?service=git%2Dreceive-pack", Forbidden},
		{"bitbucket", "POST", "/scm/p/r.git/git-receive-pack", Forbidden},
		{"bitbucket", "POST", "/scm/p/r.git/info/lfs/objects/batch", Forbidden},
	} {
		e := newEngine(t, Policy{
			Providers: []NamedProvider{{Name: "a", Provider: a}},
			Rules:     []Rule{{Preset: c.preset, ReadOnlyGroups: []string{"readers"}}},
		})
		q := get(c.path, "authorization: Bearer a-alice")
		q.Method = c.method
		if d := e.Decide(t.Context(), q); d.Outcome != c.want || d.Rule == nil {
			t.Errorf("%s: %s %s: %v/%v", c.preset, c.method, c.path, d.Outcome, d.Reason)
		}
	}
	e := newEngine(t, Policy{Rules: []Rule{{Preset: "jira", Access: DenyAll}}})
	if d := e.Decide(t.Context(), get("/browse/X-1")); d.Rule != nil {
		t.Error("a preset's rule matches outside the product's API")
	}
}

func TestPreflight(t *testing.T) {
	e := newEngine(t, Policy{Rules: []Rule{{Match: Match{Paths: []string{"/api/**"}}, Preflight: true}}})
	options := func(path string, headers ...string) Outcome {
		q := get(path, headers...)
		q.Method = "OPTIONS"
		return e.Decide(t.Context(), q).Outcome
	}
	const origin, method = "origin: https://app.example.com", "access-control-request-method: PUT"
	if got := options("/api/x", origin, method); got != Allowed {
		t.Errorf("a real preflight: %v", got)
	}
	for name, got := range map[string]Outcome{
		"no origin":   options("/api/x", method),
		"no method":   options("/api/x", origin),
		"two methods": options("/api/x", origin, method, method),
		"two origins": options("/api/x", origin, origin, method),
		"joined":      options("/api/x", origin+","+origin[8:], method),
		"empty":       options("/api/x", "origin: ", method),
		"other path":  options("/other", origin, method),
		"not OPTIONS": e.Decide(t.Context(), get("/api/x", origin, method)).Outcome,
	} {
		if got != Unauthenticated {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDocumentsAreAnsweredByTheGate(t *testing.T) {
	e := newEngine(t, Policy{Documents: map[string][]byte{"/.well-known/oauth-protected-resource": []byte(`{}`)}})
	if d := e.Decide(t.Context(), get("/.well-known/oauth-protected-resource?x=1")); d.Outcome != Answered || string(d.Document) != "{}" {
		t.Errorf("%+v", d)
	}
	q := get("/.well-known/oauth-protected-resource")
	q.Method = "POST"
	if d := e.Decide(t.Context(), q); d.Outcome != Unauthenticated {
		t.Errorf("%+v", d)
	}
}

func TestStepUp(t *testing.T) {
	a := bookOf("a-")
	now := time.Now()
	a.known["a-strong"] = Identity{User: "u", ACR: "mfa", AuthTime: now}
	a.known["a-weak"] = Identity{User: "u", ACR: "pwd", AuthTime: now}
	a.known["a-old"] = Identity{User: "u", ACR: "mfa", AuthTime: now.Add(-time.Hour)}
	a.known["a-mute"] = Identity{User: "u", ACR: "mfa"}
	e := newEngine(t, Policy{
		Providers: []NamedProvider{{Name: "a", Provider: a}},
		Rules:     []Rule{{Allow: Allow{ACR: []string{"mfa", "phr"}, MaxAge: 5 * time.Minute}}},
	})
	for token, want := range map[string]Reason{
		"a-strong": ReasonVerified, "a-weak": ReasonStepUp, "a-old": ReasonStepUp, "a-mute": ReasonStepUp,
	} {
		if d := e.Decide(t.Context(), get("/", "authorization: Bearer "+token)); d.Reason != want {
			t.Errorf("%s: %v/%v", token, d.Outcome, d.Reason)
		}
	}
}

type verdictOf struct {
	yes bool
	err error
}

func (v verdictOf) Holds(*Request, string, *Identity) (bool, error) { return v.yes, v.err }

func TestExpressionsDenyOnError(t *testing.T) {
	a := bookOf("a-", "alice")
	a.known["a-cut"] = Identity{User: "carol", GroupsUnknown: true}
	for _, c := range []struct {
		verdict verdictOf
		token   string
		want    Outcome
	}{
		{verdictOf{true, nil}, "a-alice", Allowed},
		{verdictOf{false, nil}, "a-alice", Forbidden},
		{verdictOf{true, errors.New("cost limit")}, "a-alice", Forbidden},
		{verdictOf{true, nil}, "a-cut", Allowed},
		{verdictOf{false, nil}, "a-cut", Forbidden},
		{verdictOf{true, errors.New("no groups")}, "a-cut", Undecided},
	} {
		e := newEngine(t, Policy{
			Providers: []NamedProvider{{Name: "a", Provider: a}},
			Rules:     []Rule{{When: "x"}},
			Compile:   func(string) (Condition, error) { return c.verdict, nil },
		})
		if d := e.Decide(t.Context(), get("/", "authorization: Bearer "+c.token)); d.Outcome != c.want {
			t.Errorf("%+v: %v", c, d.Outcome)
		}
	}
	cache, _ := NewCache(CacheLimits{})
	if _, err := New(&Policy{Rules: []Rule{{When: "x"}}}, cache, time.Now); err == nil {
		t.Error("an expression was taken without a compiler")
	}
}
