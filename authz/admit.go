package authz

import (
	"slices"
	"time"
)

// A Condition is a compiled expression of a rule (its "when").
type Condition interface {
	// Holds says whether the expression is true of a request and the identity
	// behind it. path is the normal form that the rule was matched on. An
	// error denies.
	Holds(q *Request, path string, id *Identity) (bool, error)
}

// admits says whether an identity may make a request under the rule: Allowed
// and ReasonVerified, or why not.
func (c *compiledRule) admits(q *Request, host, path string, id *Identity, now time.Time) (Outcome, Reason) {
	a := &c.Allow
	switch {
	case len(a.Sources) > 0 && !within(q.Source, a.Sources):
		return Forbidden, ReasonSourceNotAllowed
	case len(a.Users) > 0 && !slices.Contains(a.Users, id.User):
		return Forbidden, ReasonUserNotAllowed
	case len(a.Clients) > 0 && !slices.Contains(a.Clients, id.Client):
		return Forbidden, ReasonClientNotAllowed
	case len(a.Roles) > 0 && !intersect(a.Roles, id.Roles):
		return Forbidden, ReasonGroupNotAllowed
	case len(a.Groups) > 0 && !intersect(a.Groups, id.Groups):
		if id.GroupsUnknown {
			return Undecided, ReasonGroupsUnknown
		}
		return Forbidden, ReasonGroupNotAllowed
	case len(a.Scopes) > 0 && !intersect(a.Scopes, id.Scopes):
		return Forbidden, ReasonScope
	case len(a.ACR) > 0 && !slices.Contains(a.ACR, id.ACR),
		a.MaxAge > 0 && (id.AuthTime.IsZero() || now.Sub(id.AuthTime) > a.MaxAge):
		return Unauthenticated, ReasonStepUp
	}
	if len(c.ReadOnlyGroups) > 0 && !c.preset.reads(q, path) {
		if intersect(c.ReadOnlyGroups, id.Groups) {
			return Forbidden, ReasonReadOnly
		}
		if id.GroupsUnknown {
			return Undecided, ReasonGroupsUnknown
		}
	}
	if id.Limits != nil {
		if reason := id.Limits.refuse(q, host, path, c.preset); reason != NoReason {
			return Forbidden, reason
		}
	}
	if c.condition != nil {
		// A copy, so that only requests under an expression are moved to the heap.
		copied := *q
		if yes, err := c.condition.Holds(&copied, path, id); err != nil || !yes {
			return Forbidden, ReasonExpression
		}
	}
	return Allowed, ReasonVerified
}

// refuse says why an API token may not be used for a request, or NoReason.
func (l *Limits) refuse(q *Request, host, path string, p *preset) Reason {
	switch {
	case l.ReadOnly && !p.reads(q, path):
		return ReasonReadOnly
	case len(l.Sources) > 0 && !within(q.Source, l.Sources):
		return ReasonSourceNotAllowed
	case len(l.Hosts) > 0 && !slices.ContainsFunc(l.Hosts, func(p string) bool { return matchHost(p, host) }):
		return ReasonScope
	case len(l.Paths) > 0 && !slices.ContainsFunc(l.Paths, func(p string) bool { return matchPath(p, path) }):
		return ReasonScope
	}
	return NoReason
}

func intersect(wanted, have []string) bool {
	for _, w := range wanted {
		if slices.Contains(have, w) {
			return true
		}
	}
	return false
}
