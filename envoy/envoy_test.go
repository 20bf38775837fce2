package envoy

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

type deciderFunc func(context.Context, authz.Request) authz.Decision

func (f deciderFunc) Decide(ctx context.Context, q authz.Request) authz.Decision { return f(ctx, q) }

// onBoth runs a test on each transport.
func onBoth(t *testing.T, test func(t *testing.T, o Options)) {
	t.Helper()
	t.Run("grpc-go", func(t *testing.T) { test(t, Options{}) })
	t.Run("lean", func(t *testing.T) { test(t, Options{Lean: true}) })
}

// dial serves decider and returns a client as Envoy is one.
func dial(t *testing.T, decider Decider, o Options) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := NewServer(decider, o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///x",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func checkOf(headers map[string]string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "1", Method: "GET", Path: "/rest/api/content/?limit=1", Host: "api.example.com", Scheme: "https",
			Protocol: "HTTP/2", Headers: headers,
		}},
	}}
}

var policy = &authz.Policy{
	Enabled: true, Realm: "wiki", KeyHeader: "x-api-key",
	Headers: authz.HeaderNames{User: "x-forwarded-user", Email: "x-forwarded-email", Groups: "x-forwarded-groups"},
}

var alice = &authz.Identity{User: "alice", Email: "alice@example.com", Groups: []string{"eng", "a,b", "ops"}, Client: "cli", TokenID: "t1"}

func TestCheckOverGRPC(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		var got authz.Request
		conn := dial(t, deciderFunc(func(_ context.Context, q authz.Request) authz.Decision {
			got = q.Clone()
			return authz.Decision{Outcome: authz.Allowed, Policy: policy, Identity: alice, Reason: authz.ReasonVerified}
		}), o)
		answer, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), checkOf(map[string]string{"authorization": "Bearer x"}))
		if err != nil {
			t.Fatal(err)
		}
		if answer.GetStatus().GetCode() != int32(codes.OK) || answer.GetOkResponse().GetHeaders()[0].GetHeader().GetValue() != "alice" {
			t.Errorf("answer: %v", answer)
		}
		want := authz.Request{
			Method: "GET", Host: "api.example.com", Path: "/rest/api/content/?limit=1", Scheme: "https",
			Headers: []authz.Header{{Name: "authorization", Value: "Bearer x"}},
		}
		if got.Source.String() != "192.0.2.7" {
			t.Errorf("source: %v", got.Source)
		}
		if got.Method != want.Method || got.Path != want.Path || got.Host != want.Host || !slices.Equal(got.Headers, want.Headers) {
			t.Errorf("got %+v", got)
		}

		health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
		if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health: %v, %v", health, err)
		}
	})
}

// Whatever a decider does, the answer is no gRPC error and no yes.
func TestPromises(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		for name, decide := range map[string]deciderFunc{
			"panics":             func(context.Context, authz.Request) authz.Decision { panic("with a secret in it") },
			"nil panic":          func(context.Context, authz.Request) authz.Decision { panic(errors.New("x")) },
			"zero":               func(context.Context, authz.Request) authz.Decision { return authz.Decision{} },
			"allowed, no policy": func(context.Context, authz.Request) authz.Decision { return authz.Decision{Outcome: authz.Allowed} },
			"answered, no policy": func(context.Context, authz.Request) authz.Decision {
				return authz.Decision{Outcome: authz.Answered, Document: []byte("{}")}
			},
			"user that is no header value": func(context.Context, authz.Request) authz.Decision {
				return authz.Decision{Outcome: authz.Allowed, Policy: policy, Identity: &authz.Identity{User: "a\r\nb"}}
			},
			"empty user": func(context.Context, authz.Request) authz.Decision {
				return authz.Decision{Outcome: authz.Allowed, Policy: policy, Identity: &authz.Identity{}}
			},
		} {
			t.Run(name, func(t *testing.T) {
				conn := dial(t, decide, o)
				answer, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), checkOf(nil))
				if err != nil {
					t.Fatalf("a gRPC error: %v", err)
				}
				if answer.GetStatus().GetCode() == 0 || answer.GetOkResponse() != nil || answer.GetDeniedResponse().GetStatus().GetCode() < 400 {
					t.Errorf("not a denial: %v", answer)
				}
				if strings.Contains(answer.String(), "secret") {
					t.Errorf("tells of the panic: %v", answer)
				}
			})
		}
	})
}

// record keeps what it is told.
type record struct {
	mu   sync.Mutex
	list []authz.Decision
}

func (r *record) Observe(_ *authz.Request, d *authz.Decision, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, *d)
}

// of returns the decision that an answer names.
func (r *record) of(m *authv3.CheckResponse) *authz.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		if id := r.list[i].ID.String(); id == m.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue() &&
			strings.Contains(m.GetDeniedResponse().GetBody(), id) {
			return &r.list[i]
		}
	}
	return nil
}

// What is not decided by an engine has an id of its own as well, which the
// caller and the record share.
func TestEveryDenialCanBeFound(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		var told record
		conn := dial(t, deciderFunc(func(context.Context, authz.Request) authz.Decision { panic("x") }), Options{Observer: &told, Lean: o.Lean})
		seen := map[string]bool{}
		for range 3 {
			answer, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), checkOf(nil))
			if err != nil {
				t.Fatal(err)
			}
			d := told.of(answer)
			if d == nil || d.Reason != authz.ReasonPanic || seen[d.ID.String()] {
				t.Fatalf("%v is recorded as %+v", answer, d)
			}
			seen[d.ID.String()] = true
		}
	})
}

type fallen struct{}

func (fallen) Observe(*authz.Request, *authz.Decision, time.Duration) { panic("x") }

// Who is told of decisions can neither let anybody through nor end the server.
func TestAPanickingObserverDenies(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		allow := deciderFunc(func(context.Context, authz.Request) authz.Decision {
			return authz.Decision{Outcome: authz.Allowed, Policy: policy, Identity: alice}
		})
		client := authv3.NewAuthorizationClient(dial(t, allow, Options{Observer: fallen{}, MaxInFlight: 1, Lean: o.Lean}))
		for range 3 { // the place in flight is given back
			answer, err := client.Check(t.Context(), checkOf(nil))
			if err != nil || answer.GetDeniedResponse().GetStatus().GetCode() != 503 || strings.Contains(answer.String(), "alice") {
				t.Fatalf("%v, %v", answer, err)
			}
		}
	})
}

func TestLoadIsShedAsDenial(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		hold, entered := make(chan struct{}), make(chan struct{}, 1)
		var told record
		conn := dial(t, deciderFunc(func(ctx context.Context, _ authz.Request) authz.Decision {
			authz.TellSlow(ctx)
			entered <- struct{}{}
			<-hold
			return authz.Decision{}
		}), Options{MaxInFlight: 1, Observer: &told, Lean: o.Lean})
		client := authv3.NewAuthorizationClient(conn)
		first := make(chan error, 1)
		go func() {
			_, err := client.Check(t.Context(), checkOf(nil))
			first <- err
		}()
		<-entered
		answer, err := client.Check(t.Context(), checkOf(nil))
		if err != nil || answer.GetDeniedResponse().GetStatus().GetCode() != 503 {
			t.Errorf("got %v, %v", answer, err)
		}
		if d := told.of(answer); d == nil || d.Reason != authz.ReasonOverload {
			t.Errorf("recorded as %+v", d)
		}
		close(hold)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// What the lean transport has no room for is shed as everything else is.
func TestNoRoomIsADenial(t *testing.T) {
	var told record
	s := NewServer(nil, Options{Lean: true, Observer: &told})
	out, err := s.leanBusy(t.Context(), nil, nil)
	var m authv3.CheckResponse
	if err != nil || proto.Unmarshal(out, &m) != nil || m.GetDeniedResponse().GetStatus().GetCode() != 503 || m.GetStatus().GetCode() == 0 {
		t.Errorf("%v, %v", &m, err)
	}
	if d := told.of(&m); d == nil || d.Reason != authz.ReasonOverload {
		t.Errorf("recorded as %+v", d)
	}

	s = NewServer(nil, Options{Lean: true, Observer: fallen{}})
	if out, err = s.leanBusy(t.Context(), nil, nil); err != nil || proto.Unmarshal(out, &m) != nil || m.GetDeniedResponse().GetStatus().GetCode() != 503 {
		t.Errorf("where nobody can be told: %v, %v", &m, err)
	}
}

// An answer without a byte would be a yes: it never leaves the server.
func TestEmptyAnswerIsNoAnswer(t *testing.T) {
	for _, a := range []*answer{nil, new(answer), {}} {
		if out, err := newCodec().Marshal(a); err == nil {
			t.Errorf("%v became %v", a, out)
		}
	}
}

// Nothing of a server goes on after Stop, even with a check that does not end.
func TestStopLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		realtest.NothingLeft(t)
		hold, entered := make(chan struct{}), make(chan struct{})
		l := bufconn.Listen(1 << 20)
		s := NewServer(deciderFunc(func(ctx context.Context, _ authz.Request) authz.Decision {
			authz.TellSlow(ctx)
			close(entered)
			<-hold
			return authz.Decision{}
		}), Options{DrainDelay: time.Millisecond, Lean: o.Lean})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() {
			_, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), checkOf(nil))
			asked <- err
		}()
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		stopped := make(chan struct{})
		go func() { s.Stop(ctx); close(stopped) }()
		if err := <-asked; err == nil {
			t.Error("a check that did not end was answered")
		}
		close(hold)
		<-stopped
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	})
}

// respond renders a decision and reads it back with Envoy's own types.
func respond(t testing.TB, p *authz.Policy, q *authz.Request, d authz.Decision) *authv3.CheckResponse {
	t.Helper()
	var m authv3.CheckResponse
	if err := proto.Unmarshal(render(p).write(nil, q, &d), &m); err != nil {
		t.Fatalf("Envoy could not read the answer: %v", err)
	}
	return &m
}

// Status OK goes with Allowed and with nothing else, for every decision there is.
func TestOnlyAllowedIsOK(t *testing.T) {
	q := &authz.Request{}
	for o := authz.Undecided; o <= authz.Answered; o++ {
		for reason := range authz.Reasons {
			for _, id := range []*authz.Identity{nil, alice} {
				m := respond(t, policy, q, authz.Decision{Outcome: o, Reason: authz.Reason(reason), Policy: policy, Identity: id})
				ok := m.GetStatus().GetCode() == 0
				if ok != (o == authz.Allowed) || ok != (m.GetOkResponse() != nil) || ok == (m.GetDeniedResponse() != nil) {
					t.Errorf("%v/%v: %v", o, authz.Reason(reason), m)
				}
				status := int(m.GetDeniedResponse().GetStatus().GetCode())
				want := map[authz.Outcome]int{authz.Undecided: 503, authz.Unauthenticated: 401, authz.Malformed: 400, authz.Forbidden: 403, authz.Answered: 200}[o]
				if status != want {
					t.Errorf("%v/%v: HTTP %d, want %d", o, authz.Reason(reason), status, want)
				}
				if m.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue() == "" {
					t.Errorf("%v: no decision id", o)
				}
			}
		}
	}
}

// The cause of a refusal is not to be told from the answer.
func TestRefusalsLookAlike(t *testing.T) {
	var first []byte
	for reason := range authz.Reasons {
		r := authz.Reason(reason)
		if slices.Contains([]authz.Reason{authz.ReasonExpired, authz.ReasonStepUp, authz.ReasonProof, authz.ReasonProofNonce, authz.ReasonNoCredential, authz.ReasonUnsupportedScheme}, r) {
			continue
		}
		m := respond(t, policy, &authz.Request{}, authz.Decision{Outcome: authz.Unauthenticated, Reason: r, Policy: policy, Detail: "for the log"})
		m.DynamicMetadata = nil // stays inside Envoy
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if first == nil {
			first = b
		}
		if !slices.Equal(first, b) {
			t.Errorf("%v is answered differently: %v", r, m)
		}
	}
}

func TestGoldenAnswers(t *testing.T) {
	named := &authz.Rule{Name: "rest", Allow: authz.Allow{Scopes: []string{"read", "write"}, ACR: []string{"mfa"}, MaxAge: time.Hour}}
	open := *policy
	open.AllowBasic, open.ResourceMetadata = true, "https://api.example.com/.well-known/oauth-protected-resource"
	all := *policy
	all.Headers.Provider, all.Headers.Subject, all.NonASCII = "x-forwarded-provider", "x-forwarded-subject", authz.PercentEncode
	plain := &authz.Request{Headers: []authz.Header{{Name: "accept", Value: "text/html, application/json"}}}
	for name, c := range map[string]struct {
		policy *authz.Policy
		q      *authz.Request
		d      authz.Decision
	}{
		"allow":               {policy, nil, authz.Decision{Outcome: authz.Allowed, Reason: authz.ReasonVerified, Provider: "sso", Identity: alice, Rule: named}},
		"allow-keep":          {policy, nil, authz.Decision{Outcome: authz.Allowed, Reason: authz.ReasonPublic, KeepCredential: true}},
		"allow-all":           {&all, nil, authz.Decision{Outcome: authz.Allowed, Provider: "sso", Identity: &authz.Identity{User: "zoë 100%", Email: "no\nmail", Subject: "s-1"}}},
		"no-credential":       {policy, nil, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonNoCredential}},
		"no-credential-basic": {&open, nil, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonNoCredential}},
		"refused":             {policy, nil, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonSignature, Detail: "not shown"}},
		"refused-text":        {policy, plain, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonSignature}},
		"expired":             {policy, nil, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonExpired}},
		"malformed":           {policy, nil, authz.Decision{Outcome: authz.Malformed, Reason: authz.ReasonAmbiguousCredential}},
		"scope":               {policy, nil, authz.Decision{Outcome: authz.Forbidden, Reason: authz.ReasonScope, Rule: named}},
		"forbidden":           {policy, nil, authz.Decision{Outcome: authz.Forbidden, Reason: authz.ReasonGroupNotAllowed, Rule: named}},
		"step-up":             {policy, nil, authz.Decision{Outcome: authz.Unauthenticated, Reason: authz.ReasonStepUp, Rule: named}},
		"unavailable":         {policy, nil, authz.Decision{Outcome: authz.Undecided, Reason: authz.ReasonThrottled, RetryAfter: 6500 * time.Millisecond}},
		"document":            {policy, nil, authz.Decision{Outcome: authz.Answered, Reason: authz.ReasonDocument, Document: []byte(`{"resource":"https://api.example.com"}`)}},
	} {
		q := c.q
		if q == nil {
			q = &authz.Request{}
		}
		got := []byte(indent(protojson.Format(respond(t, c.policy, q, c.d))))
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// indent undoes the white space that protojson varies from build to build.
func indent(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, ":  ", ": "), "\t", "  ") + "\n"
}

// A header that is set is never removed too: Envoy removes after it sets.
func TestNeverRemovesWhatItSets(t *testing.T) {
	for _, id := range []*authz.Identity{nil, alice, {User: "bob"}} {
		m := respond(t, policy, &authz.Request{}, authz.Decision{Outcome: authz.Allowed, Identity: id})
		handled := map[string]int{}
		for _, h := range m.GetOkResponse().GetHeaders() {
			handled[h.GetHeader().GetKey()]++
			if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
				t.Errorf("%v may be added to what the caller sent", h)
			}
		}
		for _, name := range m.GetOkResponse().GetHeadersToRemove() {
			handled[name]++
		}
		for _, name := range headerNames(&policy.Headers) {
			if name == "" {
				continue
			}
			for _, spelled := range append(spellings(name), name) {
				if handled[spelled] != 1 {
					t.Errorf("%s is set or removed %d times", spelled, handled[spelled])
				}
			}
		}
	}
}

func TestAnswersAllocateNothing(t *testing.T) {
	data := benchCheck()
	everything := *policy
	everything.Headers.Provider, everything.Headers.Subject = "x-forwarded-provider", "x-forwarded-subject"
	everything.AllowBasic, everything.ResourceMetadata = true, "https://api.example.com/.well-known/oauth-protected-resource"
	r, buf := render(&everything), make([]byte, 0, 4096)
	for _, d := range []authz.Decision{
		{Outcome: authz.Allowed, Identity: alice, Provider: "sso", Reason: authz.ReasonVerified, Rule: &authz.Rule{Name: "content"}},
		{Outcome: authz.Unauthenticated, Reason: authz.ReasonNoCredential},
		{Outcome: authz.Unauthenticated, Reason: authz.ReasonSignature, Provider: "sso"},
		{Outcome: authz.Forbidden, Reason: authz.ReasonGroupNotAllowed, Provider: "sso", Identity: alice},
	} {
		var q authz.Request
		read(data, &q)
		if n := testing.AllocsPerRun(1000, func() {
			read(data, &q)
			buf = r.write(buf[:0], &q, &d)
		}); n != 0 {
			t.Errorf("%s for %s: %v allocations", d.Outcome, d.Reason, n)
		}
		if q.Unreadable != "" || len(q.Headers) != 15 {
			t.Errorf("%+v", q)
		}
	}
}

// Lengths of one, two and three bytes are encoded as the generated code does.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 70000} {
		s := strings.Repeat("v", n)
		got := appendHeader(nil, 2, "x-name", s)
		want := marshal(&authv3.DeniedHttpResponse{Headers: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: "x-name", Value: s},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}})
		if n > 0 && !slices.Equal(got, want) {
			t.Errorf("%d bytes: not as the generated code encodes it", n)
		}
		var m authv3.DeniedHttpResponse
		if err := proto.Unmarshal(got, &m); err != nil || m.GetHeaders()[0].GetHeader().GetValue() != s {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// benchCheck is a check of usual size: 15 headers, a token of 1.2 kB.
func benchCheck() []byte {
	m := checkOf(nil)
	m.Attributes.Request.Http.Path = "/rest/api/content/163840?limit=1"
	list := []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer " + strings.Repeat("x", 1200))}}
	for i := range 14 {
		list = append(list, &corev3.HeaderValue{Key: fmt.Sprintf("x-some-header-%d", i), RawValue: []byte("some value that a browser would send")})
	}
	m.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: list}
	return marshal(m)
}

func BenchmarkRead(b *testing.B) {
	data := benchCheck()
	var q authz.Request
	b.ReportAllocs()
	for b.Loop() {
		read(data, &q)
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, d := range []authz.Decision{
		{Outcome: authz.Allowed, Policy: policy, Identity: alice, Provider: "sso", Reason: authz.ReasonVerified, Rule: &authz.Rule{Name: "content"}},
		{Outcome: authz.Unauthenticated, Policy: policy, Reason: authz.ReasonNoCredential},
	} {
		b.Run(d.Outcome.String(), func(b *testing.B) {
			r, buf := render(policy), make([]byte, 0, 4096)
			var q authz.Request
			read(benchCheck(), &q)
			b.ReportAllocs()
			for b.Loop() {
				buf = r.write(buf[:0], &q, &d)
			}
		})
	}
}
