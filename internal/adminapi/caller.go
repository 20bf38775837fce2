package adminapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// role is what a caller may do; more with each.
type role uint8

const (
	self    role = iota // sees and changes their own tokens
	auditor             // sees everything, changes nothing
	admin               // does everything
)

// caller is who is asking.
type caller struct {
	role   role
	user   string // "" for the admin token, which is nobody's
	groups []string
	actor  string // how the audit record names them
}

// owner is whose tokens the caller may see; "": everybody's.
func (c *caller) owner() string {
	if c.role == self {
		return c.user
	}
	return ""
}

// caller finds out who is asking: by the admin token, or as the gate does for
// every request that it decides.
func (a *api) caller(r *http.Request) (*caller, error) {
	access := a.Access()
	if isAdminToken(r, access.Token) {
		return &caller{role: admin, actor: "admin token"}, nil
	}
	d := a.Login(r.Context(), requestOf(r))
	switch {
	case d.Outcome == authz.Undecided:
		return nil, &unavailable{after: d.RetryAfter}
	case d.Outcome == authz.Malformed:
		return nil, bad("the Authorization header cannot be read as one credential")
	case d.Outcome != authz.Allowed || d.Identity == nil || d.Identity.User == "":
		a.Log.Warn("admin API: refused", "reason", d.Reason.String(), "provider", d.Provider, "detail", d.Detail, "decision", d.ID.String(), "source", r.RemoteAddr)
		return nil, errUnknownCaller
	}
	who := &caller{user: d.Identity.User, groups: d.Identity.Groups, actor: d.Identity.User + " (" + d.Provider + ")"}
	switch {
	case slices.Contains(access.Admins, who.user):
		who.role = admin
	case slices.Contains(access.Auditors, who.user):
		who.role = auditor
	}
	return who, nil
}

// isAdminToken compares hashes: neither the time it takes nor the length tells
// anything of the token.
func isAdminToken(r *http.Request, token authz.Secret) bool {
	lines := r.Header["Authorization"]
	if token.IsZero() || len(lines) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(lines[0], " ")
	want, got := sha256.Sum256([]byte(token.Reveal())), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && strings.EqualFold(scheme, "bearer")
}

// requestOf is what the gate is told of a request. Only the credential is
// looked at; all lines of it are passed, so that two are refused as they are
// there.
func requestOf(r *http.Request) authz.Request {
	q := authz.Request{Method: r.Method, Host: r.Host, Path: "/", Scheme: "https"}
	for _, line := range r.Header["Authorization"] {
		q.Headers = append(q.Headers, authz.Header{Name: "authorization", Value: line})
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		q.Source, _ = netip.ParseAddr(host) // not an address: on a unix socket
	}
	return q
}

// mayCreate says whether a caller may have tokens made for a user with groups.
// Nobody gets more by their token than they have.
func (c *caller) mayCreate(access Access, user string, groups []string) error {
	if c.role == admin {
		return nil
	}
	if err := c.mayHave(access); err != nil {
		return err
	}
	if user != c.user {
		return denied("you make tokens for yourself alone")
	}
	for _, g := range groups {
		if !slices.Contains(c.groups, g) {
			return denied("groups: you are not in all of them")
		}
	}
	return nil
}

// mayHave says whether a caller may have secrets made at all.
func (c *caller) mayHave(access Access) error {
	switch {
	case c.role == admin:
		return nil
	case access.AdminsOnly:
		return denied("only admins make tokens here (setting admins_only)")
	case len(access.Creators) > 0 && !slices.ContainsFunc(access.Creators, func(g string) bool { return slices.Contains(c.groups, g) }):
		return denied("you are in none of the groups that make tokens (setting creator_groups)")
	}
	return nil
}
