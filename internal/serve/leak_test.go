package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// everything is a configuration with every part that runs in the background.
func everything(t *testing.T, i *providertest.Issuer) string {
	t.Helper()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("a-password"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte("bob:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
log: {audit: {file: %[2]q}}
providers:
  - {name: sso, type: oidc, issuer: %[1]q, audiences: api}
  - {name: asked, type: oauth2, client_id: app, client_secret: {file: %[3]q}, audiences: api, endpoints: {introspection: "%[1]s/introspect"}}
api_tokens: {store: "sqlite:%[4]s", htpasswd_file: %[5]q}
dpop: {origins: ["https://api.example.com"]}
rules:
  - {name: open, match: {paths: /status}, access: public}
`, i.URL, filepath.Join(dir, "audit.log"), filepath.Join(dir, "users"), filepath.Join(dir, "tokens.db"), filepath.Join(dir, "users"))
}

// A server that has stopped has stopped all that it began.
func TestNothingIsLeftOfAServer(t *testing.T) {
	realtest.NothingLeft(t)
	i := providertest.NewIssuer(t)
	l := start(t, everything(t, i))
	for path, want := range map[string]int{"/rest": 200, "/status": 200} {
		if status, _ := l.ask(path, i.Token("alice", nil)); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
	l.ask("/rest", "opaque")
	l.send("GET", "/rest", withBasic("bob", "a-password"))
	l.write(strings.Replace(everything(t, i), "audiences: api", "audiences: [api, other]", 1))
	l.eventually("the change", func() bool { return strings.Contains(l.log.String(), "configuration changed") })
	l.get("/metrics")
}

// A change of the configuration, over and over, leaves no goroutine, no open
// file and no memory of the configurations before.
func TestChangesLeaveNothing(t *testing.T) {
	realtest.NothingLeft(t)
	i := providertest.NewIssuer(t)
	text := everything(t, i)
	configs := make([]*config.Config, 2)
	for n, audience := range []string{"api", "[api, other]"} {
		var err error
		if configs[n], _, err = config.Parse("g.yaml", []byte(strings.ReplaceAll(text, "audiences: api", "audiences: "+audience)), os.LookupEnv); err != nil {
			t.Fatal(err)
		}
	}
	g, err := Open(configs[0], slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	change := func(times int) {
		for n := range times {
			if err := g.Change(configs[(n+1)%2]); err != nil {
				t.Fatal(err)
			}
			d := g.Decide(context.Background(), authz.Request{
				Method: "GET", Host: "api", Path: "/rest",
				Headers: []authz.Header{{Name: "authorization", Value: "Bearer " + i.Token("alice", nil)}},
			})
			if d.Outcome != authz.Allowed {
				t.Fatalf("after a change: %v, %v %s", d.Outcome, d.Reason, d.Detail)
			}
		}
	}
	change(20)
	memory, files, goroutines := heap(), realtest.OpenFiles(), runtime.NumGoroutine()
	times := realtest.Scale(200, 2000)
	change(times)
	grown := int64(heap()) - int64(memory)
	realtest.Measured(t, "%d changes: heap %+d KiB, open files %+d, goroutines %+d", times, grown>>10,
		realtest.OpenFiles()-files, runtime.NumGoroutine()-goroutines)
	if grown > 4<<20 || realtest.OpenFiles() > files+20 || runtime.NumGoroutine() > goroutines+20 {
		t.Errorf("%d changes: heap %+d bytes, %d files were open and are %d, %d goroutines were running and are %d", times, grown,
			files, realtest.OpenFiles(), goroutines, runtime.NumGoroutine())
	}
}

// heap is the memory in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
