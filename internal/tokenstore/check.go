package tokenstore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/authz"
)

// The signs that a field may hold beside letters, digits and inner spaces, and
// an apostrophe between letters. Quotes, semicolons and the like are in none:
// nothing that a token is called needs them, and what lists, logs, headers and
// other people's programs make of them is not ours to know. A user and a group
// have no comma: to an upstream, that would be two.
const (
	userSigns  = `._-@+/\:()#&!^~`
	textSigns  = userSigns + `,?%`
	groupSigns = userSigns
	pathSigns  = `/._-~!&()*+,=:@$`
	hostSigns  = `.-_*:[]`
)

// check refuses a record that must not be stored. The store trusts it: nothing
// else looks at these fields again before they are sent to an upstream.
func (r *Record) check() error {
	for _, f := range []struct {
		field, value string
		most         int
		need         bool
		signs        string
	}{
		{"user", r.Owner, maxUser, true, userSigns},
		{"name", r.Name, maxName, true, textSigns},
		{"description", r.Description, maxDescription, false, textSigns},
		{"created_by", r.CreatedBy, 2 * maxUser, true, ""},
	} {
		if f.value == "" && !f.need {
			continue
		}
		if err := checkText(f.field, f.value, f.most, f.signs); err != nil {
			return err
		}
	}
	l := &r.Limits
	for _, f := range []struct {
		field string
		list  []string
		signs string
	}{{"groups", r.Groups, groupSigns}, {"hosts", l.Hosts, hostSigns}, {"paths", l.Paths, pathSigns}} {
		if len(f.list) > maxList {
			return invalid("%s: %d entries, at most %d are kept", f.field, len(f.list), maxList)
		}
		for i, s := range f.list {
			if err := checkText(fmt.Sprintf("%s[%d]", f.field, i), s, maxUser, f.signs); err != nil {
				return err
			}
		}
	}
	if len(l.Sources) > maxList {
		return invalid("sources: %d entries, at most %d are kept", len(l.Sources), maxList)
	}
	rule := authz.Rule{Match: authz.Match{Hosts: l.Hosts, Paths: l.Paths}}
	for _, f := range rule.Faults() {
		return invalid("%s: %s", strings.TrimPrefix(f.Key, "match."), f.Problem)
	}
	return nil
}

// checkText refuses text that would read differently from what it is: control
// and format characters, space at the edges, bytes that are not UTF-8, and signs
// that are not among the given ones; "" stands for any. The value itself is not
// shown: it may be long, and it may hold anything.
func checkText(field, s string, most int, signs string) error {
	switch {
	case s == "":
		return invalid("%s: must not be empty", field)
	case len(s) > most:
		return invalid("%s: %d bytes, at most %d are kept", field, len(s), most)
	case !utf8.ValidString(s):
		return invalid("%s: is not UTF-8 text", field)
	case strings.TrimSpace(s) != s:
		return invalid("%s: must not begin or end with white space", field)
	case strings.ContainsFunc(s, unprintable):
		return invalid("%s: holds a control, format or unassigned character", field)
	case looksSecret(s):
		return invalid("%s: holds what looks like an API token", field)
	}
	if sign, ok := strange(s, signs); ok && signs != "" {
		return invalid("%s: holds %q; letters, digits, spaces and %s are taken, and an apostrophe between letters", field, sign, signs)
	}
	return nil
}

func unprintable(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }

// strange returns the first character of a text that is no letter, digit,
// space or one of the signs.
func strange(s, signs string) (rune, bool) {
	before := rune(0)
	for i, r := range s {
		switch {
		case unicode.In(r, unicode.L, unicode.M, unicode.N), r == ' ', strings.ContainsRune(signs, r):
		case r == '\'' && unicode.IsLetter(before) && unicode.IsLetter(next(s[i+1:])):
		default:
			return r, true
		}
		before = r
	}
	return 0, false
}

func next(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// looksSecret keeps a token that was pasted into the wrong field out of lists
// and logs.
func looksSecret(s string) bool {
	for {
		at := strings.Index(s, Prefix)
		if at < 0 {
			return false
		}
		if s = s[at:]; len(s) >= tokenLength && Valid(s[:tokenLength]) {
			return true
		}
		s = s[len(Prefix):]
	}
}
