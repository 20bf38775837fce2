package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A setting is a line of the configuration that changes what the upstream is
// told. user and by are the headers that are Gatelodge's to set under it.
type setting struct {
	line, user, by string
	cases          []settingCase
}

// A settingCase is a request under a setting. status, if not zero, is that of
// its refusal; else it passes, and the upstream is told of user, unless empty,
// and is shown the credential if that is kept.
type settingCase struct {
	name, target, token string // token: of this user; empty: none
	status              int
	user                string
	kept                bool
}

var settings = []setting{
	{"forward_credential: true", "x-forwarded-user", "", []settingCase{
		{"good", "/issues", "alice", 0, "alice", true},
		{"none", "/issues", "", 401, "", false},
	}},
	{"non_ascii: percent-encode", "x-forwarded-user", "", []settingCase{
		{"umlaut", "/issues", "j\u00fcrgen", 0, "j%C3%BCrgen", false},
		{"per cent", "/issues", "100%", 0, "100%25", false},
		{"line break", "/issues", "a\r\nb", 401, "", false},
	}},
	{"enabled: false", "x-forwarded-user", "", []settingCase{
		{"none", "/issues", "", 0, "", false},
		{"good", "/issues", "alice", 0, "", true},
		{"rule for nobody", "/nobody/x", "", 0, "", false},
	}},
	{"mode: shadow", "x-forwarded-user", "", []settingCase{
		{"none", "/issues", "", 0, "", false},
		{"good", "/issues", "alice", 0, "alice", true},
		{"rule for nobody", "/nobody/x", "", 0, "", false},
	}},
	{"headers: {user: x-auth-user, email: '', groups: '', provider: x-auth-by}", "x-auth-user", "x-auth-by", []settingCase{
		{"good", "/issues", "alice", 0, "alice", false},
		{"none", "/issues", "", 401, "", false},
		{"public", "/public/x", "alice", 0, "", true},
	}},
}

// TestSettings spoofs under each setting that decides what the upstream is
// told: none of them opens a way to say who one is.
func TestSettings(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	for _, s := range settings {
		t.Run(s.line, func(t *testing.T) {
			t.Parallel()
			g := serve(t, s.line+fmt.Sprintf(runningConfig, i.url, audience)+publicRule+
				"  - {name: nobody, match: {paths: [/nobody/**]}, access: deny}\n")
			g.awaitReady(t)
			f := newFront(t, g.grpc)
			for _, c := range s.cases {
				t.Run(c.name, func(t *testing.T) { s.check(t, f, i, c) })
			}
		})
	}
}

func (s setting) check(t *testing.T, f *front, i *issuer, c settingCase) {
	token := i.token(c.token)
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		q := request{target: c.target}
		for _, name := range []string{s.user, s.by} {
			if name != "" {
				q.headers = append(q.headers, field{name, "admin"}, field{strings.ReplaceAll(name, "-", "_"), "admin"})
			}
		}
		if c.token != "" {
			q.headers = append(q.headers, bearer(token))
		}
		r, seen := f.send(t, p, v, q)
		if c.status != 0 {
			refused(t, q, r, seen, c.status)
			return
		}
		if r.status != 200 || seen == nil {
			t.Fatalf("%s: status %d %s", brief(q), r.status, r.body)
		}
		want := map[string][]string{}
		if c.user != "" {
			want[s.user], want["x-auth-by"] = []string{c.user}, []string{"lab"}
		}
		if c.kept {
			want["authorization"] = []string{"Bearer " + token}
		}
		for _, name := range []string{s.user, s.by, "authorization"} {
			if got := seen.values(name); name != "" && !slices.Equal(got, want[name]) {
				t.Errorf("%s: upstream was told %s %q, want %q", brief(q), name, got, want[name])
			}
		}
	})
}
