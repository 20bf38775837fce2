package authz

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// presetCases are requests that only read by what a product makes of them, or
// that do not.
var presetCases = []struct {
	preset, request string
	reads           bool
}{
	{"", "GET /rest/plugins/1.0/", true},
	{"", "HEAD /x", true},
	{"", "OPTIONS /x", true},
	{"", "TRACE /x", false},
	{"", "POST /rest/api/2/search", false},
	{"", "PROPFIND /x", false},

	{"jira", "GET /rest/api/2/issue/X-1", true},
	{"jira", "GET /rest/api/2/search?jql=project=X", true},
	{"jira", "GET /browse/X-1", true},
	{"jira", "POST /rest/api/2/issue", false},
	{"jira", "POST /rest/api/2/issue/X-1/comment", false},
	{"jira", "PUT /rest/api/2/issue/X-1", false},
	{"jira", "DELETE /rest/api/2/issue/X-1", false},
	{"jira", "POST /rest/api/2/search", true},
	{"jira", "POST /rest/api/latest/search", true},
	{"jira", "POST /rest/api/2/search/", true},
	{"jira", "POST /rest/api/2/search/x", false},
	{"jira", "POST /rest/api/search", false},
	{"jira", "PUT /rest/api/2/search", false},
	{"jira", "POST /rest/api/2/worklog/list", true},
	{"jira", "POST /rest/assets/1.0/object/navlist/aql", true},
	{"jira", "POST /rest/assets/1.0/object/create", false},
	{"jira", "POST /rest/agile/1.0/backlog/issue", false},
	{"jira", "POST /rest/auth/1/session", false},
	{"jira", "GET /rest/plugins/1.0/", false},
	{"jira", "HEAD /rest/plugins/1.0/", false},
	{"jira", "GET /rest/pat/latest/tokens", false},
	{"jira", "GET /rest/applinks/latest/applicationlink", false},
	{"jira", "GET /rest/scriptrunner/latest/custom/createBranch?issue=X-1", false},

	// under a context path
	{"jira", "POST /jira/rest/api/2/search", true},
	{"jira", "POST /jira/rest/api/2/issue", false},
	{"jira", "GET /jira/rest/plugins/1.0/", false},
	{"jira", "POST /x/jira/rest/api/2/search", false},
	{"jira", "POST /rest/rest/api/2/search", false},
	{"jira", "GET /", true},
	{"jira", "GET /jira", true},

	{"confluence", "GET /rest/api/content/", true},
	{"confluence", "GET /rest/api/search?cql=x", true},
	{"confluence", "POST /rest/api/content/", false},
	{"confluence", "POST /rest/api/contentbody/convert/view", true},
	{"confluence", "POST /rest/api/contentbody", false},
	{"confluence", "POST /wiki/rest/api/contentbody/convert/view", true},
	{"confluence", "GET /wiki/rest/plugins/1.0/", false},
	{"confluence", "POST /rest/api/2/search", false},

	{"bitbucket", "GET /rest/api/latest/projects", true},
	{"bitbucket", "POST /rest/api/latest/projects", false},
	{"bitbucket", "POST /rest/api/latest/projects/P/repos/r/pull-requests/1/merge", false},
	{"bitbucket", "POST /rest/search/latest/search", true},
	{"bitbucket", "POST /rest/build-status/latest/commits/stats", true},
	{"bitbucket", "POST /rest/build-status/latest/commits/abc", false},
	{"bitbucket", "POST /rest/api/latest/markup/preview", true},
	{"bitbucket", "GET /rest/access-tokens/latest/users/alice", false},
	{"bitbucket", "GET /scm/p/r.git/info/refs?service=git-upload-pack", true},
	{"bitbucket", "GET /scm/p/r.git/info/refs", true},
	{"bitbucket", "GET /scm/~alice/r.git/info/refs?service=git-upload-pack", true},
	{"bitbucket", "POST /scm/p/r.git/git-upload-pack", true},
	{"bitbucket", "GET /scm/p/r.git/info/refs?service=git-receive-pack", false},
	{"bitbucket", "GET /scm/p/r.git/info/refs?x=y&service=git-receive-pack", false},
	{"bitbucket", "GET /scm/p/r.git/info/refs?service=GIT-RECEIVE-PACK", false},
	{"bitbucket", "GET /scm/p/r.git/info/refs?service=git%2Dreceive-pack", false},
	{"bitbucket", "GET /scm/p/r.git/info/refs/?service=git-receive-pack", false},
	{"bitbucket", "HEAD /scm/p/r.git/info/refs?service=git-receive-pack", false},
	{"bitbucket", "POST /scm/p/r.git/git-receive-pack", false},
	{"bitbucket", "POST /scm/p/r.git/git-upload-pack/git-receive-pack", false},
	{"bitbucket", "POST /scm/p/r.git/info/lfs/objects/batch", false}, // its body says which
	{"bitbucket", "PUT /scm/p/r.git/x", false},
	{"bitbucket", "GET /git/scm/p/r.git/info/refs?service=git-receive-pack", false},
	{"bitbucket", "POST /git/scm/p/r.git/git-upload-pack", true},
}

// newLocal knows two API tokens: one that may only read, and one that may write.
func newLocal(t *testing.T) *book {
	t.Helper()
	b := bookOf("l-")
	b.known["l-read-only"] = Identity{User: "bob", Limits: &Limits{ReadOnly: true}}
	b.known["l-any"] = Identity{User: "bob", Limits: &Limits{}}
	return b
}

func TestPresets(t *testing.T) {
	a := bookOf("a-", "alice")
	a.known["a-alice"] = Identity{User: "alice", Groups: []string{"readers"}}
	limited := newLocal(t)
	for _, c := range presetCases {
		e := newEngine(t, Policy{
			Providers: []NamedProvider{{Name: "a", Provider: a}, {Name: "local", Provider: limited}},
			Rules:     []Rule{{Match: Match{Paths: []string{"/**"}}, Preset: c.preset, ReadOnlyGroups: []string{"readers"}}},
		})
		method, path, _ := strings.Cut(c.request, " ")
		want := map[bool]Outcome{true: Allowed, false: Forbidden}[c.reads]
		for name, token := range map[string]string{"group that may only read": "a-alice", "token that may only read": "l-read-only"} {
			q := get(path, "authorization: Bearer "+token)
			q.Method = method
			if d := e.Decide(t.Context(), q); d.Outcome != want || want == Forbidden && d.Reason != ReasonReadOnly {
				t.Errorf("%s, %s: %s: %v/%v", c.preset, name, c.request, d.Outcome, d.Reason)
			}
			q.Headers = append(q.Headers, Header{"x-http-method-override", "DELETE"})
			if d := e.Decide(t.Context(), q); d.Outcome == Allowed {
				t.Errorf("%s, %s: %s with another method in a header: %v", c.preset, name, c.request, d.Outcome)
			}
		}
		q := get(path, "authorization: Bearer l-any")
		q.Method = method
		if d := e.Decide(t.Context(), q); d.Outcome != Allowed {
			t.Errorf("%s: %s with a token that may write: %v/%v", c.preset, c.request, d.Outcome, d.Reason)
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

// A rule that looks at a header sees each of its values, and nothing is decided
// by one that comes with others: Envoy may join lines by a comma.
func TestRulesOnHeadersThatComeTwice(t *testing.T) {
	e := newEngine(t, Policy{
		Providers: []NamedProvider{{Name: "a", Provider: bookOf("a-", "alice")}},
		Rules: []Rule{
			{Name: "shut", Match: Match{Headers: map[string][]string{"x-role": {"admin"}}}, Access: DenyAll},
			{Name: "open", Match: Match{Headers: map[string][]string{"x-probe": {"yes", "sure"}}}, Access: Public},
			{Name: "there", Match: Match{Headers: map[string][]string{"x-there": {}}}, Access: Public},
		},
	})
	for lines, want := range map[string]Outcome{
		"x-role: admin":                       Forbidden,
		"x-role: user":                        Unauthenticated, // no rule's, and no credential
		"x-role: admin, admin":                Forbidden,
		"x-role: user, admin":                 Malformed,
		"x-role: admin,user":                  Malformed,
		"x-role: user\nx-role: admin":         Malformed,
		"x-role: admin\nx-role: user":         Malformed,
		"x-role: superadmin":                  Unauthenticated,
		"x-probe: yes":                        Allowed,
		"x-probe: yes,sure":                   Allowed,
		"x-probe: yes, no":                    Malformed,
		"x-probe: no\nx-probe: yes":           Malformed,
		"x-probe: no":                         Unauthenticated,
		"x-probe: yes\nx-role: admin":         Forbidden, // the first rule
		"x-probe: yes\nx-role: user,admin":    Malformed,
		"x-there: a\nx-there: b":              Allowed,
		"x-probe: ,":                          Unauthenticated,
		"x-role: user, admin\nx-there: a":     Malformed,
		"x-other: admin":                      Unauthenticated,
		"x-role: ADMIN":                       Unauthenticated,
		"authorization: Bearer a-alice":       Allowed,
		"authorization: Bearer a-alice\nx: y": Allowed,
	} {
		if d := e.Decide(t.Context(), get("/x", strings.Split(lines, "\n")...)); d.Outcome != want {
			t.Errorf("%q: %v (%v), want %v", lines, d.Outcome, d.Reason, want)
		}
	}
}
