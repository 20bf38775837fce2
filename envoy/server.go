package envoy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Options are the settings of a Server. The zero value is safe.
type Options struct {
	TLS         *tls.Config   // nil: plain text, for loopback and a mesh's own mTLS
	MaxInFlight int           // checks at once, beyond which load is shed; default 10,000
	DrainDelay  time.Duration // between "not serving" and the end of accepting, so that Envoy notices
	Observer    Observer      // nil: nobody is told
	Now         func() time.Time

	// Lean has checks answered by a transport that can do nothing but that, for a
	// fraction of what grpc-go costs. See package internal/unary.
	Lean bool
}

const defaultInFlight = 10_000

// Server answers Envoy's checks over gRPC.
type Server struct {
	decider  Decider
	observer Observer
	now      func() time.Time
	rendered atomic.Pointer[rendered]
	inFlight atomic.Int64
	limit    int64
	drain    time.Duration
	calls    transport
	health   *health.Server
}

// A transport carries calls: *grpc.Server is one.
type transport interface {
	Serve(net.Listener) error // until one of the others; then nil
	GracefulStop()            // takes no more calls, and waits for those that it has
	Stop()                    // waits for nothing
}

// NewServer makes a Server that asks decider about every request.
func NewServer(decider Decider, o Options) *Server {
	s := &Server{
		decider: decider, observer: o.Observer, now: o.Now, limit: int64(o.MaxInFlight),
		drain: o.DrainDelay, health: health.NewServer(),
	}
	if s.limit <= 0 {
		s.limit = defaultInFlight
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.health.SetServingStatus(serviceName, healthv1.HealthCheckResponse_SERVING)
	if o.Lean {
		s.calls = s.lean(o)
	} else {
		s.calls = s.grpc(o)
	}
	return s
}

// serviceName is what Envoy calls us by.
var serviceName = authv3.Authorization_ServiceDesc.ServiceName

// enter counts a check in; false: too many at once.
func (s *Server) enter() bool {
	if s.inFlight.Add(1) > s.limit {
		s.inFlight.Add(-1)
		return false
	}
	return true
}

func (s *Server) leave() { s.inFlight.Add(-1) }

// Serve answers on l until Stop. It returns nil after a Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.calls.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Stop ends the server in order: it says "not serving", waits for Envoy to
// notice, takes no more connections, and lets checks end until ctx is done.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	if s.drain > 0 {
		timer := time.NewTimer(s.drain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	done := make(chan struct{})
	go func() {
		s.calls.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.calls.Stop()
		<-done
	}
}
