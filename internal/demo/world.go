package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed gatelodge.yaml
var gatelodgeYAML string

// Options say how the parts are started.
type Options struct {
	Envoy  string // the binary, see FindEnvoy
	Listen string // where Envoy listens, a loopback host:port; "": any port

	// Serve runs Gatelodge with the configuration at a path, writing its log
	// to log, until ctx ends. It calls ready once it takes requests, with the
	// address of its admin listener, where /readyz says when it can decide.
	Serve func(ctx context.Context, config string, log io.Writer, ready func(admin net.Addr)) error

	Progress io.Writer // a line as each part comes up; nil: none
}

// World is everything of the demo, running.
type World struct {
	IdP     *IdP // its users' tokens are good
	Partner *IdP // trusted as well, but down since before Gatelodge started
	API     *API

	Dir       string // configuration and logs; removed by Close
	Config    string // path of Gatelodge's configuration
	Front     string // http://host:port of Envoy
	Admin     string // http://host:port of Gatelodge's admin listener
	EnvoyPath string // the binary that runs

	envoy     *envoyProcess
	gatelodge *background
	authz     string // unix socket
}

// startWithin bounds how long the parts together may take to come up.
const startWithin = 30 * time.Second

// Start brings everything up and returns once a request can be made. ctx
// bounds the start; Close ends what was started.
func Start(ctx context.Context, o Options) (_ *World, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("not up after %s", startWithin))
	defer cancel()
	if o.Listen == "" {
		o.Listen = loopback
	}
	if err := CheckLoopback(o.Listen); err != nil {
		return nil, err
	}
	if err := checkFree(o.Listen); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatelodge-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the demo: %w", err)
	}
	w := &World{Dir: dir, EnvoyPath: o.Envoy, authz: filepath.Join(dir, "authz.sock")}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	say := func(format string, args ...any) {
		if o.Progress != nil {
			_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
		}
	}
	for _, start := range []func() error{
		func() error { say("demo identity provider …"); return w.startProviders() },
		func() error { say("sample API …"); return w.startAPI() },
		func() error { say("Gatelodge …"); return w.startGatelodge(ctx, o) },
		func() error { say("Envoy (%s) …", o.Envoy); return w.startEnvoy(ctx, o) },
	} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// startProviders leaves the partner down, with its address known.
func (w *World) startProviders() (err error) {
	if w.IdP, err = NewIdP(); err != nil {
		return err
	}
	if w.Partner, err = NewIdP(); err != nil {
		return err
	}
	if err := w.IdP.Up(); err != nil {
		return err
	}
	if err := w.Partner.Up(); err != nil {
		return err
	}
	return w.Partner.Down()
}

func (w *World) startAPI() error {
	w.API = NewAPI(loopback)
	return w.API.Up()
}

func (w *World) startGatelodge(ctx context.Context, o Options) error {
	if err := w.writeConfig(); err != nil {
		return err
	}
	log, err := os.OpenFile(w.GatelodgeLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	ready := make(chan net.Addr, 1)
	w.gatelodge = inBackground(func(ctx context.Context) error {
		serve := o.Serve(ctx, w.Config, log, func(admin net.Addr) { ready <- admin })
		return errors.Join(serve, log.Close())
	})
	select {
	case admin := <-ready:
		w.Admin = "http://" + admin.String()
		return w.awaitKeys(ctx)
	case <-w.gatelodge.done:
		return fmt.Errorf("gatelodge ended at once: %w; its log: %s", w.gatelodge.err, lastLines(w.GatelodgeLog(), 5))
	case <-ctx.Done():
		return fmt.Errorf("waiting for Gatelodge: %w; its log: %s", context.Cause(ctx), lastLines(w.GatelodgeLog(), 5))
	}
}

// awaitKeys returns once Gatelodge has fetched a provider's keys.
func (w *World) awaitKeys(ctx context.Context) error {
	err := poll(ctx, func() error {
		_, err := get(ctx, http.DefaultClient, w.Admin+"/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting until Gatelodge can decide: %w; its log: %s", err, lastLines(w.GatelodgeLog(), 5))
	}
	return nil
}

func (w *World) writeConfig() error {
	secret := filepath.Join(w.Dir, "client-secret")
	if err := os.WriteFile(secret, []byte(w.IdP.Secret()), 0o600); err != nil {
		return err
	}
	t, err := template.New("gatelodge.yaml").Parse(gatelodgeYAML)
	if err != nil {
		return err
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]string{
		"Authz": w.authz, "SecretFile": secret,
		"Issuer": w.IdP.Issuer(), "Partner": w.Partner.Issuer(),
		"Client": Client, "Audience": Audience,
	})
	if err != nil {
		return err
	}
	w.Config = filepath.Join(w.Dir, "gatelodge.yaml")
	return os.WriteFile(w.Config, []byte(text.String()), 0o600)
}

func (w *World) startEnvoy(ctx context.Context, o Options) (err error) {
	s := envoySettings{
		Authz:     w.authz,
		Admin:     filepath.Join(w.Dir, "envoy-admin.sock"),
		AccessLog: filepath.Join(w.Dir, "access.log"),
	}
	if s.Host, s.Port, err = splitAddress(o.Listen); err != nil {
		return err
	}
	if s.APIHost, s.APIPort, err = splitAddress(w.API.Addr()); err != nil {
		return err
	}
	if w.envoy, err = startEnvoy(ctx, o.Envoy, w.Dir, s); err != nil {
		return err
	}
	w.Front = "http://" + w.envoy.front
	return nil
}

// GatelodgeLog is the path of Gatelodge's log.
func (w *World) GatelodgeLog() string { return filepath.Join(w.Dir, "gatelodge.log") }

// Wait returns when ctx ends, with nil, or when a part ends by itself.
func (w *World) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.envoy.done:
		return fmt.Errorf("envoy ended by itself: %w; its log: %s", w.envoy.err,
			lastLines(filepath.Join(w.Dir, "envoy.log"), 5))
	case <-w.gatelodge.done:
		return fmt.Errorf("gatelodge ended by itself: %w; its log: %s", w.gatelodge.err,
			lastLines(w.GatelodgeLog(), 5))
	}
}

// Close ends everything, in the order in which a request meets it, and
// removes Dir.
func (w *World) Close() error {
	var errs []error
	if w.envoy != nil {
		w.envoy.close()
	}
	if w.gatelodge != nil {
		errs = append(errs, w.gatelodge.close())
	}
	if w.API != nil {
		errs = append(errs, w.API.Down())
	}
	for _, p := range []*IdP{w.IdP, w.Partner} {
		if p != nil {
			errs = append(errs, p.Down())
		}
	}
	errs = append(errs, os.RemoveAll(w.Dir))
	return errors.Join(errs...)
}

// background is a function that runs until it is told to end.
type background struct {
	stop context.CancelFunc
	done chan struct{} // closed when it has returned
	err  error         // what it returned; read after done
}

func inBackground(run func(context.Context) error) *background {
	ctx, stop := context.WithCancel(context.Background())
	b := &background{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = run(ctx)
	}()
	return b
}

// close ends it, waits, and returns what it returned; of one that had ended by
// itself that is told already.
func (b *background) close() error {
	select {
	case <-b.done:
		b.stop()
		return nil
	default:
	}
	b.stop()
	<-b.done
	if errors.Is(b.err, context.Canceled) {
		return nil
	}
	return b.err
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
