package demo

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

func TestFindEnvoy(t *testing.T) {
	root := t.TempDir()
	installed := filepath.Join(root, ".tools/envoy/bin/envoy")
	inPath := filepath.Join(root, "bin/envoy")
	for _, path := range []string{installed, inPath} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deep := filepath.Join(root, "a/b")
	elsewhere := t.TempDir()
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		named, env, path, dir string
		want                  string
		err                   error
	}{
		"named":          {named: inPath, env: "/nowhere", dir: deep, want: inPath},
		"environment":    {env: inPath, dir: deep, want: inPath},
		"above":          {dir: deep, path: filepath.Dir(inPath), want: installed},
		"path":           {dir: elsewhere, path: filepath.Dir(inPath), want: inPath},
		"nowhere":        {dir: elsewhere, err: ErrNoEnvoy},
		"named, missing": {named: "/nowhere", dir: deep, err: os.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GATELODGE_ENVOY", tc.env)
			t.Setenv("PATH", tc.path)
			t.Chdir(tc.dir)
			got, err := FindEnvoy(tc.named)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestListenerAddress(t *testing.T) {
	got, err := listenerAddress([]byte(`{"listener_statuses":[{"name":"front","local_address":{"socket_address":{"address":"127.0.0.1","port_value":4711}}}]}`))
	if err != nil || got != "127.0.0.1:4711" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, body := range []string{`{}`, `no JSON`} {
		if _, err := listenerAddress([]byte(body)); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}

func TestEnvoyTakesTheBootstrap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	err := writeBootstrap(path, envoySettings{
		Host: "127.0.0.1", APIHost: "127.0.0.1", APIPort: 1, Authz: "/tmp/authz.sock", Admin: "/tmp/admin.sock", AccessLog: "/dev/null",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := realtest.ValidateEnvoy(t, path); err != nil {
		t.Error(err)
	}
}

// Without Gatelodge behind it, the Envoy of the demo lets nothing through.
func TestEnvoyAloneLetsNothingThrough(t *testing.T) {
	binary := realtest.EnvoyPath(t)
	api := NewAPI(loopback)
	if err := api.Up(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := envoySettings{Authz: filepath.Join(dir, "a.sock"), Admin: filepath.Join(dir, "e.sock"), AccessLog: filepath.Join(dir, "access.log")}
	var err error
	if s.APIHost, s.APIPort, err = splitAddress(api.Addr()); err != nil {
		t.Fatal(err)
	}
	s.Host = "127.0.0.1"
	e, err := startEnvoy(t.Context(), binary, dir, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.close()
		if err := api.Down(); err != nil {
			t.Error(err)
		}
	})
	for _, path := range []string{"/status", content} {
		req, err := http.NewRequest(http.MethodGet, "http://"+e.front+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(stepHeader, path)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if _, reached := api.received(path); reached || res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d, reached %t", path, res.StatusCode, reached)
		}
	}
}

func TestEnvoyThatEndsAtOnce(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "envoy")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such flag\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := startEnvoy(t.Context(), broken, dir, envoySettings{Admin: filepath.Join(dir, "e.sock")})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v", err)
	}
}
