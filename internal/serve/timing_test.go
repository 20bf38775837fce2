package serve

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// A suspect is a credential that is refused for a reason of its own.
type suspect struct {
	what, user, token string
}

// suspects makes tokens that are refused for every reason, eight of each, in a
// store among ten thousand.
func suspects(t *testing.T, setting string) map[string][]suspect {
	t.Helper()
	tokens := beside(t, setting)
	orders := make([]tokenstore.Order, 10_000)
	for i := range orders {
		orders[i] = tokenstore.Order{User: fmt.Sprintf("user-%04d", i), Name: "n"}
	}
	if _, err := tokens.Import(t.Context(), "tester", orders); err != nil {
		t.Fatal(err)
	}
	out := map[string][]suspect{}
	add := func(what, user, token string) { out[what] = append(out[what], suspect{what, user, token}) }
	for range 8 {
		unknown, err := tokenstore.NewSecret()
		if err != nil {
			t.Fatal(err)
		}
		add("unknown", "alice", unknown.Reveal())
		id, token := create(t, tokens, tokenstore.Order{User: "alice"})
		if _, err := tokens.Revoke(t.Context(), "tester", tokenstore.Filter{ID: id}); err != nil {
			t.Fatal(err)
		}
		add("revoked", "alice", token)
		_, token = create(t, tokens, tokenstore.Order{User: "alice", Expires: "1s"})
		add("expired", "alice", token)
		id, token = create(t, tokens, tokenstore.Order{User: "alice"})
		if _, err := tokens.Rotate(t.Context(), "tester", tokenstore.Filter{ID: id}, time.Second, ""); err != nil {
			t.Fatal(err)
		}
		add("rotated", "alice", token)
		_, token = create(t, tokens, tokenstore.Order{User: "brian"})
		add("wrong user", "alice", token)
	}
	return out
}

func (s *suspect) headers(basic bool) map[string]string {
	if basic {
		return withBasic(s.user, s.token)
	}
	return withBearer(s.token)
}

// Why a token is refused cannot be told from how long that takes: not where the
// decision is made, and not by who waits for the answer.
func TestTimingTellsNothing(t *testing.T) {
	setting := "sqlite:" + filepath.Join(t.TempDir(), "tokens.db")
	groups := suspects(t, setting)
	l := start(t, fmt.Sprintf(tokenConfig, setting)+"log: {audit: {file: none}}\n")
	calls := realtest.Scale(4_000, 100_000)
	for _, basic := range []bool{false, true} {
		kinds := []string{"unknown", "revoked", "expired", "rotated"}
		if basic {
			kinds = append(kinds, "wrong user")
		}
		for _, kind := range kinds {
			for i := range groups[kind] {
				h := groups[kind][i].headers(basic)
				l.eventually(kind, func() bool { s, _, _ := l.send("GET", "/x", h); return s == 401 })
			}
		}
		name := map[bool]string{false: "Bearer", true: "Basic"}[basic]
		t.Run(name+"/answer", func(t *testing.T) { tellApart(t, kinds, calls, l.answering(groups, basic)) })
	}
}

// The same where the decision is made, without the noise of a network. The race
// detector counts what the processor does not, so it is no part of every run.
func TestTimingOfDecisionTellsNothing(t *testing.T) {
	realtest.Proof(t)
	setting := "sqlite:" + filepath.Join(t.TempDir(), "tokens.db")
	groups := suspects(t, setting)
	c, _, err := config.Parse("gatelodge.yaml", fmt.Appendf(nil, tokenConfig, setting), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	tellApart(t, []string{"unknown", "revoked", "expired", "rotated"}, 100_000, deciding(t, g, groups))
}

// answering asks the server, as Envoy does.
func (l *lodge) answering(groups map[string][]suspect, basic bool) func(kind string, i int) time.Duration {
	requests := map[string][]*authv3.CheckRequest{}
	for kind, list := range groups {
		for i := range list {
			requests[kind] = append(requests[kind], &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
				Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
					Method: "GET", Path: "/x", Host: "api", Headers: list[i].headers(basic),
				}},
			}})
		}
	}
	return func(kind string, i int) time.Duration {
		q := requests[kind][i]
		began := time.Now()
		m, err := l.check.Check(l.t.Context(), q)
		took := time.Since(began)
		if err != nil || m.GetDeniedResponse().GetStatus().GetCode() != 401 {
			l.t.Fatalf("%s: %v, %v", kind, m, err)
		}
		return took
	}
}

// deciding asks the engine, sixteen times for each measurement: one decision is
// too short for the clock.
func deciding(t *testing.T, g *Gate, groups map[string][]suspect) func(kind string, i int) time.Duration {
	requests := map[string][]authz.Request{}
	for kind, list := range groups {
		for i := range list {
			requests[kind] = append(requests[kind], authz.Request{
				Method: "GET", Path: "/x", Host: "api", Source: netip.MustParseAddr("192.0.2.1"),
				Headers: []authz.Header{{Name: "authorization", Value: "Bearer " + list[i].token}},
			})
		}
	}
	return func(kind string, i int) time.Duration {
		q := requests[kind][i]
		began := time.Now()
		for range 16 {
			if d := g.Decide(context.Background(), q); d.Outcome != authz.Unauthenticated {
				t.Fatalf("%s: %v", kind, d)
			}
		}
		return time.Since(began)
	}
}

// tellApart measures the kinds in random turns and compares each with each by
// Welch's t, after the slowest part of all measurements, which is the machine's
// doing, was cut off. Beyond 4.5 two kinds count as told apart.
func tellApart(t *testing.T, kinds []string, calls int, measure func(kind string, i int) time.Duration) {
	t.Helper()
	took := make([][]float64, len(kinds))
	for i := range calls + calls/10 {
		k := rand.IntN(len(kinds))
		d := float64(measure(kinds[k], rand.IntN(8)))
		if i >= calls/10 { // the first warm up
			took[k] = append(took[k], d)
		}
	}
	var all []float64
	for _, list := range took {
		all = append(all, list...)
	}
	slices.Sort(all)
	most := all[len(all)*9/10]
	worst := 0.0
	for a := range kinds {
		for b := range a {
			w := math.Abs(welch(crop(took[a], most), crop(took[b], most)))
			worst = max(worst, w)
			if w >= 4.5 {
				t.Errorf("%s and %s are told apart: t = %.2f, medians %.0f and %.0f ns", kinds[a], kinds[b], w, median(took[a]), median(took[b]))
			}
		}
	}
	realtest.Measured(t, "%d calls, |t| at most %.2f; median %.0f ns", calls, worst, median(all))
}

func crop(list []float64, most float64) (out []float64) {
	for _, v := range list {
		if v <= most {
			out = append(out, v)
		}
	}
	return out
}

// welch is the statistic of Welch's t-test of two samples.
func welch(a, b []float64) float64 {
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}

func moments(list []float64) (mean, variance float64) {
	for _, v := range list {
		mean += v
	}
	mean /= float64(len(list))
	for _, v := range list {
		variance += (v - mean) * (v - mean)
	}
	return mean, variance / float64(len(list)-1)
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
