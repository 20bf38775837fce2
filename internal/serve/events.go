package serve

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gatelodge/gatelodge/internal/events"
	"github.com/gatelodge/gatelodge/internal/telemetry"
)

// eventRoutes returns the handler of what identity providers tell by themselves.
func (s *server) eventRoutes() http.Handler {
	return events.New(events.Options{
		Receiver: s.gate.Receiver, Revoke: s.gate.Revoke, Obeyed: s.obeyed, Count: s.metrics.Event, Now: time.Now, Log: s.log,
	})
}

// obeyed tells of a revocation where decisions are recorded, which it explains.
func (s *server) obeyed(r events.Record) {
	if s.audit != nil {
		err := s.audit.Revoked(telemetry.Revoked{
			Provider: r.Provider, Kind: r.Kind, EventID: r.ID, Session: r.Session, Subject: r.Subject, Dropped: r.Dropped,
		})
		if err == nil {
			return
		}
		s.log.Error("the audit record cannot be written", "error", err)
	}
	s.log.Info("revoked", "provider", r.Provider, "kind", r.Kind, "event_id", r.ID, "session", r.Session, "subject", r.Subject, "dropped", r.Dropped)
}

// serveEvents listens for events apart from the admin pages, where that is set,
// so that these routes alone are shown to the identity providers.
func (s *server) serveEvents(address string, ended chan<- error) (closeServer func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen.events: %w", err)
	}
	server := telemetry.HTTPServer(s.eventRoutes(), slog.NewLogLogger(s.log.Handler(), slog.LevelDebug))
	go func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			ended <- err
		}
	}()
	s.log.Info("listening for events", "address", l.Addr().String())
	return func() { _ = server.Close() }, nil
}
