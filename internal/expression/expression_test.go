package expression

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
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

func TestCompileRefuses(t *testing.T) {
	for _, text := range []string{"", "1 +", `"text"`, "42", "unknown.x", "request.method = 1", strings.Repeat("true && ", 1000) + "true"} {
		if _, err := Compile(text); err == nil {
			t.Errorf("%.40q was taken", text)
		}
	}
}
