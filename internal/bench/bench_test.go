package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestMain lets the test binary be the no-op server, as the program itself is.
func TestMain(m *testing.M) {
	ownServer(os.Args)
	os.Exit(m.Run())
}

// The whole run, short: every workload against the real server, with a check of
// the real Envoy.
func TestQuick(t *testing.T) {
	realtest.EnvoyPath(t)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		if !strings.Contains(out.String(), "| "+w.name+" | "+leanName+" | **") {
			t.Errorf("no row for %s in\n%s", w.name, &out)
		}
	}
	if !strings.Contains(out.String(), "were still remembered") || strings.Contains(out.String(), " 0.00 %") {
		t.Errorf("nothing of the flood in\n%s", &out)
	}
	for _, name := range []string{"| hot token | " + gatelodgeName + " |", nothingName, jwtCachedName, "1000 requests a second"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("nothing of %s in\n%s", name, &out)
		}
	}
}

// A server that answers wrongly is not timed, whichever answer it is.
func TestWrongAnswerEndsTheRun(t *testing.T) {
	l := &lab{options: &options{}, dir: t.TempDir()}
	s, err := l.startNoop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	message, err := proto.Marshal(&authv3.CheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c := &captured{message: message}
	client, err := dial(s.address, c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.close()
	list := make([]request, 100)
	if _, err := client.run(c, list, 8, s.judge); err != nil {
		t.Fatalf("right answers: %v", err)
	}
	seen, wrong := 0, errors.New("wrong")
	_, err = client.run(c, list, 8, func(*request, []byte) error {
		if seen++; seen == 57 {
			return wrong
		}
		return nil
	})
	if !errors.Is(err, wrong) {
		t.Errorf("a wrong answer among good ones: %v", err)
	}
}

func ok(user string) *authv3.CheckResponse {
	return &authv3.CheckResponse{Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: userHeader, Value: user}}},
	}}}
}

func denied(code int32) *authv3.CheckResponse {
	return &authv3.CheckResponse{Status: &status.Status{Code: code}, HttpResponse: &authv3.CheckResponse_DeniedResponse{
		DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: 401}},
	}}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		user   string
		answer *authv3.CheckResponse
		right  bool
	}{
		{"the user", "alice", ok("alice"), true},
		{"another user", "alice", ok("mallory"), false},
		{"a longer name", "alice", ok("alice2"), false},
		{"no user", "alice", ok(""), false},
		{"denied", "alice", denied(16), false},
		{"denied, as it must be", "", denied(16), true},
		{"let through", "", ok(""), false},
		{"cannot tell", "", denied(14), false},
		{"nothing", "", &authv3.CheckResponse{}, false},
		{"nothing for a user", "alice", &authv3.CheckResponse{}, false},
	} {
		b, err := proto.Marshal(c.answer)
		if err != nil {
			t.Fatal(err)
		}
		if err := judgeGatelodge(&request{user: c.user}, b); (err == nil) != c.right {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRatio(t *testing.T) {
	ours, noop := &series{name: gatelodgeName}, &series{name: noopName}
	for _, pair := range [][2]time.Duration{{10, 20}, {30, 20}, {12, 10}, {2, 8}, {9, 10}} {
		ours.samples = append(ours.samples, sample{server: pair[0]})
		noop.samples = append(noop.samples, sample{server: pair[1]})
	}
	c := comparison{series: []*series{noop, ours}}
	if mid, low, high := c.ratio(ours, serverCPU); mid != 0.9 || low != 0.25 || high != 1.5 {
		t.Errorf("ratio %v, %v to %v", mid, low, high)
	}
	if p := quantile([]time.Duration{5, 1, 4, 2, 3}, 0.5); p != 3 {
		t.Errorf("median %v", p)
	}
}

func TestTableInReadme(t *testing.T) {
	old := "# Gatelodge\n" + tableBegins + "old\n" + tableEnds + "more\n"
	want := "# Gatelodge\n" + tableBegins + "new\n" + tableEnds + "more\n"
	if got := string(between([]byte(old), "new\n")); got != want {
		t.Errorf("%q", got)
	}
	for _, text := range []string{"nothing", tableBegins + "open", tableEnds} {
		if got := string(between([]byte(text), "new\n")); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestCPUOfThisProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		_ = userOf(1)
	}
	after, err := cpuOf(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%v, then %v (%v)", before, after, err)
	}
}

func TestLaunchTellsWhyAProgramEnded(t *testing.T) {
	p, err := launch(context.Background(), t.TempDir(), "liar", "/bin/sh", "-c", "echo not today; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(func() bool { return false }); err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("%v", err)
	}
}
