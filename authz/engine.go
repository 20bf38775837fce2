package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Engine decides under one Policy. It is immutable and safe for concurrent
// use: a new configuration is a new Engine.
type Engine struct {
	policy   *Policy
	rules    rules
	fallback *compiledRule // for a request that no rule matches
	cache    *Cache
	flights  flights
	now      func() time.Time

	keepAttributes bool // an expression wants them
}

// New makes an Engine. cache may be shared with the Engine that went before.
// The error lists every fault of the policy's rules, which the configuration
// has looked for before, with file and line.
func New(p *Policy, cache *Cache, now func() time.Time) (*Engine, error) {
	e := &Engine{policy: p, cache: cache, now: now}
	for i := range p.Providers {
		if p.Providers[i].Instance == 0 {
			p.Providers[i].Instance = NewInstance()
		}
	}
	var faults []error
	for i := range p.Rules {
		c, err := e.compile(&p.Rules[i], i)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		e.rules.add(c)
	}
	if len(faults) == 0 {
		e.rules.seal()
	}
	var err error
	if e.fallback, err = e.compile(&Rule{}, len(p.Rules)); err != nil {
		faults = append(faults, err)
	}
	return e, errors.Join(faults...)
}

var instances atomic.Uint64

// NewInstance returns a number that no other provider of this process has.
// A provider that goes on under a new configuration keeps its number, and with
// it what it has proven.
func NewInstance() uint64 { return instances.Add(1) }

func (e *Engine) compile(r *Rule, index int) (*compiledRule, error) {
	for _, f := range r.Faults() {
		return nil, fmt.Errorf("rule %d: %s: %s", index+1, f.Key, f.Problem)
	}
	c := &compiledRule{Rule: r, index: index, mode: e.policy.Mode, preset: presets[r.Preset]}
	if r.Mode != nil {
		c.mode = *r.Mode
	}
	var numbers []uint64
	for i := range e.policy.Providers {
		p := &e.policy.Providers[i]
		if len(r.Providers) == 0 || slices.Contains(r.Providers, p.Name) {
			c.providers = append(c.providers, p)
			if direct, ok := p.Provider.(Immediate); ok {
				c.direct = append(c.direct, directProvider{p, direct})
			}
			numbers = append(numbers, p.Instance)
		}
	}
	for _, name := range r.Providers {
		if e.policy.provider(name) == nil {
			return nil, fmt.Errorf("rule %d: providers: there is no provider %q", index+1, name)
		}
	}
	c.scope = e.cache.scopes.number(numbers)
	if r.When != "" {
		if e.policy.Compile == nil {
			return nil, fmt.Errorf("rule %d: when: expressions are not available", index+1)
		}
		var err error
		if c.condition, err = e.policy.Compile(r.When); err != nil {
			return nil, fmt.Errorf("rule %d: when: %w", index+1, err)
		}
		e.keepAttributes = true
	}
	c.asks = c.asked()
	return c, nil
}

// Decide answers a request. It never fails: what cannot be told is a denial.
// A decision on a remembered credential does no I/O and allocates nothing.
// ctx bounds how long the caller waits.
func (e *Engine) Decide(ctx context.Context, q Request) Decision {
	return e.decide(ctx, &q, nil)
}

// Explain decides as Decide does and tells each step on the way. It may be
// slower, and what it learns is remembered as by Decide.
func (e *Engine) Explain(ctx context.Context, q Request) (Decision, []Step) {
	ctx, steps := WithSteps(ctx)
	d := e.decide(ctx, &q, steps)
	return d, steps.List()
}

func (e *Engine) decide(ctx context.Context, q *Request, steps *Steps) (d Decision) {
	d.Policy, d.ID = e.policy, NewDecisionID()

	if q.Unreadable != "" {
		d.Outcome, d.Reason, d.Detail = Malformed, ReasonUnreadable, q.Unreadable
		steps.add("request", StepFailed, q.Unreadable)
		return d
	}
	if !e.policy.Enabled {
		d.Outcome, d.Reason, d.KeepCredential = Allowed, ReasonDisabled, true
		steps.add("enabled", StepSkipped, "protection is switched off: everything passes")
		return d
	}
	mode := e.judge(ctx, q, &d, steps)
	if mode == Shadow {
		d.KeepCredential = true // the upstream still finds out by itself
		if d.Outcome != Allowed {
			d.Shadow, d.WouldBe, d.Outcome = true, d.Outcome, Allowed
			d.Recognised, d.Identity = d.Identity, nil
			steps.add("shadow", StepOK, "let through: only recorded")
		}
	}
	return d
}

// judge fills in the decision and returns the mode it stands under.
func (e *Engine) judge(ctx context.Context, q *Request, d *Decision, steps *Steps) Mode {
	v, ok := e.under(q)
	if !ok {
		d.Outcome, d.Reason = Malformed, v.reason
		steps.add("path", StepFailed, "the request can be read in more than one way")
		return e.policy.Mode
	}
	if doc := e.policy.Documents[v.path]; doc != nil && (q.Method == "GET" || q.Method == "HEAD" || preflight(q)) {
		d.Outcome, d.Reason, d.Document = Answered, ReasonDocument, doc
		steps.add("document", StepOK, "answered by the gate itself; the request goes no further")
		return Enforce
	}
	rule := v.rule
	if rule != e.fallback {
		d.Rule = rule.Rule
	}
	steps.rule(&v, d.Rule, q)

	switch rule.Access {
	case Public:
		d.Outcome, d.Reason, d.KeepCredential = Allowed, ReasonPublic, true
		return rule.mode
	case DenyAll:
		d.Outcome, d.Reason = Forbidden, ReasonDeniedByRule
		return rule.mode
	}

	if rule.Preflight && len(v.others) == 0 && preflight(q) {
		d.Outcome, d.Reason, d.KeepCredential = Allowed, ReasonPreflight, true
		return rule.mode
	}

	cred, reason := e.policy.extract(q)
	if reason != NoReason {
		d.Outcome, d.Reason = Unauthenticated, reason
		switch {
		case reason == ReasonNoCredential && rule.Access == Optional:
			d.Outcome, d.Reason = Allowed, ReasonOptional
		case reason == ReasonAmbiguousCredential, reason == ReasonMalformedCredential:
			d.Outcome = Malformed
		}
		steps.add("credential", StepFailed, reason.String())
		return rule.mode
	}
	steps.add("credential", StepOK, cred.Kind.String())

	now := q.Now
	if now.IsZero() {
		now = e.now()
	}
	if !e.identify(ctx, rule, cred, q, now, d) {
		steps.add("identity", StepFailed, d.Reason.String()+": "+d.Detail)
		return rule.mode
	}
	steps.add("identity", StepOK, d.Identity.User)
	if reason, detail := e.proven(ctx, q, &cred, d, now); reason != NoReason {
		d.Outcome, d.Reason, d.Detail = Unauthenticated, reason, detail
		steps.add("binding", StepFailed, detail)
		return rule.mode
	}
	if b := d.Identity.Bound; b != nil {
		steps.add("binding", StepOK, "the caller holds the key that the token is bound to")
	}
	d.Outcome, d.Reason = v.admits(q, d, now, steps)
	steps.add("allow", stepOutcome(d.Outcome), d.Reason.String())
	return rule.mode
}

// preflight reports whether a request is a CORS preflight, and not just an
// OPTIONS that somebody hopes is let through (Fetch standard, CORS-preflight).
func preflight(q *Request) bool {
	origin, origins := q.Header("origin")
	method, methods := q.Header("access-control-request-method")
	// Proxies join two lines by a comma, which no origin has.
	return q.Method == "OPTIONS" && origins == 1 && origin != "" && !strings.ContainsAny(origin, ", \t") && methods == 1 && isToken(method)
}
