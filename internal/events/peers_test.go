package events

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/providers/providertest"
)

// Each process is told what one of them was told, once: also by rings of them,
// and by names that stand for the process itself.
func TestPeersAreTold(t *testing.T) {
	i := providertest.NewIssuer(t)
	a, b, c := newWorldOf(t, i), newWorldOf(t, i), newWorldOf(t, i)
	for _, w := range []*world{a, b, c} {
		w.peers = []string{a.url, b.url + "/", c.url}
	}
	alice := map[string]any{"format": "iss_sub", "iss": i.URL, "sub": "7"}
	if status, _, body := a.post(LogoutPath+"sso", form, url.Values{"logout_token": {a.logoutToken()}}.Encode()); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	status, _, body := b.post(SignalPath+"sso", signalType, b.signalToken("caep/event-type/session-revoked", alice), "Authorization: Bearer "+bearer)
	if status != 202 {
		t.Errorf("%d %s", status, body)
	}
	for name, w := range map[string]*world{"a": a, "b": b, "c": c} {
		w.mu.Lock()
		if len(w.revoked) != 2 || len(w.obeyed) != 2 {
			t.Errorf("%s: %d revoked, %v", name, len(w.revoked), w.obeyed)
		}
		if n := w.counts["sso logout obeyed"] + w.counts["sso session-revoked obeyed"]; n != 2 || w.counts["sso passed_on failed"] > 0 || w.counts["sso passed_on delivered"] != 6 {
			t.Errorf("%s: %v", name, w.counts)
		}
		w.mu.Unlock()
	}
}

// What was refused is not passed on, nor is what came before.
func TestPeersAreNotToldJunk(t *testing.T) {
	told := atomic.Int64{}
	peer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Add(1) }))
	t.Cleanup(peer.Close)
	w := newWorld(t)
	w.peers = []string{peer.URL}
	good := url.Values{"logout_token": {w.logoutToken()}}.Encode()
	for _, body := range []string{"logout_token=junk", good, good, ""} {
		w.post(LogoutPath+"sso", form, body)
	}
	w.post(SignalPath+"sso", signalType, "junk", "Authorization: Bearer "+bearer)
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestDeliver(t *testing.T) {
	var got []string
	answers := []int{}
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization")+" "+r.PostForm.Get("a"))
		status := 200
		if len(answers) > 0 {
			status, answers = answers[0], answers[1:]
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(peer.Close)
	address := strings.TrimPrefix(peer.URL, "http://")
	m := envelope{provider: "sso", path: "/x", contentType: formType, secret: "Bearer s", body: "a=b"}
	for name, c := range map[string]struct {
		answers []int
		tries   int
		good    bool
	}{
		"obeys":              {nil, 1, true},
		"knows it":           {[]int{400}, 1, true},
		"knows it, a signal": {[]int{202}, 1, true},
		"down for a moment":  {[]int{503, 500}, 3, true},
		"down":               {[]int{503, 503, 503, 503}, 3, false},
		"not one of ours":    {[]int{404, 404, 404}, 3, false},
	} {
		got, answers = nil, c.answers
		p := newPassing(t.Context())
		p.pauses = []time.Duration{0, time.Millisecond, time.Millisecond}
		err := p.deliver(peer.URL, address, m)
		if (err == nil) != c.good || len(got) != c.tries || got[0] != "/x Bearer s b" {
			t.Errorf("%s: %v after %q", name, err, got)
		}
	}

	// The name is the peer's, the address is one of those that it stands for.
	if err := newPassing(t.Context()).deliver("http://gatelodge.invalid:9193", address, m); err != nil {
		t.Error(err)
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := newPassing(ctx).deliver(peer.URL, address, m); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	full := newPassing(t.Context())
	for range maxPassing {
		full.slots <- struct{}{}
	}
	if err := full.deliver(peer.URL, address, m); !errors.Is(err, errTooManyPassed) {
		t.Error(err)
	}
}

// A peer that hangs keeps a provider waiting for a moment, not for its answer.
func TestSlowPeer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	w := newWorld(t)
	w.peers = []string{"http://" + silent.Addr().String()}
	began := time.Now()
	status, _, body := w.post(LogoutPath+"sso", form, url.Values{"logout_token": {w.logoutToken()}}.Encode())
	if took := time.Since(began); status != 200 || took > passingWait+2*time.Second {
		t.Errorf("%d %s after %v", status, body, took)
	}
}

func TestAddressesOf(t *testing.T) {
	for peer, want := range map[string][]string{
		"http://127.0.0.1:9193":  {"127.0.0.1:9193"},
		"http://127.0.0.1":       {"127.0.0.1:80"},
		"https://[::1]":          {"[::1]:443"},
		"http://[::1]:9193/":     {"[::1]:9193"},
		"http://nobody.invalid/": nil,
	} {
		got, err := addressesOf(t.Context(), peer)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v %s", peer, err, diff)
		}
	}
}
