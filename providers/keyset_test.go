package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// publisher answers for a provider's key set without a network, so that it can
// be asked in a bubble whose clock runs by itself.
type publisher struct {
	mu      sync.Mutex
	keys    []any
	down    bool
	silent  bool          // answers nobody
	slow    time.Duration // how long an answer takes to come
	header  http.Header
	fetches int
}

func (p *publisher) publish(keys ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.down = keys, false
}

func (p *publisher) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
}

func (p *publisher) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// RoundTrip implements http.RoundTripper.
func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.silent {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	resp, err := p.answer(r)
	time.Sleep(p.slow)
	return resp, err
}

func (p *publisher) answer(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.down {
		return nil, errors.New("no route to host")
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: p.header.Clone(), Request: r}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	body := mustJSON(object{"keys": p.keys})
	if tag := fmt.Sprintf("%q", fmt.Sprint(len(body), string(body))); p.header.Get("ETag") != "" {
		if resp.Header.Set("ETag", tag); r.Header.Get("If-None-Match") == tag {
			resp.StatusCode, body = http.StatusNotModified, nil
		}
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp, nil
}

// keysOf makes a key set that asks a publisher. It ends with the bubble's test.
func keysOf(t *testing.T, p *publisher) *keySet {
	t.Helper()
	c, err := newClient(Config{})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = p
	s := newKeySet(c, testEnv(), func(context.Context) (string, error) { return "https://sso.example.com/keys", nil })
	t.Cleanup(s.close)
	synctest.Wait()
	return s
}

// signs reports whether a token of this key is taken; the error is why not.
func (s *keySet) signs(t *testing.T, k providertest.Key) error {
	t.Helper()
	token, err := parseToken(k.Sign(object{"alg": "RS256", "kid": k.ID}, object{"sub": "alice"}))
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.find(t.Context(), token)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found, token.verify) {
		return nil
	}
	return errors.New("the signature is not by that key")
}

// A provider begins to use a key while its set is being fetched: the answer that
// is under way does not have it. Tokens of that key wait for the next one,
// whenever they come, and none is refused.
func TestKeyNewerThanTheFetchUnderWay(t *testing.T) {
	old, next := providertest.NewKey(t, "old", "RS256"), providertest.NewKey(t, "next", "RS256")
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{slow: time.Second}
		p.publish(old.JWK(nil))
		s := keysOf(t, p)
		for _, when := range []string{"the first fetch", "a later one"} {
			before := p.asked()
			if when == "a later one" {
				for p.asked() == before {
					time.Sleep(100 * time.Millisecond)
				}
			}
			p.publish(old.JWK(nil), next.JWK(nil))
			var callers sync.WaitGroup
			for late := range 18 {
				callers.Go(func() {
					time.Sleep(time.Duration(late) * 100 * time.Millisecond)
					if err := s.signs(t, next); err != nil {
						t.Errorf("%s, %d ms after it: %v", when, 100*late, err)
					}
				})
			}
			callers.Wait()
			p.publish(old.JWK(nil))
			for next := s.current.Load(); s.current.Load() == next; { // the key is forgotten again
				time.Sleep(time.Second)
			}
		}
	})
}

// Tokens with keys that nobody has come a hundred times a second, for five
// minutes. The provider is asked once in 30 s, and a key that it begins to use
// in the middle of it, without having said so before, is taken within 35 s.
func TestFloodOfUnknownKeys(t *testing.T) {
	old, next := providertest.NewKey(t, "old", "RS256"), providertest.NewKey(t, "next", "RS256")
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(old.JWK(nil))
		s := keysOf(t, p)
		before := p.asked()
		var flood sync.WaitGroup
		var rotated, taken time.Time
		for n := range 30_000 {
			flood.Go(func() {
				_, err := s.find(t.Context(), &signedToken{algorithm: "RS256", keyID: fmt.Sprint("made-up-", n)})
				if !errors.Is(err, authz.ErrRejected) {
					t.Errorf("a made-up key: %v", err)
				}
			})
			if time.Sleep(10 * time.Millisecond); n == 10_000 {
				p.publish(next.JWK(nil), old.JWK(nil))
				rotated = time.Now()
			}
			if n%100 == 0 {
				if err := s.signs(t, old); err != nil {
					t.Errorf("the known key: %v", err)
				}
				if n > 10_000 && taken.IsZero() && s.signs(t, next) == nil {
					taken = time.Now()
				}
			}
		}
		flood.Wait()
		if n := p.asked() - before; n > 11 {
			t.Errorf("the provider was asked %d times in five minutes", n)
		}
		if after := taken.Sub(rotated); taken.IsZero() || after > 35*time.Second {
			t.Errorf("the new key is taken after %v", after)
		}
	})
}

// The last good keys go on for a day while the provider is out of reach, then
// nothing can be told; once it is back, its tokens are taken within seconds.
func TestKeysOutliveAnOutage(t *testing.T) {
	key := providertest.NewKey(t, "k", "RS256")
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.publish(key.JWK(nil))
		s := keysOf(t, p)
		p.fail()
		for _, hours := range []int{1, 12, 10} {
			time.Sleep(time.Duration(hours) * time.Hour)
			if err := s.signs(t, key); err != nil || !s.status().Ready || s.status().Detail == "" {
				t.Errorf("%d h later: %v, %+v", hours, err, s.status())
			}
		}
		time.Sleep(2 * time.Hour)
		var down *authz.Unavailable
		if err := s.signs(t, key); !errors.As(err, &down) || errors.Is(err, authz.ErrRejected) || s.status().Ready {
			t.Errorf("after more than a day: %v", err)
		}
		asked := p.asked()
		time.Sleep(time.Hour)
		if n := p.asked() - asked; n > 720 {
			t.Errorf("asked %d times in an hour of outage", n)
		}
		p.publish(key.JWK(nil))
		time.Sleep(6 * time.Second)
		if err := s.signs(t, key); err != nil || s.status().Detail != "" {
			t.Errorf("the provider is back: %v, %+v", err, s.status())
		}
	})
}

// A provider that was down when we began is noticed within seconds of being
// there, however long it was away.
func TestColdStartRecovers(t *testing.T) {
	key := providertest.NewKey(t, "k", "RS256")
	for _, away := range []time.Duration{0, 7 * time.Second, time.Minute, time.Hour, 48 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := &publisher{}
			p.fail()
			s := keysOf(t, p)
			time.Sleep(away)
			if err := s.signs(t, key); err == nil || errors.Is(err, authz.ErrRejected) {
				t.Errorf("away for %v: %v", away, err)
			}
			p.publish(key.JWK(nil))
			time.Sleep(6 * time.Second)
			if err := s.signs(t, key); err != nil {
				t.Errorf("6 s after an absence of %v: %v", away, err)
			}
		})
	}
}

// Who waits for the first keys of a provider is told at once when it is taken
// out of service.
func TestWaitingEndsWithTheProvider(t *testing.T) {
	key := providertest.NewKey(t, "k", "RS256")
	synctest.Test(t, func(t *testing.T) {
		s := keysOf(t, &publisher{silent: true})
		waited := make(chan time.Duration)
		go func() {
			began := time.Now()
			if err := s.signs(t, key); err == nil || errors.Is(err, authz.ErrRejected) {
				t.Errorf("without any key: %v", err)
			}
			waited <- time.Since(began)
		}()
		synctest.Wait()
		s.close()
		if d := <-waited; d > 0 {
			t.Errorf("waited for %v more", d)
		}
	})
}

// Every way in which keys change, seen after the time between two fetches at
// the latest, and what must not change them.
func TestRotations(t *testing.T) {
	one, two := providertest.NewKey(t, "one", "RS256"), providertest.NewKey(t, "two", "RS256")
	reused := providertest.NewKey(t, "one", "RS256")
	good := func(k ...providertest.Key) []providertest.Key { return k }
	jwks := func(list ...providertest.Key) (out []any) {
		for _, k := range list {
			out = append(out, k.JWK(nil))
		}
		return out
	}
	for name, c := range map[string]struct {
		then       []any
		taken, bad []providertest.Key
	}{
		"added":         {jwks(two, one), good(one, two), nil},
		"removed":       {jwks(two), good(two), good(one)},
		"kid used anew": {jwks(reused), good(reused), good(one)},
		"the same":      {jwks(one), good(one), good(two, reused)},
		// What cannot be meant never replaces a good set.
		"all removed":     {nil, good(one), good(two)},
		"nothing to sign": {[]any{object{"kty": "oct", "k": "AAAA", "kid": "one"}}, good(one), good(two)},
	} {
		for cache, header := range map[string]http.Header{
			"silent": nil, "max-age": {"Cache-Control": {"public, max-age=120"}}, "a year": {"Cache-Control": {"max-age=31536000"}},
			"no-store": {"Cache-Control": {"no-store, max-age=0"}}, "tagged": {"Etag": {"yes"}}, "odd": {"Cache-Control": {"max-age=soon"}},
		} {
			t.Run(name+"/"+cache, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &publisher{header: header}
					p.publish(jwks(one)...)
					s := keysOf(t, p)
					time.Sleep(time.Minute)
					if err := s.signs(t, one); err != nil {
						t.Fatal(err)
					}
					p.publish(c.then...)
					time.Sleep(maxRefresh + maxRefresh/10)
					for _, k := range c.taken {
						if err := s.signs(t, k); err != nil {
							t.Errorf("key %s: %v", k.ID, err)
						}
					}
					for _, k := range c.bad {
						if err := s.signs(t, k); err == nil {
							t.Errorf("key %s is taken", k.ID)
						}
					}
				})
			})
		}
	}
}
