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

// How long answers are reused where the policy does not say, and the least
// and most that a caller is told to wait.
const (
	defaultCacheFor = time.Minute
	// What keys at hand proved, nobody would be asked about again: the same
	// token would be found good until it ends, or its key is taken back.
	defaultOfflineFor = 5 * time.Minute
	defaultRetry      = 2 * time.Second
	maxRetry          = 5 * time.Minute
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

	now := e.now()
	if !e.identify(ctx, rule, cred, q, now, d) {
		steps.add("identity", StepFailed, d.Reason.String()+": "+d.Detail)
		return rule.mode
	}
	steps.add("identity", StepOK, d.Identity.User)
	if reason, detail := e.proven(q, &cred, d, now); reason != NoReason {
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

// identify finds out who a credential speaks for: from what is remembered, or
// from its owner. It reports false with the decision filled in otherwise.
func (e *Engine) identify(ctx context.Context, rule *compiledRule, cred Credential, q *Request, now time.Time, d *Decision) bool {
	if direct := rule.immediate(&cred); direct != nil {
		if !cred.wellFormed() {
			d.Outcome, d.Reason = Malformed, ReasonMalformedCredential
			return false
		}
		room := q.Room
		if room == nil {
			room = new(Room)
		}
		id, err := direct.Lookup(cred, q.Source, room)
		if err != nil {
			refuse(d, direct.named.Name, err)
			return false
		}
		d.Provider, d.Identity = direct.named.Name, id
		return true
	}

	key := e.cache.key(rule.scope, &cred)
	found := e.cache.get(key, now)
	d.Cached = found != nil
	if found == nil {
		if !cred.wellFormed() {
			d.Outcome, d.Reason = Malformed, ReasonMalformedCredential
			return false
		}
		cred.Notes = new(Notes)
		owner := rule.owner(cred)
		if owner == nil {
			d.Outcome, d.Reason = Unauthenticated, ReasonNoOwner
			return false
		}
		var err error
		if found, err = e.verify(ctx, key, owner, cred); err != nil {
			refuse(d, owner.Name, err)
			return false
		}
	}
	if found.refusal != nil {
		refuse(d, found.provider, found.refusal)
		return false
	}
	d.Provider, d.Identity = found.provider, found.identity
	return true
}

// verify has the owner of a credential look at it and remembers the answer. An
// identity that is revoked meanwhile is refused; where its owner was asked too
// early to know, it is asked again.
func (e *Engine) verify(ctx context.Context, key cacheKey, owner *NamedProvider, cred Credential) (*entry, error) {
	for range 2 {
		found, err := e.look(ctx, key, owner, cred)
		if err != nil || found.identity == nil {
			return found, err
		}
		// remember has judged it, but perhaps for somebody who came earlier.
		switch e.cache.revoked.judge(found, e.now()) {
		case stands:
			return found, nil
		case ended:
			return nil, errEnded()
		}
		e.cache.good[key[0]%shardCount].remove(found) // so that it is not found again
	}
	return nil, &Unavailable{Cause: errOutdated, RetryAfter: time.Second}
}

// look makes one verification. A provider that has to ask somebody is asked
// once for all who wait.
func (e *Engine) look(ctx context.Context, key cacheKey, owner *NamedProvider, cred Credential) (*entry, error) {
	p, offline := owner.Provider.(Offline)
	if offline {
		began := e.cache.revoked.epoch.Load()
		if id, done, err := verifyOffline(ctx, p, cred); done {
			return e.remember(key, owner, offline, began, id, err)
		}
	}
	kept := Credential{Kind: cred.Kind, User: strings.Clone(cred.User), Secret: cred.Secret.Clone()}
	return e.flights.join(ctx, key, func(ctx context.Context) (*entry, error) {
		// It may have been answered since we looked, and the call be over.
		if found := e.cache.peek(key, e.now()); found != nil {
			return found, nil
		}
		began := e.cache.revoked.epoch.Load()
		id, err := owner.Verify(ctx, kept)
		return e.remember(key, owner, offline, began, id, err)
	})
}

func verifyOffline(ctx context.Context, p Offline, cred Credential) (id Identity, done bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			// Nothing of the panic's value is kept: it could hold the token.
			id, done, err = Identity{}, true, fmt.Errorf("%w: %T", errPanic, p)
		}
	}()
	return p.VerifyOffline(ctx, cred)
}

// remember turns a provider's answer into an entry, kept as long as it may be.
// offline says that nobody had to be asked, and began is the epoch of revocations
// when the verification began.
func (e *Engine) remember(key cacheKey, owner *NamedProvider, offline bool, began uint64, id Identity, err error) (*entry, error) {
	now := e.now()
	switch {
	case err != nil:
		var refusal *Rejection
		if !errors.As(err, &refusal) || refusal.CacheFor <= 0 {
			return nil, err
		}
		found := &entry{provider: owner.Name, refusal: refusal}
		e.cache.put(key, found, now, refusal.CacheFor)
		return found, nil
	case id.User == "":
		return nil, errNoUser
	}
	if !e.keepAttributes {
		id.Attributes = nil
	}
	found := newEntry(owner, &id)
	found.offline, found.began = offline, began
	if offline {
		e.cache.revoked.saw(&id)
	}
	found.judged = e.cache.revoked.epoch.Load()
	if e.cache.revoked.judge(found, now) == stands {
		if ttl := cacheFor(&id, owner, now); ttl > 0 {
			e.cache.put(key, found, now, ttl)
		}
	}
	return found, nil
}

var errNoUser = errors.New("the provider answered with an identity without a user")

// cacheFor is how long an identity may be reused; zero: not at all.
func cacheFor(id *Identity, owner *NamedProvider, now time.Time) time.Duration {
	ttl := defaultCacheFor
	if owner.CacheFor > 0 {
		ttl = owner.CacheFor
	} else if _, ok := owner.Provider.(Offline); ok {
		ttl = defaultOfflineFor
	}
	if id.CacheFor != 0 {
		ttl = min(ttl, id.CacheFor)
	}
	if !id.Expires.IsZero() {
		ttl = min(ttl, id.Expires.Sub(now))
	}
	return max(ttl, 0)
}

// refuse turns a provider's error into a denial: refused where it says so,
// cannot tell in every other case.
func refuse(d *Decision, provider string, err error) {
	d.Provider, d.Detail = provider, err.Error()
	var refusal *Rejection
	if errors.As(err, &refusal) {
		d.Outcome, d.Reason = Unauthenticated, refusal.Reason
		return
	}
	if errors.Is(err, ErrRejected) {
		d.Outcome, d.Reason = Unauthenticated, ReasonInactive
		return
	}
	d.Outcome, d.Reason, d.RetryAfter = Undecided, ReasonProviderDown, defaultRetry
	var down *Unavailable
	switch {
	case errors.As(err, &down):
		if down.RetryAfter > 0 {
			d.RetryAfter = min(down.RetryAfter, maxRetry)
		}
		if down.Misconfigured {
			d.Reason = ReasonMisconfigured
		} else if down.Throttled {
			d.Reason = ReasonThrottled
		}
	case errors.Is(err, errPanic):
		d.Reason = ReasonPanic
	case errors.Is(err, errNoUser):
		d.Reason = ReasonInternal
	}
}

// immediate returns the provider that answers for a credential from memory,
// if its owner is one.
func (c *compiledRule) immediate(cred *Credential) *directProvider {
	for i := range c.direct {
		if c.direct[i].Owns(*cred) {
			return &c.direct[i]
		}
	}
	return nil
}

// owner returns the provider that issued a credential, or nil. The order is
// the configured one.
func (c *compiledRule) owner(cred Credential) *NamedProvider {
	for _, p := range c.providers {
		if p.Owns(cred) {
			return p
		}
	}
	return nil
}
