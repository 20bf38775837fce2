package authz

import (
	"time"
)

// A verdict is what a request stands under: its rule and, where its path can
// be read in several ways, the rules of the other readings.
type verdict struct {
	rule     *compiledRule
	others   []*compiledRule
	host     string
	path     string
	readings []string // further ones of an ambiguous path
	reason   Reason   // where there is none
}

// under finds the rule of a request, or says that it is not to be read.
func (e *Engine) under(q *Request) (verdict, bool) {
	t, ok := readPath(q.Path, e.policy.Paths)
	if !ok {
		return verdict{reason: ReasonAmbiguousPath}, false
	}
	v := verdict{host: hostName(q.Host), path: t.path}
	var unclear bool
	v.rule, unclear = e.ruleAt(q, v.host, t.path)
	for _, path := range t.others {
		r, un := e.ruleAt(q, v.host, path)
		unclear = unclear || un
		if r == v.rule {
			continue
		}
		if strictness(r) > strictness(v.rule) {
			r, v.rule = v.rule, r
		}
		v.others = append(v.others, r)
	}
	if unclear {
		return verdict{reason: ReasonUnreadable}, false
	}
	if t.ambiguous {
		v.readings = t.others
		if strictness(v.rule) < strictness(e.fallback) {
			v.rule = e.fallback
		}
	}
	return v, true
}

func (e *Engine) ruleAt(q *Request, host, path string) (*compiledRule, bool) {
	r, unclear := e.rules.first(q, host, path)
	if r == nil {
		r = e.fallback
	}
	return r, unclear
}

// strictness orders rules by what they ask of a caller.
func strictness(c *compiledRule) int {
	return [...]int{Public: 0, Optional: 1, Authenticated: 2, DenyAll: 3}[c.Access]
}

// admits asks every rule that the request may stand under, about every reading
// of its path: what a token may be used for, what only reads and what an
// expression says can hang on it.
func (v *verdict) admits(q *Request, d *Decision, now time.Time, steps *Steps) (Outcome, Reason) {
	who := applicant{d.Identity, v.host, v.path, now}
	outcome, reason := v.admitsAt(q, d, &who, steps)
	for _, path := range v.readings {
		if outcome != Allowed {
			break
		}
		who.path = path
		outcome, reason = v.admitsAt(q, d, &who, steps)
	}
	return outcome, reason
}

func (v *verdict) admitsAt(q *Request, d *Decision, who *applicant, steps *Steps) (Outcome, Reason) {
	outcome, reason := v.rule.admits(q, who, steps)
	for _, r := range v.others {
		if outcome != Allowed {
			break
		}
		if r.Access == Public || r.Access == Optional {
			continue
		}
		if !r.trusts(d.Provider) {
			return Unauthenticated, ReasonNoOwner
		}
		outcome, reason = r.admits(q, who, steps)
	}
	return outcome, reason
}

func (c *compiledRule) trusts(provider string) bool {
	for _, p := range c.providers {
		if p.Name == provider {
			return true
		}
	}
	return false
}
