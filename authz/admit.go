package authz

import (
	"fmt"
	"math/bits"
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

// An ask is one thing that a rule can ask of a caller, in the order in which
// they are asked.
type ask uint8

const (
	askSources ask = iota
	askUsers
	askClients
	askRoles
	askGroups
	askScopes
	askACR
	askMaxAge
	askReadOnlyGroups
	askLimits // of an API token, whatever the rule
	askWhen
)

// askKeys are the keys of a rule that ask.
var askKeys = [...]string{
	"allow.sources", "allow.users", "allow.clients", "allow.roles", "allow.groups", "allow.scopes", "allow.acr",
	"allow.max_age", "read_only_groups", "limits of the API token", "when",
}

// asked returns what the rule asks, as a set of bits.
func (c *compiledRule) asked() (set uint16) {
	a := &c.Allow
	for k, given := range [...]bool{
		askSources: len(a.Sources) > 0, askUsers: len(a.Users) > 0, askClients: len(a.Clients) > 0, askRoles: len(a.Roles) > 0,
		askGroups: len(a.Groups) > 0, askScopes: len(a.Scopes) > 0, askACR: len(a.ACR) > 0, askMaxAge: a.MaxAge > 0,
		askReadOnlyGroups: len(c.ReadOnlyGroups) > 0, askWhen: c.condition != nil,
	} {
		if given {
			set |= 1 << k
		}
	}
	return set
}

// An applicant is an identity with what it goes for. The request itself goes
// beside it: in one struct with what an expression is shown, it would be moved
// to the heap for every decision.
type applicant struct {
	*Identity
	host, path string // in normal form
	now        time.Time
}

// admits says whether an identity may make a request under the rule: Allowed
// and ReasonVerified, or why not. With steps, all that is asked is looked at
// and told; else the first refusal ends it.
func (c *compiledRule) admits(q *Request, who *applicant, steps *Steps) (Outcome, Reason) {
	outcome, reason := Allowed, ReasonVerified
	asks := c.asks
	if who.Limits != nil {
		asks |= 1 << askLimits
	}
	for ; asks != 0; asks &= asks - 1 {
		k := ask(bits.TrailingZeros16(asks))
		o, r := c.ask(k, q, who)
		if steps != nil {
			steps.add(askKeys[k], stepOutcome(o), c.tell(k, q, who, r))
		}
		if o != Allowed && outcome == Allowed {
			outcome, reason = o, r
			if steps == nil {
				break
			}
		}
	}
	return outcome, reason
}

// ask asks one thing.
func (c *compiledRule) ask(k ask, q *Request, who *applicant) (Outcome, Reason) {
	a := &c.Allow
	ok, reason := true, NoReason
	switch k {
	case askSources:
		ok, reason = within(q.Source, a.Sources), ReasonSourceNotAllowed
	case askUsers:
		ok, reason = slices.Contains(a.Users, who.User), ReasonUserNotAllowed
	case askClients:
		ok, reason = slices.Contains(a.Clients, who.Client), ReasonClientNotAllowed
	case askRoles:
		ok, reason = intersect(a.Roles, who.Roles), ReasonGroupNotAllowed
	case askGroups:
		ok, reason = intersect(a.Groups, who.Groups), ReasonGroupNotAllowed
		if !ok && who.GroupsUnknown {
			return Undecided, ReasonGroupsUnknown
		}
	case askScopes:
		ok, reason = intersect(a.Scopes, who.Scopes), ReasonScope
	case askACR:
		if !slices.Contains(a.ACR, who.ACR) {
			return Unauthenticated, ReasonStepUp
		}
	case askMaxAge:
		if who.AuthTime.IsZero() || who.now.Sub(who.AuthTime) > a.MaxAge {
			return Unauthenticated, ReasonStepUp
		}
	case askReadOnlyGroups:
		return c.askReadOnly(q, who)
	case askLimits:
		reason = who.Limits.refuse(q, who.host, who.path, c.preset)
		ok = reason == NoReason
	case askWhen:
		// A copy, so that only requests under an expression are moved to the heap.
		copied := *q
		yes, err := c.condition.Holds(&copied, who.path, who.Identity)
		if err != nil && who.GroupsUnknown {
			return Undecided, ReasonGroupsUnknown // the groups may be what it lacked
		}
		ok, reason = yes && err == nil, ReasonExpression
	}
	if !ok {
		return Forbidden, reason
	}
	return Allowed, ReasonVerified
}

func (c *compiledRule) askReadOnly(q *Request, who *applicant) (Outcome, Reason) {
	switch {
	case c.preset.reads(q, who.path):
		return Allowed, ReasonVerified
	case intersect(c.ReadOnlyGroups, who.Groups):
		return Forbidden, ReasonReadOnly
	case who.GroupsUnknown:
		return Undecided, ReasonGroupsUnknown
	}
	return Allowed, ReasonVerified
}

// tell says what was wanted and what there was, for people.
func (c *compiledRule) tell(k ask, q *Request, who *applicant, reason Reason) string {
	a := &c.Allow
	wants := func(wanted, have []string) string {
		return fmt.Sprintf("wants one of %q, has %q", wanted, have)
	}
	switch k {
	case askSources:
		return fmt.Sprintf("wants one of %v, comes from %v", a.Sources, q.Source)
	case askUsers:
		return wants(a.Users, []string{who.User})
	case askClients:
		return wants(a.Clients, []string{who.Client})
	case askRoles:
		return wants(a.Roles, who.Roles)
	case askGroups:
		if who.GroupsUnknown {
			return fmt.Sprintf("wants one of %q, and the provider did not tell all groups", a.Groups)
		}
		return wants(a.Groups, who.Groups)
	case askScopes:
		return wants(a.Scopes, who.Scopes)
	case askACR:
		return wants(a.ACR, []string{who.ACR})
	case askMaxAge:
		if who.AuthTime.IsZero() {
			return fmt.Sprintf("wants a login within %v, and the provider does not tell when it was", a.MaxAge)
		}
		return fmt.Sprintf("wants a login within %v, it was %v ago", a.MaxAge, who.now.Sub(who.AuthTime))
	case askReadOnlyGroups:
		return fmt.Sprintf("%q may only read, is in %q; %s", c.ReadOnlyGroups, who.Groups, q.Method)
	case askWhen:
		return c.When
	}
	return reason.String()
}

func stepOutcome(o Outcome) string {
	if o == Allowed {
		return StepOK
	}
	return StepFailed
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
