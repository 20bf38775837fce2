package trial

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatelodge/gatelodge/authz"
)

// A Source tells what it knows of a credential: a providers.Provider.
type Source interface {
	Attributes(ctx context.Context, c authz.Credential) (map[string]any, error)
}

// Attributes are a provider's answer about a credential, and which of it looks
// like a username. Their JSON is kept stable.
type Attributes struct {
	Response   map[string]any `json:"response"`
	Candidates []Candidate    `json:"candidates"` // the likeliest first
}

// A Candidate is an attribute that could be the username.
type Candidate struct {
	Attribute string `json:"attribute"` // the path that `username` takes
	Value     string `json:"value"`
}

// Ask asks a provider about a credential. While it cannot tell, it is asked
// again until ready says that waiting will not change that, or ctx ends.
func Ask(ctx context.Context, s Source, c authz.Credential, ready func() bool) (Attributes, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		settled := ready()
		response, err := s.Attributes(ctx, c)
		if err == nil {
			return Attributes{response, Candidates(response)}, nil
		}
		if settled || errors.Is(err, authz.ErrRejected) {
			return Attributes{}, err
		}
		select {
		case <-ctx.Done():
			return Attributes{}, err
		case <-tick.C:
		}
	}
}

// names are the attributes that providers put usernames in, and how likely
// each is the one that is meant: what a person types to sign in first, what
// never changes but nobody knows last.
var names = map[string]int{
	"preferred_username": 100,
	"userPrincipalName":  95,
	"username":           90,
	"upn":                85,
	"cognito:username":   85,
	"login":              80,
	"user_name":          75,
	"unique_name":        70,
	"nickname":           60,
	"user":               60,
	"uid":                55,
	"email":              50,
	"mail":               50,
	"samAccountName":     50,
	"name":               20,
	"sub":                15,
	"oid":                10,
	"id":                 10,
	"user_id":            10,
}

// notNames are attributes that are never a username, whatever they look like.
var notNames = map[string]bool{
	"iss": true, "aud": true, "typ": true, "token_type": true, "scope": true, "scp": true, "jti": true, "uti": true,
	"acr": true, "azp": true, "appid": true, "client_id": true, "cid": true, "sid": true, "session_state": true,
	"nonce": true, "at_hash": true, "email_verified": true, "ver": true, "tid": true, "token_use": true, "idp": true, "ipaddr": true,
	"locale": true, "zoneinfo": true, "picture": true, "profile": true, "website": true, "url": true, "node_id": true,
}

// Candidates returns the attributes that could be a username, the likeliest
// first: by their name, and how like a username their value looks.
func Candidates(response map[string]any) []Candidate {
	type ranked struct {
		Candidate
		rank int
	}
	found := []ranked{}
	walk(nil, response, func(path []string, value string) {
		if path[len(path)-1] == "email" && unverified(response) {
			return // anybody may have typed it
		}
		if rank := rank(path, value); rank > 0 {
			found = append(found, ranked{Candidate{writePath(path), value}, rank})
		}
	})
	slices.SortStableFunc(found, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), strings.Compare(a.Attribute, b.Attribute))
	})
	list := make([]Candidate, len(found))
	for i, f := range found {
		list[i] = f.Candidate
	}
	return list
}

// unverified reports whether the provider says that it did not check the
// e-mail address. Some say so in a string.
func unverified(response map[string]any) bool {
	v := response["email_verified"]
	return v == false || v == "false"
}

// maxDepth bounds how deep an answer is looked through: names stand near its
// top.
const maxDepth = 4

// walk tells every string of an answer with its path.
func walk(path []string, v any, tell func(path []string, value string)) {
	if len(path) > maxDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walk(append(slices.Clip(path), key), v[key], tell)
		}
	case []any:
		for i, w := range v {
			walk(append(slices.Clip(path), strconv.Itoa(i)), w, tell)
		}
	case string:
		tell(path, v)
	}
}

// rank says how likely an attribute is the username; zero: not at all.
func rank(path []string, value string) int {
	name := path[len(path)-1]
	if notNames[name] || value == "" || len(value) > 256 || strings.Contains(value, "://") ||
		strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return 0
	}
	rank, known := names[name]
	if !known {
		if len(path) > 1 || !looksLikeName(value) {
			return 0 // members of lists and of unknown objects: roles, groups, addresses
		}
		rank = 5
	}
	if len(path) > 1 {
		rank -= 3 // of two alike, the one at the top
	}
	if strings.ContainsFunc(value, unicode.IsSpace) {
		rank /= 2 // a name for showing
	}
	return max(rank, 1)
}

// looksLikeName reports whether a value of an unknown attribute could be what
// somebody signs in with.
func looksLikeName(value string) bool {
	if len(value) < 2 || len(value) > 64 || strings.ContainsFunc(value, unicode.IsSpace) {
		return false
	}
	letters, digits := 0, 0
	for _, r := range value {
		switch {
		case unicode.IsLetter(r):
			letters++
		case unicode.IsDigit(r):
			digits++
		case !strings.ContainsRune("@._-+\\", r):
			return false
		}
	}
	return letters > 0 && digits <= letters
}

// writePath writes a path as `username` reads it: with dots, or as a JSON
// pointer (RFC 6901) where a name has a dot or a slash of its own.
func writePath(path []string) string {
	plain := !slices.ContainsFunc(path, func(s string) bool { return s == "" || strings.ContainsAny(s, "./~") })
	if plain {
		return strings.Join(path, ".")
	}
	var b strings.Builder
	for _, s := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
	}
	return b.String()
}
