package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/envoy"
	"github.com/gatelodge/gatelodge/internal/adminapi"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/events"
	"github.com/gatelodge/gatelodge/internal/socket"
	"github.com/gatelodge/gatelodge/internal/telemetry"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// stopTime is how long checks may take to end once the server stops.
const stopTime = 15 * time.Second

// Options are what a command line says of a server.
type Options struct {
	Config string    // path of the file
	Log    io.Writer // where the log goes
	// Ready is told the addresses once both listeners accept; nil: nobody is.
	Ready func(grpc, admin net.Addr)
	// Look has the files looked at now, instead of within a second; nil: never.
	Look <-chan os.Signal
}

// Run serves by a configuration file until ctx is done, and follows its
// changes. It returns a *config.Faults for a file that is not to be served by.
func Run(ctx context.Context, o Options) error {
	defer keepHeadroom()()
	go keepProcessors(ctx)
	c, warnings, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	s := &server{path: o.Config, log: telemetry.NewLog(o.Log, c.Log.Level, c.Log.Format), logWriter: o.Log}
	s.warn(warnings)
	if err := s.open(c); err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx, o)
}

// server is everything between the file and the listeners.
type server struct {
	path      string
	log       *slog.Logger
	logWriter io.Writer

	gate    *Gate
	audit   *telemetry.Audit
	auditTo io.Closer
	metrics *telemetry.Metrics
	admin   *telemetry.Admin
	tls     certificates

	reloads, failed atomic.Uint64
	lastFault       atomic.Pointer[string]
	stopping        atomic.Bool
}

func (s *server) open(c *config.Config) (err error) {
	if c.Listen.TLS != nil {
		first, err := readTLS(c.Listen.TLS)
		if err != nil {
			return err
		}
		s.tls.current.Store(first)
	}
	if err := s.openAudit(c); err != nil {
		return err
	}
	if s.gate, err = Open(c, s.log, s.tokenChanged); err != nil {
		s.closeAudit()
		return err
	}
	s.metrics = telemetry.NewMetrics(s.state)
	s.admin = telemetry.NewAdmin(telemetry.AdminOptions{
		Registry: s.metrics.Registry, Ready: s.ready, Hosts: c.Admin.Hosts, Log: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	})
	s.admin.Mux.Handle(adminapi.Root, adminapi.New(adminapi.Options{
		Tokens: s.gate.Tokens, Gate: s.gate, Login: s.gate.Login, Access: s.gate.access, Now: time.Now, Log: s.log,
	}))
	routes := s.eventRoutes()
	s.admin.Mux.Handle(events.LogoutPath, routes)
	s.admin.Mux.Handle(events.SignalPath, routes)
	return nil
}

// tokenChanged tells of a change of an API token: in the record of decisions,
// since it is what they are decided by, or in the log where there is none.
func (s *server) tokenChanged(e tokenstore.Event, r *tokenstore.Record) {
	if s.audit != nil {
		err := s.audit.Change(telemetry.Change{Action: e.Action, Actor: e.Actor, TokenID: r.ID, User: r.Owner, Name: r.Name})
		if err == nil {
			return
		}
		s.log.Error("the audit record cannot be written", "error", err)
	}
	s.log.Info("token changed", "action", e.Action, "by", e.Actor, "token_id", r.ID, "user", r.Owner, "name", r.Name)
}

func (s *server) openAudit(c *config.Config) error {
	w := s.logWriter
	switch c.Log.Audit.File {
	case "":
	case "none":
		return nil
	default:
		f, err := telemetry.OpenFile(c.Log.Audit.File, time.Now, func(err error) { s.log.Error("log.audit.file cannot be begun anew", "error", err) })
		if err != nil {
			return fmt.Errorf("log.audit.file: %w", err)
		}
		w, s.auditTo = f, f
	}
	s.audit = telemetry.NewAudit(w, c.Log.Audit.AllowSample, time.Now)
	return nil
}

func (s *server) close() {
	s.gate.Close()
	s.closeAudit()
}

func (s *server) closeAudit() {
	if s.audit != nil {
		s.audit.Close()
	}
	if s.auditTo != nil {
		_ = s.auditTo.Close()
	}
}

// Observe implements envoy.Observer.
func (s *server) Observe(q *authz.Request, d *authz.Decision, took time.Duration) {
	s.metrics.Observe(q, d, took)
	if s.audit != nil {
		s.audit.Observe(q, d, took)
	}
}

// run listens, follows the file, and ends in order: not serving first, then no
// new connections, then the checks that are under way.
func (s *server) run(ctx context.Context, o Options) error {
	c := s.gate.Config()
	options := envoy.Options{MaxInFlight: c.Limits.InFlight, DrainDelay: c.Limits.DrainDelay, Observer: s, Lean: c.Listen.Lean}
	if c.Listen.TLS != nil {
		options.TLS = s.tls.server()
	}
	grpcListener, err := listen(c.Listen.GRPC)
	if err != nil {
		return fmt.Errorf("listen.grpc: %w", err)
	}
	checks := envoy.NewServer(s.gate, options)
	ended := make(chan error, 3)
	go func() { ended <- checks.Serve(socket.Listener(grpcListener)) }()

	var adminAddr net.Addr
	if c.Listen.Admin != "" {
		l, err := listen(c.Listen.Admin)
		if err != nil {
			checks.Stop(context.Background())
			return fmt.Errorf("listen.admin: %w", err)
		}
		adminAddr = l.Addr()
		go func() { ended <- s.admin.Serve(l) }()
		defer func() { _ = s.admin.Close() }()
	}
	closeEvents, err := s.serveEvents(c.Listen.Events, ended)
	if err != nil {
		checks.Stop(context.Background())
		return err
	}
	defer closeEvents()
	s.log.Info("serving", "grpc", grpcListener.Addr().String(), "admin", fmt.Sprint(adminAddr), "providers", len(c.Providers), "rules", len(c.Rules))
	if o.Ready != nil {
		o.Ready(grpcListener.Addr(), adminAddr)
	}

	watching, endWatch := context.WithCancel(ctx)
	defer endWatch()
	go config.Watch(watching, c, o.Look, s.reload)

	select {
	case err = <-ended:
	case <-ctx.Done():
		s.stopping.Store(true)
		s.log.Info("stopping", "drain", c.Limits.DrainDelay.String())
	}
	stop, cancel := context.WithTimeout(context.Background(), c.Limits.DrainDelay+stopTime)
	defer cancel()
	checks.Stop(stop)
	return err
}

func listen(address string) (net.Listener, error) {
	file, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return net.Listen("tcp", address)
	}
	// A socket that a killed server left behind would keep us from starting;
	// one that somebody listens on is not ours to take.
	if conn, err := net.Dial("unix", file); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s is in use", file)
	}
	if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(file)
	}
	return net.Listen("unix", file)
}

// reload goes over to the file as it is now, or stays with what was good.
func (s *server) reload() (*config.Config, error) {
	c, warnings, err := config.Load(s.path)
	if err == nil {
		err = s.change(c)
	}
	if err != nil {
		s.failed.Add(1)
		text := err.Error()
		s.lastFault.Store(&text)
		s.log.Error("the changed configuration is not taken; the old one goes on", "faults", strings.Split(text, "\n"))
		return nil, err
	}
	s.reloads.Add(1)
	s.lastFault.Store(nil)
	s.warn(warnings)
	s.log.Info("configuration changed", "providers", len(c.Providers), "rules", len(c.Rules))
	return c, nil
}

func (s *server) change(c *config.Config) error {
	old := s.gate.Config()
	if (c.Listen.TLS == nil) != (old.Listen.TLS == nil) {
		return errors.New("listen.tls: TLS cannot be switched on or off while running; restart for it")
	}
	var certificates *tls.Config
	if c.Listen.TLS != nil {
		var err error
		if certificates, err = readTLS(c.Listen.TLS); err != nil {
			return err
		}
	}
	if err := s.gate.Change(c); err != nil {
		return err
	}
	s.tls.current.Store(certificates)
	if keys := atNextStart(old, c); len(keys) > 0 {
		s.log.Warn("some changed settings are taken at the next start only", "keys", keys)
	}
	if s.audit != nil {
		s.audit.Sample(c.Log.Audit.AllowSample)
	}
	return nil
}

// atNextStart names the settings that changed and that a running server does
// not take.
func atNextStart(old, c *config.Config) (keys []string) {
	for _, k := range []struct {
		key      string
		old, now any
	}{
		{"listen.grpc", old.Listen.GRPC, c.Listen.GRPC},
		{"listen.admin", old.Listen.Admin, c.Listen.Admin},
		{"listen.lean_transport", old.Listen.Lean, c.Listen.Lean},
		{"listen.events", old.Listen.Events, c.Listen.Events},
		{"cache", old.Cache, c.Cache},
		{"limits", old.Limits, c.Limits},
		{"log.level", old.Log.Level, c.Log.Level},
		{"log.format", old.Log.Format, c.Log.Format},
		{"log.audit.file", old.Log.Audit.File, c.Log.Audit.File},
		{"admin.hosts", strings.Join(old.Admin.Hosts, " "), strings.Join(c.Admin.Hosts, " ")},
	} {
		if k.old != k.now {
			keys = append(keys, k.key)
		}
	}
	return keys
}

func (s *server) warn(warnings []config.Message) {
	for _, w := range warnings {
		s.log.Warn(w.String())
	}
}

// ready says whether requests can be decided: a provider that cannot be asked
// leaves the others working, so one that can is enough.
func (s *server) ready() telemetry.Readiness {
	r := telemetry.Readiness{}
	running := s.gate.roster().running
	r.Ready = len(running) == 0
	for _, p := range running {
		st := p.Status()
		r.Ready = r.Ready || st.Ready
		if trouble := p.receiver.Trouble(); trouble != "" {
			st.Detail = strings.TrimPrefix(st.Detail+"; its events cannot be proven: "+trouble, "; ")
		}
		r.Providers = append(r.Providers, telemetry.ProviderReady{
			Name: p.name, Ready: st.Ready, Misconfigured: st.Misconfigured, Detail: st.Detail,
		})
	}
	if r.Stopping = s.stopping.Load(); r.Stopping {
		r.Ready = false
	}
	if fault := s.lastFault.Load(); fault != nil {
		r.Config = *fault
	}
	return r
}

func (s *server) state() telemetry.State {
	c := s.gate.Config()
	st := telemetry.State{
		Cache: s.gate.cache.Stats(), Reloads: s.reloads.Load(), FailedReloads: s.failed.Load(),
		Enabled: c.Enabled, Shadow: c.Mode == authz.Shadow, Providers: map[string]telemetry.ProviderState{},
	}
	if s.audit != nil {
		st.AuditDropped = s.audit.Dropped()
	}
	for _, p := range s.gate.roster().running {
		status := p.Status()
		st.Providers[p.name] = telemetry.ProviderState{Ready: status.Ready, Misconfigured: status.Misconfigured}
	}
	return st
}
