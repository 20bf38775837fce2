package providers

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
)

// TestUsername: which attribute is the username, and which is none.
func TestUsername(t *testing.T) {
	attrs := map[string]any{
		"preferred_username": "alice", "email": "Alice@Example.com", "two": "a@b@c", "number": int64(7), "yes": true, "empty": "", "none": nil,
		"list": []any{"first", "second"}, "realm_access": map[string]any{"roles": []any{"reader"}}, "a.b": "dotted", "a/b": map[string]any{"c~d": "pointed"},
		"https://slack.com/user_id": "U1", "edge": " alice", "lines": "al\r\nice", "nul": "al\x00ice", "long": strings.Repeat("a", 257),
		"full": strings.Repeat("a", 256), "kelvin": "\u212aate", "dotted_i": "ADM\u0130N", "umlaut": "J\u00dcRGEN", "c1": "al\u0085ice",
		"bidi": "alice\u202e", "joiner": "al\u200bice", "filler": "alice\u3164", "grapheme": "al\u034fice", "private": "al\ue000ice", "broken": "al\xffice",
		"sub": "user-1",
	}
	for name, c := range map[string]struct {
		paths, transform []string
		want             string // "": refused
	}{
		"name":                      {[]string{"preferred_username"}, nil, "alice"},
		"first that is there":       {[]string{"upn", "none", "empty", "preferred_username", "sub"}, nil, "alice"},
		"none is there":             {[]string{"upn", "empty"}, nil, ""},
		"dots":                      {[]string{"realm_access.roles.0"}, nil, "reader"},
		"position":                  {[]string{"list.1"}, nil, "second"},
		"position beyond":           {[]string{"list.2"}, nil, ""},
		"position with a zero":      {[]string{"list.01"}, nil, ""},
		"position below":            {[]string{"list.-1"}, nil, ""},
		"a name with dots":          {[]string{"a.b"}, nil, "dotted"},
		"a name that is a URL":      {[]string{"https://slack.com/user_id"}, nil, "U1"},
		"pointer":                   {[]string{"/realm_access/roles/0"}, nil, "reader"},
		"pointer with escapes":      {[]string{"/a~1b/c~0d"}, nil, "pointed"},
		"list":                      {[]string{"list", "sub"}, nil, ""},
		"object":                    {[]string{"realm_access", "sub"}, nil, ""},
		"number":                    {[]string{"number", "sub"}, nil, ""},
		"true":                      {[]string{"yes", "sub"}, nil, ""},
		"lowercase":                 {[]string{"email"}, []string{"lowercase"}, "alice@example.com"},
		"strip_domain":              {[]string{"email"}, []string{"strip_domain"}, "Alice"},
		"both":                      {[]string{"email"}, []string{"strip_domain", "lowercase"}, "alice"},
		"strip_domain, no domain":   {[]string{"preferred_username"}, []string{"strip_domain"}, "alice"},
		"strip_domain, two":         {[]string{"two"}, []string{"strip_domain"}, ""},
		"expression":                {[]string{"email"}, []string{`(\w+)@Example\.com`}, "Alice"},
		"expression, not whole":     {[]string{"email"}, []string{`(\w+)@Example`}, ""},
		"expression, alternatives":  {[]string{"email"}, []string{`(\w+)@other\.com|x`}, ""},
		"expression, empty":         {[]string{"email"}, []string{`.*()`}, ""},
		"space at the edge":         {[]string{"edge"}, nil, ""},
		"line break":                {[]string{"lines"}, nil, ""},
		"NUL":                       {[]string{"nul"}, nil, ""},
		"C1":                        {[]string{"c1"}, nil, ""},
		"bidi":                      {[]string{"bidi"}, nil, ""},
		"zero width":                {[]string{"joiner"}, nil, ""},
		"a letter that is not seen": {[]string{"filler"}, nil, ""},
		"a mark that is not seen":   {[]string{"grapheme"}, nil, ""},
		"private use":               {[]string{"private"}, nil, ""},
		"not UTF-8":                 {[]string{"broken"}, nil, ""},
		"257 bytes":                 {[]string{"long"}, nil, ""},
		"256 bytes":                 {[]string{"full"}, nil, strings.Repeat("a", 256)},
		"beyond ASCII, lowercase":   {[]string{"umlaut"}, []string{"lowercase"}, "j\u00fcrgen"},
		"Kelvin sign, lowercase":    {[]string{"kelvin"}, []string{"lowercase"}, ""}, // would be kate
		"dotted I, lowercase":       {[]string{"dotted_i"}, []string{"lowercase"}, ""},
		"Kelvin sign":               {[]string{"kelvin"}, nil, "\u212aate"},
	} {
		t.Run(name, func(t *testing.T) {
			m, faults := newMapper(Config{Username: c.paths, Transform: c.transform}, "https://sso.example.com")
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			id, err := m.identity(attrs, false, "app")
			if c.want == "" {
				if reasonOf(err) != authz.ReasonUsername {
					t.Errorf("%q %v", id.User, err)
				}
				return
			}
			// The stable key is beside the name, whatever that is made of.
			if err != nil || id.User != c.want || id.Subject != "user-1" || id.Issuer != "https://sso.example.com" {
				t.Errorf("%q %q %v, want %q", id.User, id.Subject, err, c.want)
			}
		})
	}
}

// TestUnverifiedEmail: an address that the provider does not vouch for is neither
// a name nor shown to the upstream.
func TestUnverifiedEmail(t *testing.T) {
	m, _ := newMapper(Config{Username: []string{"email", "sub"}}, "x")
	for name, c := range map[string]struct {
		told any // email_verified; nil: not told
		user string
	}{
		"not told": {nil, "alice@example.com"}, "yes": {true, "alice@example.com"}, "yes, as text": {"true", "alice@example.com"},
		"no": {false, "user-1"}, "no, as text": {"false", "user-1"}, "strange": {int64(1), "user-1"},
	} {
		attrs := map[string]any{"email": "alice@example.com", "sub": "user-1"}
		if c.told != nil {
			attrs["email_verified"] = c.told
		}
		id, err := m.identity(attrs, false, "")
		if err != nil || id.User != c.user || (id.Email != "") != (c.user != "user-1") {
			t.Errorf("%s: %q %q %v", name, id.User, id.Email, err)
		}
	}
}

// TestServiceAccounts: an app goes by the name that it was given, and by no
// attribute of its token.
func TestServiceAccounts(t *testing.T) {
	m, faults := newMapper(Config{Username: []string{"name"}, Accounts: map[string]string{"batch": "robot"}, Transform: []string{"lowercase"}}, "x")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	attrs := map[string]any{"name": "alice", "sub": "batch"}
	if id, err := m.identity(attrs, true, "batch"); err != nil || id.User != "robot" || !id.App || id.Subject != "batch" {
		t.Errorf("%+v %v", id, err)
	}
	for _, client := range []string{"Batch", "other", ""} {
		if id, err := m.identity(attrs, true, client); reasonOf(err) != authz.ReasonAppOnly {
			t.Errorf("client %q is %q, %v", client, id.User, err)
		}
	}
}

func TestMappingFaults(t *testing.T) {
	for name, c := range map[string]struct {
		c   Config
		key string
	}{
		"empty path":    {Config{Username: []string{""}}, "username[0]"},
		"space":         {Config{Email: []string{"mail", " mail"}}, "email[1]"},
		"no group":      {Config{Transform: []string{"lowercase", `\w+`}}, "transform[1]"},
		"two groups":    {Config{Transform: []string{`(a)(b)`}}, "transform[0]"},
		"no expression": {Config{Transform: []string{`(`}}, "transform[0]"},
		"misspelt":      {Config{Transform: []string{"lower"}}, "transform[0]"},
		"account":       {Config{Accounts: map[string]string{"batch": "ro\nbot"}}, "service_accounts.batch"},
	} {
		if _, faults := newMapper(c.c, ""); len(faults) != 1 || faults[0].Key != c.key {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
