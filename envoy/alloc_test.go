package envoy

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/authz"
)

// keeper is a provider that knows one user, and has to be asked for nobody else.
type keeper struct{ asked int }

func (k *keeper) Owns(authz.Credential) bool { return true }

func (k *keeper) Verify(context.Context, authz.Credential) (authz.Identity, error) {
	k.asked++
	return authz.Identity{User: "alice", Email: "alice@example.com", Groups: []string{"eng", "ops"}, Client: "cli", Scopes: []string{"read"}}, nil
}

// drawer is a provider that answers from memory, and makes each answer anew.
type drawer struct{ keeper }

func (*drawer) Owns(c authz.Credential) bool { return c.Kind == authz.APIKey }

func (*drawer) Lookup(_ authz.Credential, _ netip.Addr, room *authz.Room) (*authz.Identity, error) {
	room.Identity = authz.Identity{User: "alice", TokenID: room.Keep([]byte("token-1")), Groups: groupsOfAlice, Scopes: groupsOfAlice[1:]}
	return &room.Identity, nil
}

var groupsOfAlice = []string{"eng", "ops"}

// tally is an observer that counts.
type tally struct{ seen [authz.Reasons]int }

func (n *tally) Observe(_ *authz.Request, d *authz.Decision, _ time.Duration) { n.seen[d.Reason]++ }

// The whole trip of a check inside gRPC, with the real engine, allocates
// nothing: from the bytes of the request to those of the answer.
func TestCheckAllocatesNothing(t *testing.T) {
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		t.Fatal(err)
	}
	p := *policy
	p.Rules = []authz.Rule{
		{Name: "open", Match: authz.Match{Paths: []string{"/status"}}, Access: authz.Public},
		{Name: "rest", Match: authz.Match{Paths: []string{"/rest/**"}, Methods: []string{"GET"}}, Allow: authz.Allow{Groups: []string{"ops"}, Scopes: []string{"read", "ops"}}},
	}
	provider := &keeper{}
	p.Providers = []authz.NamedProvider{{Name: "keys", Provider: new(drawer)}, {Name: "sso", Provider: provider, CacheFor: time.Hour}}
	engine, err := authz.New(&p, cache, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	s := NewServer(engine, Options{Observer: &n})

	silent := checkOf(nil)
	silent.Attributes.Request.Http.Path = "/rest/api/content/163840?limit=1"
	silent.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "accept", RawValue: []byte("*/*")}}}
	keyed := proto.Clone(silent).(*authv3.CheckRequest)
	keyed.Attributes.Request.Http.HeaderMap.Headers = append(keyed.Attributes.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: "x-api-key", RawValue: []byte("k")})
	for _, c := range []struct {
		reason authz.Reason
		data   []byte
	}{
		{authz.ReasonVerified, benchCheck()}, {authz.ReasonVerified, marshal(keyed)}, {authz.ReasonNoCredential, marshal(silent)},
	} {
		reason, data := c.reason, c.data
		ctx, message := t.Context(), mem.BufferSlice{mem.SliceBuffer(data)}
		c := newCodec()
		decode := func(v any) error { return c.Unmarshal(message, v) }
		var out []byte
		check := func() {
			a, err := handleCheck(s, ctx, decode, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out[:0], *a.(*answer)...)
			answerPool{}.Put((*[]byte)(a.(*answer))) // as gRPC does once it is sent
		}
		check()
		before := n.seen[reason]
		if allocs := testing.AllocsPerRun(1000, check); allocs != 0 && !raceDetector {
			t.Errorf("%s: %v allocations", reason, allocs)
		}
		if n.seen[reason] != before+1001 {
			t.Errorf("%s: observed %d times", reason, n.seen[reason]-before)
		}
		if allowed := strings.Contains(string(out), "alice"); allowed != (reason == authz.ReasonVerified) {
			t.Errorf("%s: answered %q", reason, out)
		}
	}
	if provider.asked != 1 {
		t.Errorf("the provider was asked %d times", provider.asked)
	}
}

func BenchmarkCheck(b *testing.B) {
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		b.Fatal(err)
	}
	p := *policy
	p.Providers = []authz.NamedProvider{{Name: "sso", Provider: &keeper{}, CacheFor: time.Hour}}
	engine, err := authz.New(&p, cache, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(engine, Options{Observer: &tally{}})
	ctx, message := b.Context(), mem.BufferSlice{mem.SliceBuffer(benchCheck())}
	c := newCodec()
	decode := func(v any) error { return c.Unmarshal(message, v) }
	b.ReportAllocs()
	for b.Loop() {
		a, err := handleCheck(s, ctx, decode, nil)
		if err != nil {
			b.Fatal(err)
		}
		answerPool{}.Put((*[]byte)(a.(*answer)))
	}
}
