package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/shadow"
	"github.com/gatelodge/gatelodge/internal/trial"
)

const recordConfig = `
admin: {token: admin-token-of-the-test}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q], groups: [groups]}
rules:
  - {name: public, match: {paths: [/public/**]}, access: public}
  - {name: nobody, match: {paths: [/nobody/**]}, access: deny}
  - {name: ops, match: {paths: [/ops/**]}, allow: {groups: [admins]}}
  - {name: scoped, match: {paths: [/scoped]}, allow: {scopes: ["issues:read"]}}
  - {name: trial, match: {paths: [/trial/**]}, allow: {groups: [admins]}, mode: %s}
`

// record is a line of the record of decisions.
type record struct {
	ID, Reason, Detail, User, Rule, Provider, Path, Client string

	Shadow  bool
	WouldBe string `json:"would_be"`
}

// recorded waits until a decision stands in the record, and returns it.
func (g *gatelodge) recorded(t *testing.T, id string) (found record) {
	t.Helper()
	eventually(t, 10*time.Second, "the decision "+id+" is recorded", func() bool {
		text, err := os.ReadFile(g.audit)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, id) {
				decode(t, line, &found)
				return true
			}
		}
		return false
	})
	return found
}

// TestDecisionIsFoundInTheRecord takes the id out of an answer, as a caller
// would tell it to an operator: the record has the cause, which the answer
// does not, and no credential.
func TestDecisionIsFoundInTheRecord(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serveRecorded(t, fmt.Sprintf(recordConfig, i.url, audience, "shadow"))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	now := time.Now().Unix()
	token := func(c claims) string { return i.sign(i.claims("alice").with(c)) }
	forged := i.signWith(newKey(t), nil, i.claims("alice"))
	for _, c := range []struct {
		name, target, token string
		status              int
		want                record
	}{
		{"no credential", "/issues", "", 401, record{Reason: "no_credential"}},
		{"expired", "/issues", token(claims{"exp": now - 600}), 401, record{Reason: "expired", Provider: "lab"}},
		{"for another API", "/issues", token(claims{"aud": "other"}), 401, record{Reason: "audience", Provider: "lab"}},
		{"forged", "/issues", forged, 401, record{Reason: "signature", Provider: "lab"}},
		{"of somebody else", "/issues", token(claims{"iss": "https://evil.example.test"}), 401, record{Reason: "no_owner"}},
		{"not in the group", "/ops/x", token(nil), 403, record{Reason: "group_not_allowed", Provider: "lab", Rule: "ops", User: "alice", Client: "web"}},
		{"without the scope", "/scoped", token(nil), 403, record{Reason: "scope", Provider: "lab", Rule: "scoped", User: "alice", Client: "web"}},
		{"for nobody", "/nobody/x", token(nil), 403, record{Reason: "denied_by_rule", Rule: "nobody"}},
		{"ambiguous", "/public/..%2fops", token(nil), 400, record{Reason: "ambiguous_path"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := request{target: c.target + "?secret=in-the-query", headers: []field{{"accept", "application/json"}}}
			if c.token != "" {
				q.headers = append(q.headers, bearer(c.token))
			}
			r, seen := f.send(t, protocols[0], variants[1], q)
			refused(t, q, r, seen, c.status)
			var told struct{ Error, Message, Decision string }
			decode(t, r.body, &told)
			if told.Decision == "" || told.Decision != r.header.Get("x-gatelodge-decision") {
				t.Fatalf("the answer names the decision %q and %q", told.Decision, r.header.Get("x-gatelodge-decision"))
			}
			got := g.recorded(t, told.Decision)
			c.want.ID, c.want.Path, c.want.Detail = told.Decision, c.target, got.Detail
			if got != c.want {
				t.Errorf("the record has %+v, want %+v", got, c.want)
			}
			if why := g.explain(t, q); why.Reason != c.want.Reason || why.Rule != c.want.Rule || why.User != c.want.User || why.Status != c.status {
				t.Errorf("the request is explained by %+v, was answered %d: %+v", why, c.status, c.want)
			}
			if cause := c.want.Reason; cause != "expired" && cause != "no_credential" && cause != "scope" && strings.Contains(r.body, cause) {
				t.Errorf("the caller is told the cause: %s", r.body)
			}
		})
	}
	text, err := os.ReadFile(g.audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"in-the-query", "eyJ", forged[len(forged)-40:]} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q stands in the record", secret)
		}
	}
}

// explain asks the admin API why a request is decided as it is.
func (g *gatelodge) explain(t *testing.T, q request) trial.Report {
	t.Helper()
	asked := map[string]any{"host": "api.example.test", "path": q.target, "source": "127.0.0.1"}
	var headers []string
	for _, h := range q.headers {
		headers = append(headers, h.name+": "+h.value)
	}
	asked["headers"] = headers
	body, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+g.admin+"/api/v1/explain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer admin-token-of-the-test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("explain: %s %s: %v", resp.Status, text, err)
	}
	if strings.Contains(string(text), "eyJ") {
		t.Errorf("a credential is told: %s", text)
	}
	var out trial.Report
	decode(t, string(text), &out)
	return out
}

// shadowCases are requests that shadow mode lets through.
func shadowCases(i *issuer) []struct {
	target, token, user string
	want                record
} {
	alice, late := i.token("alice"), i.sign(i.claims("alice").with(claims{"exp": time.Now().Unix() - 600}))
	return []struct {
		target, token, user string
		want                record
	}{
		{"/trial/a", "", "", record{Reason: "no_credential", Rule: "trial", Shadow: true, WouldBe: "deny"}},
		{"/trial/b", late, "", record{Reason: "expired", Rule: "trial", Provider: "lab", Shadow: true, WouldBe: "deny"}},
		{"/trial/c", alice, "", record{Reason: "group_not_allowed", Rule: "trial", Provider: "lab", User: "alice", Client: "web", Shadow: true, WouldBe: "forbidden"}},
		{"/trial/d", i.sign(i.claims("root").with(claims{"groups": []string{"admins"}})), "root", record{Reason: "verified", Rule: "trial", Provider: "lab", User: "root", Client: "web"}},
	}
}

// TestShadow lets a rule, and then everything, only look: requests pass, nobody
// can say who they are, and the report tells who would be refused.
func TestShadow(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole file %t", whole), func(t *testing.T) {
			t.Parallel()
			config := fmt.Sprintf(recordConfig, i.url, audience, "shadow")
			if whole {
				config = "mode: shadow\n" + fmt.Sprintf(recordConfig, i.url, audience, "shadow")
			}
			g := serveRecorded(t, config)
			g.awaitReady(t)
			f := newFront(t, g.grpc)
			spoof := []field{{"x-forwarded-user", "admin"}, {"x_forwarded_user", "admin"}, {"x-forwarded-groups", "admins"}}
			sent := 0
			for _, c := range shadowCases(i) {
				everyWay(t, func(t *testing.T, p protocol, v variant) {
					q := request{target: c.target, headers: spoof}
					if c.token != "" {
						q.headers = append([]field{bearer(c.token)}, spoof...)
					}
					r, seen := f.send(t, p, v, q)
					passes(t, q, r, seen, c.user)
					if seen != nil && (len(seen.values("x-forwarded-groups")) > 0) != (c.user != "") {
						t.Errorf("%s: upstream was told the groups %q", brief(q), seen.values("x-forwarded-groups"))
					}
				})
				sent += len(protocols) * len(variants)
			}
			// What is beside the rule is enforced, unless all of it is watched.
			other := request{target: "/issues", headers: spoof}
			r, seen := f.send(t, protocols[0], variants[0], other)
			if whole {
				passes(t, other, r, seen, "")
			} else {
				refused(t, other, r, seen, 401)
			}
			if err := g.Stop(); err != nil {
				t.Error(err)
			}
			checkShadowRecord(t, g, i)
			report := g.report(t)
			want := 24
			if whole {
				want++
			}
			if report.Refused != want || report.Decisions != sent+1 {
				t.Errorf("the report has %d refusals of %d decisions, want %d of %d", report.Refused, report.Decisions, want, sent+1)
			}
			checkRows(t, report, whole)
		})
	}
}

func checkShadowRecord(t *testing.T, g *gatelodge, i *issuer) {
	t.Helper()
	text, err := os.ReadFile(g.audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range shadowCases(i) {
		n := 0
		for line := range strings.Lines(string(text)) {
			var got record
			if decode(t, line, &got); got.Path != c.target {
				continue
			}
			n++
			c.want.Path, c.want.ID, c.want.Detail = c.target, got.ID, got.Detail
			if got != c.want {
				t.Errorf("the record has %+v, want %+v", got, c.want)
			}
		}
		if n != len(protocols)*len(variants) {
			t.Errorf("%s: recorded %d times", c.target, n)
		}
	}
}

// report runs the command that sums up the record.
func (g *gatelodge) report(t *testing.T) *shadow.Report {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "report", "--audit", g.audit, "--json").Output()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("report ended with %v, want exit status 1: somebody would be refused", err)
	}
	var r shadow.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return &r
}

// checkRows looks for who would be refused: by caller, path and reason.
func checkRows(t *testing.T, r *shadow.Report, whole bool) {
	t.Helper()
	type row struct{ caller, path, reason, status string }
	got := map[row]int{}
	for _, x := range r.Rows {
		got[row{x.Caller, x.Path, x.Reason, x.Status}] = x.Count
		if x.ID == "" || x.Method != "GET" {
			t.Errorf("a row of %q without a decision to look at: %+v", x.Method, x)
		}
	}
	want := map[row]int{
		{"unknown, from 127.0.0.1", "/trial/a", "no_credential", "deny"}: 8,
		{"unknown, from 127.0.0.1", "/trial/b", "expired", "deny"}:       8,
		{"web for alice", "/trial/c", "group_not_allowed", "forbidden"}:  8,
	}
	if whole {
		want[row{"unknown, from 127.0.0.1", "/issues", "no_credential", "deny"}] = 1
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the report has\n%v\nwant\n%v", got, want)
	}
}
