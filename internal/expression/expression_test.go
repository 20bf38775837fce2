package expression

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
)

func TestHolds(t *testing.T) {
	q := &authz.Request{Method: "POST", Host: "api.example.com", Headers: []authz.Header{
		{Name: "x-team", Value: "a"}, {Name: "x-team", Value: "b"}, {Name: "authorization", Value: "Bearer secret"},
	}}
	id := &authz.Identity{
		User: "alice", Email: "alice@example.com", Groups: []string{"eng"},
		Attributes: map[string]any{"department": "finance", "level": float64(3), "nested": map[string]any{"x": []any{"y"}}},
	}
	for text, want := range map[string]string{
		`identity.email.endsWith("@example.com")`:              "true",
		`"eng" in identity.groups && request.method == "POST"`: "true",
		`identity.attributes.department == "finance"`:          "true",
		`identity.attributes.level >= 3.0`:                     "true",
		`identity.attributes.nested.x[0] == "y"`:               "true",
		`identity.app`:                                         "false",
		`size(request.headers["x-team"]) == 2`:                 "true",
		`"authorization" in request.headers`:                   "false",
		`identity.attributes.missing == "x"`:                   "error",
		`identity.user`:                                        "error",
		`request.path.matches("^/rest/")`:                      "true",
		`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a+b+c+d > 0))))`: "error",
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		yes, err := c.Holds(q, "/rest/x", id)
		got := map[bool]string{true: "true", false: "false"}[yes]
		if err != nil {
			got = "error"
			if yes {
				t.Errorf("%s: true with an error", text)
			}
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", text, got, err, want)
		}
	}
}

// TestUnknownGroups: nothing that hangs on groups is true or false while they
// are not all known.
func TestUnknownGroups(t *testing.T) {
	id := &authz.Identity{User: "alice", Groups: []string{"eng"}, GroupsUnknown: true}
	for text, want := range map[string]bool{
		`!("banned" in identity.groups)`:                            false,
		`size(identity.groups) < 5`:                                 false,
		`identity.user == "alice" || "eng" in identity.groups`:      true,
		`identity.user == "alice" && !("x" in identity.groups)`:     false,
		`identity.groups.all(g, g != "banned")`:                     false,
		`!("banned" in identity.groups) || "eng" in identity.roles`: false,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if yes, err := c.Holds(&authz.Request{}, "/", id); yes != want || !want && err == nil {
			t.Errorf("%s: %v %v", text, yes, err)
		}
	}
}

// TestCallersDoNotMakeItSlow evaluates what an operator might write on the most
// that a caller can send: it ends soon, with an answer or without.
func TestCallersDoNotMakeItSlow(t *testing.T) {
	path := "/" + strings.Repeat("a/", 4000)
	q := &authz.Request{Method: "GET", Path: path}
	for i := range 90 {
		q.Headers = append(q.Headers, authz.Header{Name: fmt.Sprintf("x-%d", i%9), Value: strings.Repeat("ab,", 200)})
	}
	q.Headers = append(q.Headers, authz.Header{Name: "x-long", Value: strings.Repeat("a", 60_000)})
	id := &authz.Identity{User: "u", Attributes: map[string]any{"deep": deep(1000)}}
	for i := range 1000 {
		id.Groups = append(id.Groups, fmt.Sprint("group", i))
	}
	for _, text := range []string{
		`request.path.split("").map(x, request.path.split("")).size() > 0`,
		`request.path.split("/").map(x, request.headers["x-long"][0].upperAscii()).size() > 0`,
		`request.path.replace("", "0123456789").replace("", "0123456789").replace("", "0123456789").size() > 0`,
		`request.path.matches("^(a?/?){900}$")`,
		`request.headers["x-long"][0].matches("(a*)*(a*)*b")`,
		`request.path.split("").join("0123456789").size() > 0`,
		`identity.groups.all(g, identity.groups.exists(h, h == g))`,
		`identity.groups.all(g, request.headers["x-0"].exists(h, h.contains(g)))`,
		`identity.groups.all(g, request.headers["x-long"][0].contains(g))`,
		`identity.groups.distinct().size() > 0 && identity.groups.sort().size() > 0`,
		`sets.contains(identity.groups, request.path.split("/"))`,
		`request.headers.all(n, request.headers[n].all(v, v.split(",").all(p, p.size() < 3)))`,
		`identity == identity`,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		// Without the limit of their cost some of these take minutes.
		if took := realtest.CPU(func() { _, _ = c.Holds(q, path, id) }); took > time.Second {
			t.Errorf("%s: took %v", text, took)
		}
	}
}

func deep(n int) any {
	var v any = "end"
	for range n {
		v = map[string]any{"x": v}
	}
	return v
}

// TestFaultsTellWhere: an operator has only the message to go by.
func TestFaultsTellWhere(t *testing.T) {
	for text, want := range map[string]string{
		`identity.user ==`:                                "line 1, column 17: ",
		"true &&\n  nobody.user == \"x\"":                 "line 2, column 3: undeclared reference to 'nobody'",
		`identity.user.matches(request.headers["re"][0])`: "line 1, column 44: matches wants",
		`matches(identity.user, identity.email)`:          "line 1, column 32: matches wants",
		`request.path.replace("", identity.user) == "x"`:  "line 1, column 34: replace wants",
		`identity.groups.join(request.path) == "x"`:       "line 1, column 29: join wants",
		`identity.user.format([request.path]) == "x"`:     "line 1, column 9: format wants",
		`identity.groups.all(g, request.path.matches(g))`: "line 1, column 45: matches wants",
		`lists.range(size(identity.groups)) == [1]`:       "lists.range wants",
		`identity.user.lowerASCII() == "x"`:               "undeclared reference to 'lowerASCII'",
		`identity.user.startsWith(1)`:                     "no matching overload",
	} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "<input>") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, text := range []string{"", "1 +", `"text"`, "42", "unknown.x", "request.method = 1", strings.Repeat("true && ", 1000) + "true"} {
		if _, err := Compile(text); err == nil {
			t.Errorf("%.40q was taken", text)
		}
	}
}
