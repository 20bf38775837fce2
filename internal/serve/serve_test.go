package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/telemetry"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// logbook is a writer that two goroutines may use.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lodge is a server under test.
type lodge struct {
	t     *testing.T
	file  string
	log   *logbook
	admin string
	check authv3.AuthorizationClient
	grpc  string
	stop  func() // tells it to
}

func start(t *testing.T, text string) *lodge {
	t.Helper()
	l := &lodge{t: t, file: filepath.Join(t.TempDir(), "gatelodge.yaml"), log: &logbook{}}
	l.write(text)
	ctx, cancel := context.WithCancel(context.Background())
	type addresses struct{ grpc, admin net.Addr }
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Config: l.file, Log: l.log, Ready: func(g, a net.Addr) { ready <- addresses{g, a} }})
	}()
	select {
	case a := <-ready:
		conn, err := grpc.NewClient(a.grpc.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		l.stop, l.grpc = cancel, a.grpc.String()
		l.check, l.admin = authv3.NewAuthorizationClient(conn), "http://"+a.admin.String()
		t.Cleanup(func() {
			_ = conn.Close()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	case err := <-ended:
		cancel()
		t.Fatalf("did not start: %v\n%s", err, l.log)
	}
	return l
}

func (l *lodge) write(text string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// ask returns the HTTP status and the user that a request gets.
func (l *lodge) ask(path, token string) (int, string) {
	l.t.Helper()
	headers := map[string]string{}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	m, err := l.check.Check(l.t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: path, Host: "api", Headers: headers}},
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	if m.GetOkResponse() == nil {
		return int(m.GetDeniedResponse().GetStatus().GetCode()), ""
	}
	for _, h := range m.GetOkResponse().GetHeaders() {
		if h.GetHeader().GetKey() == "x-forwarded-user" {
			return 200, h.GetHeader().GetValue()
		}
	}
	return 200, ""
}

func (l *lodge) get(path string) (int, string) {
	l.t.Helper()
	resp, err := http.Get(l.admin + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// eventually waits for what the server does in the background.
func (l *lodge) eventually(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			l.t.Fatalf("%s: not within 10 s\n%s", what, l.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func configFor(i *providertest.Issuer, more string) string {
	return fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - {name: sso, type: oidc, issuer: %q, audiences: api}
rules:
  - {name: open, match: {paths: /status}, access: public}
%s`, i.URL, more)
}

func TestServe(t *testing.T) {
	i := providertest.NewIssuer(t)
	l := start(t, configFor(i, ""))
	token := i.Token("alice", nil)
	for _, c := range []struct {
		path, token string
		status      int
		user        string
	}{
		{"/rest/api/content/", token, 200, "alice"},
		{"/rest/api/content/", token, 200, "alice"},
		{"/rest", "", 401, ""},
		{"/rest", i.Token("alice", map[string]any{"aud": "other"}), 401, ""},
		{"/status", "", 200, ""},
		{"/a/../status", "", 400, ""},
	} {
		if status, user := l.ask(c.path, c.token); status != c.status || user != c.user {
			t.Errorf("%s: %d %q, want %d %q", c.path, status, user, c.status, c.user)
		}
	}
	if code, body := l.get("/readyz"); code != 200 || !strings.Contains(body, `"sso"`) {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := l.get("/metrics"); !strings.Contains(body, `gatelodge_decisions_total{outcome="allow",provider="sso",reason="verified"} 2`) {
		t.Errorf("metrics: %s", body)
	}
	l.eventually("the record of decisions", func() bool { return strings.Count(l.log.String(), `"msg":"decision"`) == 6 })
	if strings.Contains(l.log.String(), token) || strings.Contains(l.log.String(), token[len(token)-20:]) {
		t.Error("a token stands in the log")
	}
}

func TestReload(t *testing.T) {
	i := providertest.NewIssuer(t)
	l := start(t, configFor(i, ""))
	token := i.Token("alice", nil)
	l.ask("/rest", token)
	fetches := i.Fetches()

	l.write(configFor(i, "  - {name: shut, match: {paths: /rest}, access: deny}\n"))
	l.eventually("a good change", func() bool { s, _ := l.ask("/rest", token); return s == 403 })
	if n := i.Fetches(); n != fetches {
		t.Errorf("an unchanged provider fetched its keys again: %d, %d", fetches, n)
	}
	l.write("rules: [}")
	l.eventually("a bad change", func() bool { _, body := l.get("/readyz"); return strings.Contains(body, "not YAML") })
	if s, _ := l.ask("/rest", token); s != 403 {
		t.Errorf("after a bad change: %d", s)
	}
	if _, body := l.get("/metrics"); !strings.Contains(body, `gatelodge_config_reloads_total{result="failed"} 1`) {
		t.Error("the bad change is not counted")
	}
	l.write(strings.Replace(configFor(i, "log: {level: debug}\n"), "drain_delay: 1ms", "drain_delay: 2ms", 1))
	l.eventually("what is not taken is named", func() bool { return strings.Contains(l.log.String(), `"keys":["limits","log.level"]`) })
	l.write(strings.Replace(configFor(i, ""), "audiences: api", "audiences: other", 1))
	l.eventually("a changed provider forgets", func() bool { s, _ := l.ask("/rest", token); return s == 401 })
}

// An audit file that is moved away, as logrotate does, is begun anew: nobody has to
// be told, and nothing is lost.
func TestAuditFileThatIsMoved(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	l := start(t, configFor(providertest.NewIssuer(t), fmt.Sprintf("log: {audit: {file: %q}}\n", audit)))
	asked := 0
	holds := func(file string) int {
		b, _ := os.ReadFile(file)
		return strings.Count(string(b), `"msg":"decision"`)
	}
	ask := func() {
		if status, _, _ := l.send("GET", "/x", nil); status != 401 {
			t.Fatalf("status %d", status)
		}
		asked++
	}
	ask()
	l.eventually("it is on record", func() bool { return holds(audit) == 1 })
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	l.eventually("a new file is begun", func() bool { ask(); return holds(audit) > 0 })
	l.eventually("all is on record", func() bool { return holds(audit)+holds(audit+".1") == asked })
}

func TestProviderDownAtStart(t *testing.T) {
	i := providertest.NewIssuer(t)
	i.Fail(providertest.Down)
	l := start(t, configFor(i, ""))
	token := i.Token("alice", nil)
	if s, _ := l.ask("/rest", token); s != 503 {
		t.Errorf("down: %d", s)
	}
	if s, _ := l.ask("/status", ""); s != 200 {
		t.Errorf("public while down: %d", s)
	}
	var ready telemetry.Readiness
	code, body := l.get("/readyz")
	if err := json.Unmarshal([]byte(body), &ready); code != 503 || err != nil || ready.Ready {
		t.Errorf("readyz: %d %s", code, body)
	}
	i.Fail(providertest.None)
	l.eventually("recovery", func() bool { s, u := l.ask("/rest", token); return s == 200 && u == "alice" })
}

// A server that is told to stop says so to whoever asks, before it takes no
// more checks.
func TestStoppingIsNotReady(t *testing.T) {
	i := providertest.NewIssuer(t)
	l := start(t, strings.Replace(configFor(i, ""), "drain_delay: 1ms", "drain_delay: 1s", 1))
	l.eventually("ready", func() bool { code, _ := l.get("/readyz"); return code == 200 })
	l.stop()
	l.eventually("not ready", func() bool {
		code, body := l.get("/readyz")
		return code == 503 && strings.Contains(body, `"stopping": true`)
	})
	if s, u := l.ask("/rest", i.Token("alice", nil)); s != 200 || u != "alice" {
		t.Errorf("a check meanwhile: %d %q", s, u)
	}
}

func TestFaultsKeepItFromStarting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "g.yaml")
	if err := os.WriteFile(file, []byte("enabled: maybe\nmode: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Options{Config: file, Log: io.Discard})
	var faults *config.Faults
	if !errors.As(err, &faults) || len(faults.List) < 2 {
		t.Errorf("%v", err)
	}
}
