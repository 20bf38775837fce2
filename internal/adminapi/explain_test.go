package adminapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// explained is what a step says.
func explained(answer map[string]any, step string) string {
	for _, s := range answer["steps"].([]any) {
		if one := s.(map[string]any); one["name"] == step {
			return fmt.Sprint(one["outcome"], " ", one["detail"])
		}
	}
	return ""
}

func TestExplain(t *testing.T) {
	d := newDesk(t)
	alice, bob := d.who("alice"), d.who("bob")
	ask := func(person string, q asked) map[string]any {
		t.Helper()
		body, err := json.Marshal(map[string]any{"path": q.Path, "headers": q.Headers, "context": append([]string{"x: y"}, q.Context...)})
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		if q.Headers == nil {
			text = strings.Replace(text, `"headers":null,`, "", 1)
		}
		if q.Source != "" {
			text = strings.Replace(text, "{", `{"source":"`+q.Source+`",`, 1)
		}
		return d.want(200, person, "POST", "explain", text)
	}
	for _, c := range []struct {
		name  string
		q     asked
		want  string // decision, status, reason, user, rule
		steps map[string]string
	}{
		{"public", asked{Path: "/public/x"}, "allow 200 public - public", map[string]string{"rule": "ok public: public"}},
		{"no credential", asked{Path: "/x"}, "deny 401 no_credential - -", map[string]string{"rule": "ok none matches: any valid credential", "credential": "failed no_credential"}},
		{"refused", asked{Path: "/x", Headers: []string{"Authorization: Bearer " + d.issuer.Token("alice", map[string]any{"aud": "other"})}}, "deny 401 audience - -", map[string]string{"credential": "ok bearer"}},
		{
			"each condition",
			asked{Path: "/staff/x", Headers: []string{"X-Stage: test", "AUTHORIZATION: " + bob}},
			"deny 403 user_not_allowed bob staff",
			map[string]string{
				"rule": "ok staff: authenticated", "identity": "ok bob", "allow.users": `failed wants one of ["alice"], has ["bob"]`,
				"allow.groups": `ok wants one of ["staff"], has ["bobs" "staff"]`, "allow": "failed user_not_allowed",
			},
		},
		{"another rule by its header", asked{Path: "/staff/x", Headers: []string{"Authorization: " + bob}}, "allow 200 verified bob -", nil},
		{"by route and address", asked{Path: "/x", Headers: []string{"Authorization: " + bob}, Context: []string{"app: wiki"}, Source: "10.1.2.3"}, "allow 200 verified bob wiki", map[string]string{"allow.sources": "ok wants one of [10.0.0.0/8], comes from 10.1.2.3"}},
		{"by route and another address", asked{Path: "/x", Headers: []string{"Authorization: " + bob}, Context: []string{"app: wiki"}, Source: "::1"}, "deny 403 source_not_allowed bob wiki", nil},
		{"ambiguous", asked{Path: "/public/..%2fx"}, "deny 400 ambiguous_path - -", nil},
		{"two credentials", asked{Path: "/x", Headers: []string{"Authorization: " + bob, "Authorization: " + alice}}, "deny 400 ambiguous_credential - -", nil},
	} {
		for _, person := range []string{"token", "root", "eve"} {
			got := ask(person, c.q)
			line := strings.Join([]string{
				fmt.Sprint(got["decision"]), fmt.Sprint(got["status"]), fmt.Sprint(got["reason"]), orDash(got["user"]), orDash(got["rule"]),
			}, " ")
			if line != c.want {
				t.Errorf("%s: %s, want %s", c.name, line, c.want)
			}
			for step, want := range c.steps {
				if told := explained(got, step); told != want {
					t.Errorf("%s: step %s: %q, want %q", c.name, step, told, want)
				}
			}
			if text := fmt.Sprint(got); strings.Contains(text, "eyJ") || strings.Contains(text, alice[len(alice)-20:]) {
				t.Errorf("%s: a credential is told: %s", c.name, text)
			}
		}
	}
	if strings.Contains(d.log.String(), "eyJ") {
		t.Error("a credential is in the log")
	}
}

func orDash(v any) string {
	if v == "" {
		return "-"
	}
	return fmt.Sprint(v)
}

func TestExplainIsForThoseWhoMayLook(t *testing.T) {
	d := newDesk(t)
	d.want(403, "alice", "POST", "explain", `{"path":"/x"}`)
	d.want(401, "", "POST", "explain", `{"path":"/x"}`)
	d.want(405, "token", "GET", "explain", "")
	for _, body := range []string{
		``, `{}`, `{"path":"x"}`, `{"path":""}`, `{"path":1}`, `{"path":"/x","token":"secret-of-somebody"}`, `{"path":"/x","source":"here"}`,
		`{"path":"/x","source":"fe80::1%eth0"}`, `{"path":"/x","headers":["secret-of-somebody"]}`, `{"path":"/x","headers":[": secret-of-somebody"]}`,
		`{"path":"/x","headers":["a b: secret-of-somebody"]}`, `{"path":"/x","headers":["a: b\nc"]}`, `{"path":"/x","headers":{"a":"b"}}`,
		`{"path":"/x","context":["app"]}`, `{"path":"/x","headers":[` + strings.Repeat(`"a: b",`, 100) + `"a: b"]}`,
	} {
		if got := d.want(400, "token", "POST", "explain", body); strings.Contains(fmt.Sprint(got), "secret") {
			t.Errorf("%s: told back: %v", body, got)
		}
	}
	d.none = true // no API tokens: requests are explained all the same
	d.want(200, "token", "POST", "explain", `{"path":"/x"}`)
}
