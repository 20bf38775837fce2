package main

import (
	"context"
	"fmt"
	"time"
)

// What Envoy is asked with instead of an authorization server.
const (
	nothingName   = "no authorization"
	jwtName       = "jwt_authn"
	jwtCachedName = "jwt_authn, cache"
)

// fullLoad is how many requests a round has through Envoy, where one costs
// several times what it does without.
const fullLoad = 12_000

// fullRounds is how many rounds there are then: Envoy's part differs from one to
// the next more than a server's does.
func fullRounds(o *options) int { return 2*o.rounds - 1 }

// through compares on one workload through the real Envoy. At perSecond 0 as
// much is sent as is answered; what stands in Envoy itself is compared then
// too.
func (l *lab) through(ctx context.Context, w *workload, perSecond int) (*comparison, error) {
	if err := l.prepare(ctx, w); err != nil {
		return nil, err
	}
	checks, n := fullLoad, fullRounds(l.options)
	if perSecond > 0 {
		checks, n = 2*perSecond, l.options.rounds
	}
	warm, rounds := l.requests(w, w.warm(l.options)), l.rounds(w, n, checks)
	servers, err := l.start(ctx, w)
	defer func() { stop(servers) }()
	if err != nil {
		return nil, err
	}
	var fronts []front
	behind := map[string]*process{}
	for _, s := range servers {
		fronts = append(fronts, front{Name: s.name, Authz: s.address})
		behind[s.name] = s.process
	}
	if perSecond == 0 && !w.local {
		fronts = append(fronts, front{Name: nothingName}, front{Name: jwtName, JWT: true}, front{Name: jwtCachedName, JWT: true, Cached: true})
	}
	p, err := startEnvoy(ctx, l.dir, l.issuer.keySet(), fronts)
	if err != nil {
		return nil, err
	}
	defer p.stop()

	var contestants []*contestant
	for _, f := range fronts {
		load, err := open(p.address[f.Name], l.verdictOf(f.Name))
		if err != nil {
			return nil, err
		}
		defer load.close()
		if _, err := load.full(warm); err != nil {
			return nil, fmt.Errorf("%s, %s is not timed: %w", w.name, f.Name, err)
		}
		send := load.full
		if perSecond > 0 {
			send = func(list []request) ([]time.Duration, error) { return load.fixed(list, perSecond) }
		}
		contestants = append(contestants, &contestant{name: f.Name, server: behind[f.Name], proxy: p.process, send: send})
	}
	return compare(w, contestants, rounds)
}

// verdictOf says which answers are right for what stands in front.
func (l *lab) verdictOf(name string) verdict {
	if name == noopName && l.options.against != "" {
		name = gatelodgeName // another build, in its place
	}
	switch name {
	case noopName:
		return func(_ *request, status int, user string) error { return expect(status, user, 200, noopUser) }
	case nothingName:
		return func(_ *request, status int, user string) error { return expect(status, user, 200, "") }
	}
	return func(r *request, status int, user string) error {
		if r.user == "" {
			return expect(status, user, 401, "")
		}
		return expect(status, user, 200, r.user)
	}
}

func expect(status int, user string, wantStatus int, wantUser string) error {
	if status != wantStatus || user != wantUser {
		return fmt.Errorf("status %d for user %q, where %d and %q is right", status, user, wantStatus, wantUser)
	}
	return nil
}
