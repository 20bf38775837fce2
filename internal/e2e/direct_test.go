package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// A form is one way in which a check carries headers.
type form struct {
	name string
	put  func(q *authv3.AttributeContext_HttpRequest, list []field)
}

// forms are Envoy's two, and what some other program might send in their place.
var forms = []form{
	{"headers", func(q *authv3.AttributeContext_HttpRequest, list []field) {
		q.Headers = map[string]string{}
		for _, h := range list {
			if before, twice := q.Headers[h.name]; twice {
				h.value = before + "," + h.value
			}
			q.Headers[h.name] = strings.ToValidUTF8(h.value, "!")
		}
	}},
	{"header_map, raw", func(q *authv3.AttributeContext_HttpRequest, list []field) {
		q.HeaderMap = &corev3.HeaderMap{}
		for _, h := range list {
			q.HeaderMap.Headers = append(q.HeaderMap.Headers, &corev3.HeaderValue{Key: h.name, RawValue: []byte(h.value)})
		}
	}},
	{"header_map, text", func(q *authv3.AttributeContext_HttpRequest, list []field) {
		q.HeaderMap = &corev3.HeaderMap{}
		for _, h := range list {
			q.HeaderMap.Headers = append(q.HeaderMap.Headers, &corev3.HeaderValue{Key: h.name, Value: strings.ToValidUTF8(h.value, "!")})
		}
	}},
}

// TestCredentialsWithoutEnvoy presents every credential in a check of our own
// making, where no proxy tidies up: nothing but a good one gets in.
func TestCredentialsWithoutEnvoy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	client := l.client(t)
	list := append(l.presentations(t), l.tokens(t)...)
	for _, f := range forms {
		for _, c := range list {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				q := &authv3.AttributeContext_HttpRequest{Method: "GET", Path: c.target, Host: "api.example.test", Scheme: "http"}
				if q.Path == "" {
					q.Path = "/issues/1"
				}
				f.put(q, c.headers)
				status, user := client.ask(t, q)
				switch {
				case c.user != "":
					if status != 200 || user != c.user {
						t.Errorf("%d %q, want %q let through", status, user, c.user)
					}
				case status == 200 && c.name == "stripped on the way": // by a proxy, and here is none
				case status != 401 && status != 400 && status != c.status:
					t.Errorf("status %d for %q", status, user)
				case c.status != 0 && status != c.status && !strings.Contains(f.name, "text"):
					t.Errorf("status %d, want %d", status, c.status)
				}
			})
		}
	}
	realtest.Measured(t, "%d credentials in %d forms", len(list), len(forms))
}

// TestChecksThatContradictThemselves sends a good token in checks that could be
// read in two ways, and what is much too large: none gets in.
func TestChecksThatContradictThemselves(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	client := l.client(t)
	good := "Bearer " + l.issuer.token("alice")
	raw := func(list ...*corev3.HeaderValue) *corev3.HeaderMap { return &corev3.HeaderMap{Headers: list} }
	many := make([]*corev3.HeaderValue, 10_000)
	for n := range many {
		many[n] = &corev3.HeaderValue{Key: fmt.Sprintf("x-%d", n), RawValue: []byte("1")}
	}
	many[5000] = &corev3.HeaderValue{Key: "authorization", RawValue: []byte(good)}
	for name, q := range map[string]*authv3.AttributeContext_HttpRequest{
		"both forms":             {Headers: map[string]string{"authorization": good}, HeaderMap: raw(&corev3.HeaderValue{Key: "authorization", RawValue: []byte(good)})},
		"two values in one":      {HeaderMap: raw(&corev3.HeaderValue{Key: "authorization", Value: good, RawValue: []byte("Bearer x")})},
		"twice in the list":      {HeaderMap: raw(&corev3.HeaderValue{Key: "authorization", RawValue: []byte(good)}, &corev3.HeaderValue{Key: "authorization", RawValue: []byte(good)})},
		"twice, in another case": {HeaderMap: raw(&corev3.HeaderValue{Key: "authorization", RawValue: []byte(good)}, &corev3.HeaderValue{Key: "Authorization", RawValue: []byte("Bearer x")})},
		"in two cases":           {Headers: map[string]string{"authorization": good, "Authorization": "Bearer x"}},
		"mangled name":           {Headers: map[string]string{"authorization": good, "x-forwarded-us!r": "admin"}},
		"space in a name":        {Headers: map[string]string{"authorization": good, "x-forwarded-user ": "admin"}},
		"10,000 headers":         {HeaderMap: raw(many...)},
		"a header of 2 MiB":      {Headers: map[string]string{"authorization": good, "x": strings.Repeat("a", 2<<20)}},
		"no path":                {Headers: map[string]string{"authorization": good}, Path: ""},
		"path without slash":     {Headers: map[string]string{"authorization": good}, Path: "issues"},
	} {
		t.Run(name, func(t *testing.T) {
			if q.Method, q.Host = "GET", "api.example.test"; q.Path == "" && name != "no path" {
				q.Path = "/issues"
			}
			if status, user := client.ask(t, q); status != 400 {
				t.Errorf("status %d for %q", status, user)
			}
		})
	}
	for name, m := range map[string]*authv3.CheckRequest{
		"nothing": {}, "no request": {Attributes: &authv3.AttributeContext{}}, "no HTTP": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}},
		"empty HTTP": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{}}}},
	} {
		if status, _ := client.send(t, m); status != 400 {
			t.Errorf("%s: status %d", name, status)
		}
	}
}

// direct asks Gatelodge as Envoy does.
type direct struct{ authv3.AuthorizationClient }

func (l *lab) client(t testing.TB) direct {
	t.Helper()
	conn, err := grpc.NewClient(l.gatelodge.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return direct{authv3.NewAuthorizationClient(conn)}
}

func (d direct) ask(t *testing.T, q *authv3.AttributeContext_HttpRequest) (status int, user string) {
	t.Helper()
	return d.send(t, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: q}}})
}

// send returns the HTTP status of the answer, 200 for one that lets through,
// and the user that the upstream is told. The two promises hold for each.
func (d direct) send(t *testing.T, q *authv3.CheckRequest) (status int, user string) {
	t.Helper()
	m, err := d.Check(t.Context(), q)
	if err != nil {
		t.Fatalf("a gRPC error: %v", err)
	}
	ok := m.GetOkResponse()
	if (ok != nil) != (m.GetStatus().GetCode() == int32(codes.OK)) || (ok == nil) != (m.GetDeniedResponse() != nil) {
		t.Fatalf("neither a yes nor a denial: %v", m)
	}
	if ok == nil {
		return int(m.GetDeniedResponse().GetStatus().GetCode()), ""
	}
	for _, h := range ok.GetHeaders() {
		if h.GetHeader().GetKey() == "x-forwarded-user" {
			user = h.GetHeader().GetValue()
		}
	}
	return 200, user
}
