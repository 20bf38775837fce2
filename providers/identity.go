package providers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/authz"
)

// mapper turns the attributes of a provider's answer into an identity, by the
// configured paths.
type mapper struct {
	username   []string
	transforms []transform
	email      []string
	groups     []string
	roles      []string
	accounts   map[string]string
	issuer     string
	issuers    []string // of which an answer names one; empty: it is always issuer

	// subject is the stable key of the user or app; nil: sub.
	subject func(attrs map[string]any) string
}

// transform changes a username; false: it cannot be.
type transform func(string) (string, bool)

// maxUsername bounds a username in bytes.
const maxUsername = 256

// newMapper makes a mapper; defaultUsername is where a username is looked for
// when the settings do not say.
func newMapper(c Config, issuer string, defaultUsername ...string) (*mapper, []authz.Fault) {
	m := &mapper{username: c.Username, email: c.Email, groups: c.Groups, roles: []string{"roles"}, accounts: c.Accounts, issuer: issuer}
	if len(m.username) == 0 {
		m.username = defaultUsername
	}
	if len(m.email) == 0 {
		m.email = []string{"email"}
	}
	if len(m.groups) == 0 {
		m.groups = []string{"groups"}
	}
	return m, append(m.compile(c.Transform), m.pathFaults()...)
}

func (m *mapper) pathFaults() (faults []authz.Fault) {
	for key, list := range map[string][]string{"username": m.username, "email": m.email, "groups": m.groups} {
		for i, p := range list {
			if problem := pathFault(p); problem != "" {
				faults = append(faults, authz.Fault{Key: fmt.Sprintf("%s[%d]", key, i), Problem: problem})
			}
		}
	}
	for client, user := range m.accounts {
		if err := checkUsername(user); err != nil {
			faults = append(faults, authz.Fault{Key: "service_accounts." + client, Problem: err.Error()})
		}
	}
	return faults
}

func (m *mapper) compile(transforms []string) (faults []authz.Fault) {
	for i, t := range transforms {
		switch t {
		case "lowercase":
			m.transforms = append(m.transforms, lowered)
		case "strip_domain":
			m.transforms = append(m.transforms, stripDomain)
		default:
			re, err := regexp.Compile(`^(?:` + t + `)$`)
			if err != nil || re.NumSubexp() != 1 {
				faults = append(faults, authz.Fault{Key: fmt.Sprintf("transform[%d]", i), Problem: fmt.Sprintf(
					"%q is neither strip_domain nor lowercase nor a regular expression with one group, as ([a-z]+)@example\\.com", t)})
				continue
			}
			m.transforms = append(m.transforms, func(s string) (string, bool) {
				match := re.FindStringSubmatch(s)
				if match == nil {
					return "", false
				}
				return match[1], true
			})
		}
	}
	return faults
}

// lowered takes alice from Alice. A letter beyond ASCII whose small form is
// within (the Kelvin sign, the dotted capital I) would make somebody another.
func lowered(s string) (string, bool) {
	for _, r := range s {
		if r > unicode.MaxASCII && unicode.ToLower(r) <= unicode.MaxASCII {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

// stripDomain takes alice from alice@example.com. A name with a second @ could
// be read in two ways and is refused.
func stripDomain(s string) (string, bool) {
	name, domain, ok := strings.Cut(s, "@")
	return name, !ok || domain != "" && !strings.Contains(domain, "@")
}

// identity makes the identity. app says that the credential has no user: it is
// then known by its client, and goes by the name that service_accounts gives it.
// The error is a rejection.
func (m *mapper) identity(attrs map[string]any, app bool, client string) (authz.Identity, error) {
	id := authz.Identity{
		Issuer: m.issuer, Client: client, App: app, Attributes: attrs,
		Subject: textAt(attrs, "sub"), TokenID: firstText(attrs, "jti", "uti"), Session: textAt(attrs, "sid"),
		ACR: textAt(attrs, "acr"), Scopes: scopes(attrs),
	}
	if i := slices.Index(m.issuers, textAt(attrs, "iss")); i >= 0 {
		id.Issuer = m.issuers[i]
	}
	if m.subject != nil {
		id.Subject = m.subject(attrs)
	}
	if t, there, err := timeOf(attrs, "iat"); there && err == nil {
		id.Issued = t
	}
	if t, ok := number(attrs["auth_time"]); ok {
		id.AuthTime = time.Unix(int64(t), 0)
	}
	for _, p := range m.groups {
		id.Groups = append(id.Groups, textsAt(attrs, p)...)
	}
	for _, p := range m.roles {
		id.Roles = append(id.Roles, textsAt(attrs, p)...)
	}
	id.Email = m.address(attrs)
	var err error
	if app {
		id.User, err = m.account(client)
	} else {
		id.User, err = m.user(attrs)
	}
	return id, err
}

// vouches returns the issuers that identities are given.
func (m *mapper) vouches() (issuers, names []string, subject func(map[string]any) string) {
	issuers = m.issuers
	if len(issuers) == 0 {
		issuers = []string{m.issuer}
	}
	return issuers, issuers, m.subject
}

func (m *mapper) account(client string) (string, error) {
	user := m.accounts[client]
	if user == "" {
		return "", authz.Reject(authz.ReasonAppOnly, "no user in the token, and service_accounts has no entry for client %q", client)
	}
	return user, nil
}

// user finds the username: the first path that has one.
func (m *mapper) user(attrs map[string]any) (string, error) {
	for _, path := range m.username {
		v, ok := attribute(attrs, path)
		if !ok || v == nil || v == "" || path == "email" && unverified(attrs) {
			continue
		}
		name, ok := v.(string)
		if !ok {
			// A number or a list could be written in several ways: which of
			// them the upstream means cannot be told.
			return "", authz.Reject(authz.ReasonUsername, "the attribute %s is not text", path)
		}
		for _, t := range m.transforms {
			if name, ok = t(name); !ok {
				return "", authz.Reject(authz.ReasonUsername, "the attribute %s does not fit the transform", path)
			}
		}
		if err := checkUsername(name); err != nil {
			return "", authz.Reject(authz.ReasonUsername, "the attribute %s %v", path, err)
		}
		return name, nil
	}
	return "", authz.Reject(authz.ReasonUsername, "none of %s is in the provider's answer", strings.Join(m.username, ", "))
}

// unverified reports whether the provider says that nobody has proven the
// address in email to be theirs: then it is no name, and not shown to be theirs.
func unverified(attrs map[string]any) bool {
	v, told := attrs["email_verified"]
	return told && v != true && v != "true"
}

// address finds the e-mail address.
func (m *mapper) address(attrs map[string]any) string {
	for _, p := range m.email {
		if v, _ := attribute(attrs, p); v != nil && !(p == "email" && unverified(attrs)) {
			if s, ok := v.(string); ok && s != "" {
				return s
			}
		}
	}
	return ""
}

// checkUsername says why a name cannot be a username: whatever shows in two
// ways, or not at all, could be taken for somebody else's.
func checkUsername(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("is empty")
	case len(name) > maxUsername:
		return fmt.Errorf("has more than %d bytes", maxUsername)
	case !utf8.ValidString(name):
		return fmt.Errorf("is not UTF-8")
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("has white space at its edges")
	case strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs, unicode.Other_Default_Ignorable_Code_Point) || r == utf8.RuneError
	}):
		return fmt.Errorf("has control or invisible characters")
	}
	return nil
}

func firstText(attrs map[string]any, names ...string) string {
	for _, n := range names {
		if s := textAt(attrs, n); s != "" {
			return s
		}
	}
	return ""
}

// scopes reads scope (RFC 8693, RFC 9068) or scp (Entra, Okta).
func scopes(attrs map[string]any) []string {
	if s := wordsAt(attrs, "scope"); len(s) > 0 {
		return s
	}
	return wordsAt(attrs, "scp")
}
