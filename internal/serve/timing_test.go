package serve

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// A suspect is a credential that is refused for a reason of its own.
type suspect struct {
	what, user, token string
}

// suspects makes tokens that are refused for every reason, in a store among many
// more that are good. All lie in memory in random order, and are too many for the
// processor to keep them near: what is asked for is as far away as it would be.
func suspects(t *testing.T, setting string) map[string][]suspect {
	t.Helper()
	store, err := tokenstore.Open(t.Context(), setting, authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	now := time.Now().Truncate(time.Second)
	out := map[string][]suspect{}
	var records []tokenstore.Record
	for n := range realtest.Scale(4_000, 100_000) {
		secret, former := mustSecret(t), mustSecret(t)
		r := tokenstore.Record{
			ID: strings.ToLower(cryptorand.Text()[:16]), Owner: fmt.Sprintf("user-%06d", n), Name: "n", CreatedBy: "tester",
			Created: now.Add(-time.Hour), Expires: now.Add(time.Hour), Hash: tokenstore.HashOf(secret),
		}
		s := suspect{user: r.Owner, token: secret}
		switch rand.IntN(20) {
		case 0:
			s.what, s.token = "unknown", mustSecret(t)
		case 1:
			s.what, r.Revoked = "revoked", now
		case 2:
			s.what, r.Expires = "expired", now
		case 3:
			s.what, s.user = "wrong user", "user-xxxxxx"
		case 4:
			s.what, s.token = "rotated", former
			r.Previous, r.PreviousUntil = tokenstore.HashOf(former), now
		}
		out[s.what] = append(out[s.what], s)
		records = append(records, r)
	}
	for chunk := range slices.Chunk(records, 10_000) {
		if err := store.Insert(t.Context(), tokenstore.Change{Actor: "tester", Action: tokenstore.ActionImport, At: now}, 0, chunk); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func mustSecret(t *testing.T) string {
	t.Helper()
	secret, err := tokenstore.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal()
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
	l.eventually("all tokens are known", func() bool { code, _ := l.get("/readyz"); return code == 200 })
	calls := realtest.Scale(4_000, 100_000)
	for _, basic := range []bool{false, true} {
		kinds := []string{"unknown", "revoked", "expired", "rotated"}
		if basic {
			kinds = append(kinds, "wrong user")
		}
		name := map[bool]string{false: "Bearer", true: "Basic"}[basic]
		t.Run(name+"/answer", func(t *testing.T) {
			tellApart(t, kinds, calls, l.answering(func(kind string) map[string]string { return anyOf(groups[kind]).headers(basic) }))
		})
	}
}

// Whether there is a user cannot be told from how long a wrong password takes. Each
// is a new one: a known one is not computed again. A hash takes its time, so there
// are fewer calls than of tokens.
func TestTimingOfPasswordsTellsNothing(t *testing.T) {
	realtest.Proof(t)
	for _, kind := range []struct {
		name  string
		calls int
		hash  func(t *testing.T) string
	}{
		{"bcrypt", 500, bcryptOf}, {"argon2id", 3_000, argonOf},
	} {
		t.Run(kind.name, func(t *testing.T) {
			var file strings.Builder
			for n := range 20 {
				fmt.Fprintf(&file, "user-%02d:%s\n", n, kind.hash(t))
			}
			htpasswd := filepath.Join(t.TempDir(), "htpasswd")
			if err := os.WriteFile(htpasswd, []byte(file.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			l := start(t, fmt.Sprintf("listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlog: {audit: {file: none}}\nproviders: []\napi_tokens: {store: %q, htpasswd_file: %q}\n",
				"sqlite:"+filepath.Join(t.TempDir(), "tokens.db"), htpasswd))
			l.eventually("it is ready", func() bool { code, _ := l.get("/readyz"); return code == 200 })
			kinds := []string{"unknown", "wrong", "too long"}
			tellApart(t, kinds, kind.calls, l.answering(func(kind string) map[string]string {
				user, password := fmt.Sprintf("user-%02d", rand.IntN(20)), cryptorand.Text()
				switch kind {
				case "unknown":
					user = fmt.Sprintf("user-%02d", 20+rand.IntN(80))
				case "too long":
					password += strings.Repeat("x", 60)
				}
				return withBasic(user, password)
			}))
		})
	}
}

func bcryptOf(t *testing.T) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(cryptorand.Text()), 10)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// argonOf makes the cheapest hash that is taken.
func argonOf(*testing.T) string {
	salt := []byte(cryptorand.Text())
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=7168,t=1,p=1$%s$%s", argon2.Version, text(salt), text(argon2.IDKey([]byte(cryptorand.Text()), salt, 1, 7168, 1, 32)))
}

// Where the decision is made, without the noise of a network, a few nanoseconds
// can be told apart: what is left of the caches' ways. They must stay so few that
// they vanish in an answer. The race detector counts what the processor does not,
// so this is no part of every run.
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
	awaitTokens(t, g, &groups[""][0])
	// Each reason comes as often as another: the processor guesses a rare one wrong.
	// A token that was rotated is revoked, so it stands for that in turn.
	for _, kinds := range [][]string{{"unknown", "expired", "revoked"}, {"unknown", "expired", "rotated"}} {
		took := measured(kinds, make([][]float64, len(kinds)), 100_000, deciding(t, g, groups))
		middles := make([]float64, len(kinds))
		for k := range kinds {
			middles[k] = median(took[k])
		}
		least, most := slices.Min(middles), slices.Max(middles)
		realtest.Measured(t, "medians of %q: %.0f ns", kinds, middles)
		if most > least*1.05 {
			t.Errorf("medians of %q: %.0f ns; want them within 5 %%", kinds, middles)
		}
	}
}

// answering asks the server, as Envoy does.
func (l *lodge) answering(headers func(kind string) map[string]string) func(kind string) time.Duration {
	return func(kind string) time.Duration {
		q := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: "/x", Host: "api", Headers: headers(kind),
			}},
		}}
		began := time.Now()
		m, err := l.check.Check(l.t.Context(), q)
		took := time.Since(began)
		if err != nil || m.GetDeniedResponse().GetStatus().GetCode() != 401 {
			l.t.Fatalf("%s: %v, %v", kind, m, err)
		}
		return took
	}
}

func anyOf(list []suspect) *suspect { return &list[rand.IntN(len(list))] }

// awaitTokens waits until the gate knows a good token.
func awaitTokens(t *testing.T, g *Gate, s *suspect) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if g.Decide(t.Context(), bearing(s)).Outcome == authz.Allowed {
			return
		}
		<-tick.C
	}
	t.Fatal("the tokens are not known yet")
}

func bearing(s *suspect) authz.Request {
	return authz.Request{
		Method: "GET", Path: "/x", Host: "api", Source: netip.MustParseAddr("192.0.2.1"),
		Headers: []authz.Header{{Name: "authorization", Value: "Bearer " + s.token}},
	}
}

// deciding asks the engine.
func deciding(t *testing.T, g *Gate, groups map[string][]suspect) func(kind string) time.Duration {
	return func(kind string) time.Duration {
		q := bearing(anyOf(groups[kind]))
		began := time.Now()
		d := g.Decide(context.Background(), q)
		took := time.Since(began)
		if d.Outcome != authz.Unauthenticated {
			t.Fatalf("%s: %v", kind, d)
		}
		return took
	}
}

// tellApart measures the kinds in random turns and compares each with each by
// Welch's t, after the slowest part of all measurements, which is the machine's
// doing, was cut off. Beyond 4.5 two kinds count as told apart.
//
// Where they are, as many calls again are added to those that there are, up to
// four times as many: with the number of calls a difference that is there stands
// out more and more, by its root, and one that the machine made up does not.
// None is ever thrown away, so no difference can be hidden by trying again.
func tellApart(t *testing.T, kinds []string, calls int, measure func(kind string) time.Duration) {
	t.Helper()
	took := make([][]float64, len(kinds))
	for again := 1; ; again++ {
		took = measured(kinds, took, calls, measure)
		worst, what, middle := farthest(kinds, took)
		if worst >= 4.5 && again < 4 {
			t.Logf("after %d calls: %s", again*calls, what)
			continue
		}
		realtest.Measured(t, "%d calls, |t| at most %.2f; median %.0f ns", again*calls, worst, middle)
		if worst >= 4.5 {
			t.Errorf("told apart: %s", what)
		}
		return
	}
}

// measured adds measurements of the kinds, in random turns.
func measured(kinds []string, took [][]float64, calls int, measure func(kind string) time.Duration) [][]float64 {
	for i := range calls / 10 { // warms up
		measure(kinds[i%len(kinds)])
	}
	for range calls {
		k := rand.IntN(len(kinds))
		took[k] = append(took[k], float64(measure(kinds[k])))
	}
	return took
}

// farthest returns the two kinds that differ most, and how much.
func farthest(kinds []string, took [][]float64) (worst float64, what string, middle float64) {
	all := slices.Concat(took...)
	slices.Sort(all)
	most := all[len(all)*9/10]
	for a := range kinds {
		for b := range a {
			x, y := crop(took[a], most), crop(took[b], most)
			if w := math.Abs(welch(x, y)); w > worst {
				worst = w
				what = fmt.Sprintf("%s and %s: t = %.2f, medians %.0f and %.0f ns", kinds[a], kinds[b], w, median(took[a]), median(took[b]))
			}
		}
	}
	return worst, what, median(all)
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
