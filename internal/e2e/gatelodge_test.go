package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// binary builds gatelodge once, with the race detector if the tests have it.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildFolder, "gatelodge")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/gatelodge/gatelodge/cmd/gatelodge")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

var buildFolder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gatelodge-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildFolder = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// gatelodge is a running server.
type gatelodge struct {
	*realtest.Process
	config      string // path of its file
	grpc, admin string // host:port
	signal      string // that Stop sends; "": SIGTERM
	audit       string // file of the record; none
	lean        bool   // the transport is our own
}

// serve starts `gatelodge serve` with a configuration whose listen part is
// filled in, and returns when it answers its health check. It does not wait
// for providers.
func serve(t testing.TB, config string) *gatelodge {
	t.Helper()
	g := newGatelodge(t, config)
	g.start(t)
	return g
}

// onBothTransports runs a test on servers of each transport, at the same time:
// in one of the places for parallel tests, as most of it is waiting.
func onBothTransports(t *testing.T, test func(t *testing.T, serve starter)) {
	t.Helper()
	t.Parallel()
	var both sync.WaitGroup
	defer both.Wait()
	for name, lean := range map[string]bool{"grpc-go": false, "lean": true} {
		both.Go(func() {
			t.Run(name, func(t *testing.T) {
				test(t, func(t testing.TB, config string) *gatelodge {
					t.Helper()
					g := newGatelodge(t, config)
					g.lean = lean
					g.write(t, config)
					g.start(t)
					return g
				})
			})
		})
	}
}

// A starter is serve, or does as it does.
type starter func(t testing.TB, config string) *gatelodge

// serveRecorded is serve, with a record of the decisions.
func serveRecorded(t testing.TB, config string) *gatelodge {
	t.Helper()
	g := newGatelodge(t, config)
	g.audit = filepath.Join(t.TempDir(), "audit.jsonl")
	g.write(t, config)
	g.start(t)
	return g
}

// newGatelodge writes the configuration of a server but does not start it.
func newGatelodge(t testing.TB, config string) *gatelodge {
	t.Helper()
	g := &gatelodge{
		config: filepath.Join(t.TempDir(), "gatelodge.yaml"),
		grpc:   loopback(realtest.FreePort(t)), admin: loopback(realtest.FreePort(t)), audit: "none",
	}
	g.write(t, config)
	return g
}

// write replaces the configuration file.
func (g *gatelodge) write(t testing.TB, config string) {
	t.Helper()
	text := fmt.Sprintf("listen: {grpc: %q, admin: %q, lean_transport: %t}\nlog: {audit: {file: %q}}\n%s", g.grpc, g.admin, g.lean, g.audit, config)
	tmp := g.config + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, g.config); err != nil {
		t.Fatal(err)
	}
}

func (g *gatelodge) start(t testing.TB) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	g.Process = realtest.Start(t, realtest.Command{
		Name: "gatelodge", Path: path, Args: []string{"serve", "--config", g.config}, Dir: filepath.Dir(g.config), Signal: g.signal,
	})
	if err := g.Await(30*time.Second, func() bool { return statusOf("http://"+g.admin+"/healthz") == http.StatusOK }); err != nil {
		t.Fatal(err)
	}
}

// awaitReady waits until every provider can decide.
func (g *gatelodge) awaitReady(t testing.TB) {
	t.Helper()
	if err := g.Await(30*time.Second, func() bool { return statusOf("http://"+g.admin+"/readyz") == http.StatusOK }); err != nil {
		t.Fatal(err)
	}
}

// run runs another command of the binary to its end and returns what it
// printed on standard output.
func (g *gatelodge) run(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "--config", g.config)...)
	cmd.Dir = filepath.Dir(g.config)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gatelodge %v: %v", args, err)
	}
	return out
}

// statusOf returns the status of a GET; 0 when there is no answer.
func statusOf(url string) int {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// How many changed files were taken, and were not.
const (
	takenReloads  = `gatelodge_config_reloads_total{result="ok"}`
	failedReloads = `gatelodge_config_reloads_total{result="failed"}`
)

// metric returns the value of a time series, named as the server does.
func (g *gatelodge) metric(t testing.TB, series string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", series)
	return 0
}
