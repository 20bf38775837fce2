package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/envoy"
	"github.com/gatelodge/gatelodge/internal/realtest"
)

// openGate serves checks where the configuration says, and lets everything
// through until ctx ends or the channel is closed.
func openGate(broken <-chan struct{}) func(context.Context, string, io.Writer, func(net.Addr)) error {
	return func(ctx context.Context, config string, _ io.Writer, ready func(net.Addr)) error {
		text, err := os.ReadFile(config)
		if err != nil {
			return err
		}
		var file struct {
			Listen struct{ GRPC string } `yaml:"listen"`
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return err
		}
		l, err := net.Listen("unix", strings.TrimPrefix(file.Listen.GRPC, "unix:"))
		if err != nil {
			return err
		}
		cache, err := authz.NewCache(authz.CacheLimits{})
		if err != nil {
			return err
		}
		engine, err := authz.New(&authz.Policy{Enabled: false, Headers: authz.HeaderNames{User: userHeader}}, cache, time.Now)
		if err != nil {
			return err
		}
		s := envoy.NewServer(engine, envoy.Options{})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		admin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer admin.Close()
		ready(admin.Listener.Addr())
		select {
		case <-ctx.Done():
		case <-broken:
		}
		s.Stop(context.Background())
		return errors.Join(<-served, errors.New("the gate has ended"), context.Cause(ctx))
	}
}

// start brings up the world with an open gate.
func start(t *testing.T, broken <-chan struct{}) *World {
	t.Helper()
	w, err := Start(t.Context(), Options{Envoy: realtest.EnvoyPath(t), Serve: openGate(broken), Progress: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The tour must see it when nobody decides: of a gate that lets everything
// through, nothing comes out right but what everybody may see.
func TestTourFindsAnOpenGate(t *testing.T) {
	w := start(t, nil)
	t.Cleanup(func() { _ = w.Close() })
	for _, s := range tour() {
		s.within = 0
		r, err := w.visit(t.Context(), http.DefaultClient, s.says, s)
		if err != nil {
			t.Fatal(err)
		}
		want := s.path == "/status" || strings.Contains(s.path, "%2f")
		if r.OK != want || (r.Problem == "") != want {
			t.Errorf("%s: ok %t, %q", r.Request, r.OK, r.Problem)
		}
	}
}

func TestWait(t *testing.T) {
	t.Run("told to end", func(t *testing.T) {
		w := start(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Wait(ctx); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(w.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
	})
	t.Run("Gatelodge ends", func(t *testing.T) {
		broken := make(chan struct{})
		w := start(t, broken)
		close(broken)
		if err := w.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "the gate has ended") {
			t.Errorf("got %v", err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("told a second time: %v", err)
		}
	})
	t.Run("Envoy ends", func(t *testing.T) {
		w := start(t, nil)
		t.Cleanup(func() { _ = w.Close() })
		w.envoy.stop()
		if err := w.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "envoy ended by itself") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStartSaysWhatFailed(t *testing.T) {
	serve := func(context.Context, string, io.Writer, func(net.Addr)) error {
		return errors.New("no such key: lisen")
	}
	_, err := Start(t.Context(), Options{Envoy: "/nowhere", Serve: serve})
	if err == nil || !strings.Contains(err.Error(), "no such key: lisen") {
		t.Errorf("got %v", err)
	}
	if _, err := Start(t.Context(), Options{Listen: "0.0.0.0:0"}); err == nil {
		t.Error("the demo listens for other machines")
	}
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	if _, err := Start(t.Context(), Options{Listen: taken}); err == nil || !strings.Contains(err.Error(), taken+" cannot be listened on; name another with --listen") {
		t.Errorf("a port that is taken: %v", err)
	}
}
