package authz

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// identify finds out who a credential speaks for: from what is remembered, or
// from its owner. It reports false with the decision filled in otherwise.
func (e *Engine) identify(ctx context.Context, rule *compiledRule, cred Credential, q *Request, now time.Time, d *Decision) bool {
	room := q.Room
	if room == nil {
		room = new(Room)
	}
	if direct := rule.immediate(&cred); direct != nil {
		if !cred.wellFormed() {
			d.Outcome, d.Reason = Malformed, ReasonMalformedCredential
			return false
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
	found, known := e.cache.get(key, now, room)
	d.Cached = known
	if !known {
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
		TellSlow(ctx)
		proven, err := e.verify(ctx, key, owner, cred)
		if err != nil {
			refuse(d, owner.Name, err)
			return false
		}
		found = *proven
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
		e.cache.remove(key) // so that it is not found again
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
		if found, known := e.cache.peek(key, e.now(), new(Room)); known {
			return &found, nil
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
	found := &entry{identity: &id, provider: owner.Name, offline: offline, began: began}
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
