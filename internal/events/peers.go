package events

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Bounds of passing an event on.
const (
	maxPassing  = 256             // deliveries at once; more are given up
	passingWait = 2 * time.Second // how long the provider waits for them
	passingTime = 5 * time.Second // of one attempt
)

// An envelope is what came in, to be sent to others as it is.
type envelope struct {
	provider, path      string
	contentType, secret string // secret: Authorization
	body                string
}

// passing takes events to the other processes that decide for the same API: a
// provider tells one of them. Each of them proves the event by itself, and passes
// it on too; who has had it before only says so, which ends it.
type passing struct {
	ctx    context.Context // of the process
	slots  chan struct{}
	pauses []time.Duration // between the attempts to reach a peer
	client *http.Client
}

func newPassing(ctx context.Context) *passing {
	dialer := &net.Dialer{Timeout: passingTime}
	return &passing{
		ctx:    ctx,
		slots:  make(chan struct{}, maxPassing),
		pauses: []time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second},
		client: &http.Client{
			Timeout:       passingTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DisableKeepAlives: true, // one connection could stand for several addresses of a name
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					if one, ok := ctx.Value(peerAddress{}).(string); ok {
						address = one
					}
					return dialer.DialContext(ctx, network, address)
				},
			},
		},
	}
}

// peerAddress is the context's key of which of a peer's addresses is meant.
type peerAddress struct{}

// passOn sends an event that was obeyed to every peer, and waits a moment for
// them: a provider that is told yes can believe that all obeyed.
func (e *routes) passOn(m envelope) {
	peers := e.Peers()
	if len(peers) == 0 {
		return
	}
	var all sync.WaitGroup
	for _, peer := range peers {
		all.Go(func() { e.passTo(peer, m) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	wait := time.NewTimer(passingWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
}

// passTo sends an event to all addresses of a peer.
func (e *routes) passTo(peer string, m envelope) {
	ctx, cancel := context.WithTimeout(e.passing.ctx, passingTime)
	addresses, err := addressesOf(ctx, peer)
	cancel()
	if err != nil {
		e.passed(m.provider, peer, err)
		return
	}
	var all sync.WaitGroup
	for _, address := range addresses {
		all.Go(func() { e.passed(m.provider, peer+" at "+address, e.passing.deliver(peer, address, m)) })
	}
	all.Wait()
}

// addressesOf resolves a peer: a name may stand for several processes.
func addressesOf(ctx context.Context, peer string) (list []string, err error) {
	u, err := url.Parse(peer)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	for _, h := range hosts {
		list = append(list, net.JoinHostPort(h, port))
	}
	return list, err
}

var errTooManyPassed = errors.New("too many are under way")

// deliver tries until a peer answers. What it answers about the token is for its
// own log to say.
func (p *passing) deliver(peer, address string, m envelope) (err error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return errTooManyPassed
	}
	for _, pause := range p.pauses {
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-p.ctx.Done():
			wait.Stop()
			return p.ctx.Err()
		}
		if err = p.attempt(peer, address, m); err == nil {
			return nil
		}
	}
	return err
}

func (p *passing) attempt(peer, address string, m envelope) error {
	ctx := context.WithValue(p.ctx, peerAddress{}, address)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(peer, "/")+m.path, strings.NewReader(m.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", m.contentType)
	if m.secret != "" {
		req.Header.Set("Authorization", m.secret)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	return nil
}

// passed tells how passing an event on came out.
func (e *routes) passed(provider, peer string, err error) {
	if err == nil {
		e.Count(provider, "passed_on", Delivered)
		return
	}
	e.Count(provider, "passed_on", Failed)
	e.Log.Error("an event was not passed on: that process does not know of it", "provider", provider, "peer", peer, "error", err.Error())
}
