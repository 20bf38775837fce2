package providers

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// When keys are fetched. They are fetched ahead of need, so that a rotation is
// noticed before the first token signed with the new key comes.
const (
	minRefresh   = time.Minute
	maxRefresh   = time.Hour
	plainRefresh = 10 * time.Minute // where the provider does not say

	firstRetry = time.Second // after a failed fetch, doubling
	maxRetry   = 30 * time.Second
	// coldRetry is maxRetry where there are no keys to go on with: until the
	// provider is noticed to be there, all its tokens are answered 503.
	coldRetry = 5 * time.Second

	// unknownKeyPause is the least time between two fetches for the sake of
	// keys that are not there: anybody can make tokens that name one.
	unknownKeyPause = 30 * time.Second
	// unknownKeyWait is how long a request waits for such a fetch.
	unknownKeyWait = 3 * time.Second

	// maxStale is how long keys are used while the provider is out of reach.
	maxStale = 24 * time.Hour
)

// keySet holds the keys of one issuer. They are fetched in the background; no
// request but one that names an unknown key ever waits for that.
type keySet struct {
	client *client
	locate func(ctx context.Context) (string, error) // URL of the set
	now    func() time.Time
	log    *slog.Logger

	current atomic.Pointer[keys]
	lastErr atomic.Pointer[authz.Unavailable]
	etag    string // of the set in current; the loop's own
	end     context.CancelFunc
	ended   chan struct{}

	wake chan struct{} // tells the loop to fetch now

	mu      sync.Mutex
	begun   uint64        // number of the last fetch that began
	over    uint64        // … and of the last that ended
	fetched chan struct{} // closed and replaced after each
	asked   time.Time     // when one for an unknown key was last allowed
	wanted  uint64        // the number of that one
}

type keys struct {
	byID map[string]*publicKey
	all  []*publicKey
	at   time.Time
}

func newKeySet(c *client, env Env, locate func(context.Context) (string, error)) *keySet {
	ctx, end := context.WithCancel(context.Background())
	s := &keySet{
		client: c, locate: locate, now: env.Now, log: env.Log, end: end, ended: make(chan struct{}),
		wake: make(chan struct{}, 1), fetched: make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

// close ends the fetching and waits for it.
func (s *keySet) close() {
	s.end()
	<-s.ended
}

func (s *keySet) run(ctx context.Context) {
	defer close(s.ended)
	defer s.announce(noMore) // to those who wait
	retry := firstRetry
	for {
		n := s.begin()
		wait, err := s.fetch(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.tell(unavailable(err))
			limit := maxRetry
			if _, err := s.usable(); err != nil {
				limit = coldRetry
			}
			wait, retry = min(retry, limit), min(2*retry, limit)
		} else {
			if s.lastErr.Swap(nil) != nil {
				s.log.Info("keys are fetched again")
			}
			retry = firstRetry
		}
		s.announce(n)
		timer := time.NewTimer(wait + rand.N(wait/10+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// tell notes and logs what is wrong, once for each new thing. A fault of ours is
// louder: it does not go away by itself.
func (s *keySet) tell(down *authz.Unavailable) {
	if old := s.lastErr.Swap(down); old != nil && old.Cause.Error() == down.Cause.Error() {
		return
	}
	level := slog.LevelWarn
	if down.Misconfigured {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, "keys cannot be fetched; the last good ones go on", "error", down.Cause.Error(),
		"misconfigured", down.Misconfigured, "have_keys", s.current.Load() != nil)
}

// begin numbers a fetch. It is the one that all wanted who asked until now.
func (s *keySet) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	select {
	case <-s.wake:
	default:
	}
	return s.begun
}

// noMore is announced when nothing will be fetched any more.
const noMore = math.MaxUint64

// announce ends the nth fetch.
func (s *keySet) announce(n uint64) {
	s.mu.Lock()
	s.over = n
	close(s.fetched)
	s.fetched = make(chan struct{})
	s.mu.Unlock()
}

// fetch gets the set and says when to do so again. What cannot be read never
// replaces a good set.
func (s *keySet) fetch(ctx context.Context) (time.Duration, error) {
	address, err := s.locate(ctx)
	if err != nil {
		return 0, err
	}
	header := http.Header{"Accept": {"application/jwk-set+json, application/json"}}
	if s.etag != "" {
		header.Set("If-None-Match", s.etag)
	}
	r, err := s.client.get(ctx, address, header)
	if err != nil {
		return 0, err
	}
	now := s.now()
	old := s.current.Load()
	if r.Status == http.StatusNotModified && old != nil {
		s.current.Store(&keys{old.byID, old.all, now})
		return refreshAfter(r.Header), nil
	}
	if err := r.document("the key set", now); err != nil {
		return 0, err
	}
	list, dropped, err := parseKeys(r.Body)
	if err != nil {
		return 0, err
	}
	next := &keys{byID: make(map[string]*publicKey, len(list)), all: list, at: now}
	for _, k := range list {
		next.byID[k.id] = k
	}
	s.etag = r.Header.Get("ETag")
	if old == nil || !sameKeys(old, next) {
		s.log.Info("keys fetched", "keys", len(list), "left_out", strings.Join(dropped, "; "))
	}
	s.current.Store(next)
	return refreshAfter(r.Header), nil
}

func sameKeys(a, b *keys) bool {
	if len(a.byID) != len(b.byID) {
		return false
	}
	for id := range a.byID {
		if b.byID[id] == nil {
			return false
		}
	}
	return true
}

// refreshAfter is half of what the provider says its set may be kept, in bounds.
func refreshAfter(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if strings.EqualFold(name, "max-age") {
			if seconds, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil && seconds >= 0 {
				return min(max(time.Duration(min(seconds, 86400))*time.Second/2, minRefresh), maxRefresh)
			}
		}
	}
	return plainRefresh
}

var errNoKeys = errors.New("the provider's keys could not be fetched yet")

// find returns the keys that may have signed a token: the one that it names,
// or, where it names none, all that suit. A key that is not there is fetched,
// if that is not too often. The error is a rejection, or an authz.Unavailable.
func (s *keySet) find(ctx context.Context, t *signedToken) ([]*publicKey, error) {
	k, err := s.usable()
	if err != nil {
		if s.lastErr.Load() != nil {
			return nil, err
		}
		// Just started: wait for the first fetch, which is under way.
		s.await(ctx, 1, unknownKeyWait)
		if k, err = s.usable(); err != nil {
			return nil, err
		}
	}
	if found := k.suiting(t); len(found) > 0 {
		return found, nil
	}
	if t.keyID == "" || k.byID[t.keyID] != nil {
		return nil, authz.Reject(authz.ReasonUnknownKey, "no key of the provider is for %s", t.algorithm)
	}
	fetched := s.newer(ctx)
	if found := s.current.Load().suiting(t); len(found) > 0 {
		return found, nil
	}
	if !fetched || s.lastErr.Load() != nil {
		// It could be a new key that we could not fetch.
		return nil, &authz.Unavailable{Cause: errors.New("a key that is not known, and the provider's keys cannot be fetched"), RetryAfter: 5 * time.Second}
	}
	return nil, authz.Reject(authz.ReasonUnknownKey, "the provider has no such key")
}

// errNotAtHand says that a key would have to be fetched, or waited for.
var errNotAtHand = errors.New("the key is not at hand")

// findNow is find for those who do not wait: the error is errNotAtHand where
// that would be needed.
func (s *keySet) findNow(_ context.Context, t *signedToken) ([]*publicKey, error) {
	k, err := s.usable()
	if err != nil {
		return nil, errNotAtHand
	}
	if found := k.suiting(t); len(found) > 0 {
		return found, nil
	}
	return nil, errNotAtHand
}

func (s *keySet) usable() (*keys, error) {
	k := s.current.Load()
	if k != nil && s.now().Sub(k.at) <= maxStale {
		return k, nil
	}
	down := &authz.Unavailable{Cause: errNoKeys, RetryAfter: 2 * time.Second}
	if last := s.lastErr.Load(); last != nil && last.Misconfigured {
		down.Misconfigured, down.Cause = true, last.Cause
	}
	return nil, down
}

// maxTried bounds how many keys a token without kid is tried with.
const maxTried = 8

func (k *keys) suiting(t *signedToken) (found []*publicKey) {
	if t.keyID != "" {
		if key := k.byID[t.keyID]; key != nil && key.suits(t.algorithm) {
			return []*publicKey{key}
		}
		return nil
	}
	for _, key := range k.all {
		if key.suits(t.algorithm) && len(found) < maxTried {
			found = append(found, key)
		}
	}
	return found
}

// newer waits for keys that were asked for after a token came with a key that is
// not there. It wakes the loop, unless that was done a moment ago, and whoever
// comes while that fetch is under way waits for it too. It reports false when it
// is not over in time.
func (s *keySet) newer(ctx context.Context) bool {
	s.mu.Lock()
	now := s.now()
	if s.asked.IsZero() || now.Sub(s.asked) >= unknownKeyPause {
		// One that is under way may have been answered before the key was there.
		s.asked, s.wanted = now, s.begun+1
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	wanted, left := s.wanted, unknownKeyWait-now.Sub(s.asked)
	s.mu.Unlock()
	return s.await(ctx, wanted, left)
}

// await waits for the end of the nth fetch, and reports whether it has come.
func (s *keySet) await(ctx context.Context, n uint64, atMost time.Duration) bool {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		over, next := s.over, s.fetched
		s.mu.Unlock()
		if over >= n {
			return over != noMore
		}
		if late == nil { // most come when it is over
			late = time.After(atMost)
		}
		select {
		case <-next:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// status says whether tokens can be checked now.
func (s *keySet) status() Status {
	_, err := s.usable()
	st := Status{Ready: err == nil}
	if last := s.lastErr.Load(); last != nil {
		st.Detail, st.Misconfigured = last.Cause.Error(), last.Misconfigured
	} else if err != nil {
		st.Detail = errNoKeys.Error()
	}
	return st
}
