package trial

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/authz"
)

func TestRequestBringsTheCredential(t *testing.T) {
	base := Request{Method: "GET", Host: "api", Path: "/x", Headers: []authz.Header{{Name: "x-a", Value: "1"}}}
	for name, tc := range map[string]struct {
		way    Way
		secret string
		header authz.Header
		fails  bool
	}{
		"bearer":          {Way{Kind: authz.Bearer}, "tok", authz.Header{Name: "authorization", Value: "Bearer tok"}, false},
		"basic":           {Way{Kind: authz.Basic}, "alice:pw", authz.Header{Name: "authorization", Value: "Basic YWxpY2U6cHc="}, false},
		"basic, no colon": {Way{Kind: authz.Basic}, "alice", authz.Header{}, true},
		"key":             {Way{authz.APIKey, "x-api-key"}, "k", authz.Header{Name: "x-api-key", Value: "k"}, false},
		"key, no header":  {Way{Kind: authz.APIKey}, "k", authz.Header{}, true},
		"none":            {Way{}, "k", authz.Header{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := base.With(tc.way, authz.NewSecret(tc.secret))
			if (err != nil) != tc.fails {
				t.Fatal(err)
			}
			if !tc.fails && (len(q.Headers) != 2 || q.Headers[1] != tc.header) {
				t.Errorf("headers %v", q.Headers)
			}
		})
	}
	if len(base.Headers) != 1 {
		t.Errorf("the request itself was changed: %v", base.Headers)
	}
}

func TestCredential(t *testing.T) {
	c, err := Credential(authz.Basic, authz.NewSecret("alice:p:w"))
	if err != nil || c.User != "alice" || c.Secret.Reveal() != "p:w" {
		t.Errorf("got %q, %v", c.User, err)
	}
	if _, err := Credential(authz.Basic, authz.NewSecret("alice")); err == nil {
		t.Error("no colon, no error")
	}
	if c, err := Credential(authz.Bearer, authz.NewSecret("a:b")); err != nil || c.Secret.Reveal() != "a:b" {
		t.Errorf("bearer: %v", err)
	}
}

func TestParseKind(t *testing.T) {
	for _, word := range []string{"bearer", "basic", "key"} {
		if k, err := ParseKind(word); err != nil || k.String() != word {
			t.Errorf("%s: %v, %v", word, k, err)
		}
	}
	for _, word := range []string{"", "none", "dpop", "Bearer"} {
		if _, err := ParseKind(word); err == nil {
			t.Errorf("%q was taken", word)
		}
	}
}

// scripted answers with one outcome after the other, and the last for good.
type scripted struct {
	outcomes []authz.Outcome
	asked    int
}

func (s *scripted) Explain(context.Context, authz.Request) (authz.Decision, []authz.Step) {
	o := s.outcomes[min(s.asked, len(s.outcomes)-1)]
	s.asked++
	return authz.Decision{Outcome: o, Reason: authz.ReasonAudience, Provider: "p", Rule: &authz.Rule{Name: "r"}},
		[]authz.Step{{Name: "audience", Outcome: authz.StepFailed, Detail: "for another"}}
}

func TestTestReports(t *testing.T) {
	for outcome, want := range map[authz.Outcome]struct {
		decision string
		status   int
	}{
		authz.Allowed: {Allow, 200}, authz.Unauthenticated: {Deny, 401}, authz.Malformed: {Deny, 400},
		authz.Forbidden: {Deny, 403}, authz.Undecided: {Unavailable, 503},
	} {
		d := &scripted{outcomes: []authz.Outcome{outcome}}
		r := Test(t.Context(), d, authz.Request{}, func() bool { return true })
		if r.Decision != want.decision || r.Status != want.status {
			t.Errorf("%s: %s %d, want %v", outcome, r.Decision, r.Status, want)
		}
	}
}

func TestReportJSON(t *testing.T) {
	d := &scripted{outcomes: []authz.Outcome{authz.Unauthenticated}}
	r := Test(t.Context(), d, authz.Request{}, func() bool { return true })
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"decision":"deny","status":401,"reason":"audience","user":"","provider":"p","rule":"r",` +
		`"steps":[{"name":"audience","outcome":"failed","detail":"for another"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.Advice == "" {
		t.Error("no advice on a wrong audience")
	}
}

func TestTestWaitsUntilItCanBeTold(t *testing.T) {
	d := &scripted{outcomes: []authz.Outcome{authz.Undecided, authz.Undecided, authz.Allowed}}
	if r := Test(t.Context(), d, authz.Request{}, func() bool { return false }); r.Decision != Allow {
		t.Errorf("got %s after %d", r.Decision, d.asked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	d = &scripted{outcomes: []authz.Outcome{authz.Undecided}}
	if r := Test(ctx, d, authz.Request{}, func() bool { return false }); r.Decision != Unavailable {
		t.Errorf("got %s", r.Decision)
	}
}

// source answers with an error a few times first.
type source struct {
	errs  []error
	asked int
}

func (s *source) Attributes(context.Context, authz.Credential) (map[string]any, error) {
	s.asked++
	if s.asked <= len(s.errs) {
		return nil, s.errs[s.asked-1]
	}
	return map[string]any{"sub": "u1"}, nil
}

func TestAsk(t *testing.T) {
	down := errors.New("down")
	never := func() bool { return false }
	a, err := Ask(t.Context(), &source{errs: []error{down, down}}, authz.Credential{}, never)
	if err != nil || len(a.Candidates) != 1 {
		t.Errorf("got %v, %v", a, err)
	}
	refused := authz.Reject(authz.ReasonExpired, "yesterday")
	if _, err := Ask(t.Context(), &source{errs: []error{refused}}, authz.Credential{}, never); !errors.Is(err, authz.ErrRejected) {
		t.Errorf("got %v", err)
	}
	if _, err := Ask(t.Context(), &source{errs: []error{down}}, authz.Credential{}, func() bool { return true }); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

func TestCandidates(t *testing.T) {
	for name, tc := range map[string]struct {
		response string
		want     []Candidate
	}{
		"keycloak": {
			`{"iss":"https://sso/realms/corp","aud":"api","sub":"f7a1b5d2-0c9e-4a6a-9d2f-1b2c3d4e5f60","azp":"cli","jti":"x1",
			  "realm_access":{"roles":["admin","user"]},"name":"Alice Doe","preferred_username":"alice","email":"alice@example.com","email_verified":true,"scope":"openid"}`,
			[]Candidate{
				{"preferred_username", "alice"},
				{"email", "alice@example.com"},
				{"sub", "f7a1b5d2-0c9e-4a6a-9d2f-1b2c3d4e5f60"},
				{"name", "Alice Doe"},
			},
		},
		"graph": {
			`{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users/$entity","displayName":"Alice Doe","mail":"alice@corp.example","userPrincipalName":"alice@corp.example","id":"48d31887"}`,
			[]Candidate{{"userPrincipalName", "alice@corp.example"}, {"mail", "alice@corp.example"}, {"id", "48d31887"}},
		},
		"unverified e-mail": {`{"sub":"1a","email":"x@y","email_verified":"false"}`, []Candidate{{"sub", "1a"}}},
		"deep and dotted": {
			`{"https://corp.example/user":{"login":"al"},"user":{"login":"alice"}}`,
			[]Candidate{{"/https:~1~1corp.example~1user/login", "al"}, {"user.login", "alice"}},
		},
		"own attribute": {`{"jira_account":"adoe","level":3,"since":"2020-01-01T00:00:00Z"}`, []Candidate{{"jira_account", "adoe"}}},
		"nothing":       {`{"active":true,"exp":1800000000,"username":"a\u0007b"}`, []Candidate{}},
	} {
		t.Run(name, func(t *testing.T) {
			var response map[string]any
			if err := json.Unmarshal([]byte(tc.response), &response); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, Candidates(response)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
