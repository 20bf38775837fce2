package e2e

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// front is an Envoy with an upstream behind it, asking authorization servers.
type front struct {
	envoy    *realtest.EnvoyProcess
	upstream *upstream
}

func newFront(t testing.TB, authz ...string) *front {
	t.Helper()
	u := newUpstream(t)
	return &front{envoy: realtest.Envoy(t, bootstrap(u.address, authz...)), upstream: u}
}

var caseNumber atomic.Int64

// send sends a request through Envoy and returns the reply with what the
// upstream saw of it: nil when it saw nothing.
func (f *front) send(t testing.TB, p protocol, v variant, q request) (reply, *received) {
	t.Helper()
	name := strconv.FormatInt(caseNumber.Add(1), 10)
	if q.method == "" {
		q.method = "GET"
	}
	if q.host == "" {
		q.host = "api.example.test"
	}
	q.headers = append([]field{{caseHeader, name}}, q.headers...)
	r, err := p.send(f.envoy.Address(v.name), q)
	if err != nil {
		t.Errorf("sending the request: %v", err)
	}
	return r, f.upstream.take(name)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// everyWay runs a test for every protocol and every variant of Envoy.
func everyWay(t *testing.T, test func(t *testing.T, p protocol, v variant)) {
	t.Helper()
	for _, p := range protocols {
		for _, v := range variants {
			t.Run(p.name+"/"+v.name, func(t *testing.T) { test(t, p, v) })
		}
	}
}

func TestWithoutAnAnswerNothingPasses(t *testing.T) {
	t.Parallel()
	f := newFront(t, loopback(realtest.FreePort(t)))
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		r, seen := f.send(t, p, v, request{target: "/public"})
		if r.status != notAsked || seen != nil {
			t.Errorf("nobody answered Envoy, and yet: status %d, upstream saw %v", r.status, seen)
		}
	})
}

// brief shows a request in a message.
func brief(q request) string {
	return strings.ToValidUTF8(fmt.Sprintf("%s %.100q host %q %.200q", q.method, q.target, q.host, q.headers), "?")
}
