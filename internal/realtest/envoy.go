package realtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// EnvoyProcess is a running Envoy.
type EnvoyProcess struct {
	Admin string // http://host:port of its admin listener
	p     *Process
	addr  map[string]string
}

// Envoy starts the real Envoy with the given bootstrap (YAML) and returns when
// it is ready. It ends with the test. Listeners should ask for port_value: 0;
// Address tells which port they got. An admin listener is added if the
// bootstrap has none.
func Envoy(t testing.TB, bootstrap string) *EnvoyProcess {
	t.Helper()
	path := EnvoyPath(t)
	if !strings.HasPrefix(bootstrap, "admin:") && !strings.Contains(bootstrap, "\nadmin:") {
		bootstrap += "\nadmin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
	}
	dir := t.TempDir()
	file, admin := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin")
	if err := os.WriteFile(file, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Start(t, Command{
		Name: "envoy", Path: path,
		Args: []string{
			"-c", file, "--admin-address-path", admin, "--disable-hot-restart",
			"--concurrency", "1", "--drain-time-s", "1", "-l", "warning",
		},
	})
	e := &EnvoyProcess{p: p}
	if err := p.Await(20*time.Second, func() bool { return e.ready(admin) }); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.addr, err = e.listeners(); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *EnvoyProcess) ready(adminFile string) bool {
	b, err := os.ReadFile(adminFile)
	if err != nil || len(b) == 0 {
		return false
	}
	e.Admin = "http://" + string(b)
	return answersOK(e.Admin + "/ready")
}

func (e *EnvoyProcess) listeners() (map[string]string, error) {
	resp, err := http.Get(e.Admin + "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var all struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("envoy's listeners: %w", err)
	}
	addr := map[string]string{}
	for _, l := range all.Statuses {
		addr[l.Name] = fmt.Sprintf("%s:%d", l.Local.Socket.Address, l.Local.Socket.Port)
	}
	return addr, nil
}

// Address returns host:port of the named listener, "" when there is none.
func (e *EnvoyProcess) Address(listener string) string { return e.addr[listener] }

// Get returns what the admin listener answers at path.
func (e *EnvoyProcess) Get(t testing.TB, path string) string {
	t.Helper()
	resp, err := http.Get(e.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Log returns what Envoy printed so far.
func (e *EnvoyProcess) Log() string { return e.p.Output() }

// Stop ends Envoy before the test ends.
func (e *EnvoyProcess) Stop() { _ = e.p.Stop() }

// EnvoyPath returns the real Envoy's binary, for a test that starts it itself.
func EnvoyPath(t testing.TB) string {
	t.Helper()
	path, err := parts.Envoy()
	if err != nil {
		missing(t, err)
	}
	return path
}

// ValidateEnvoy lets the real Envoy check a bootstrap file as it would at
// start, without listening.
func ValidateEnvoy(t testing.TB, file string) error {
	t.Helper()
	path := EnvoyPath(t)
	out, err := exec.Command(path, "--mode", "validate", "-l", "error", "-c", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", file, err, out)
	}
	return nil
}

// answersOK reports whether a GET of url is answered with status 200.
func answersOK(url string) bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
