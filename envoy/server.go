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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"
)

// Options are the settings of a Server. The zero value is safe.
type Options struct {
	TLS         *tls.Config   // nil: plain text, for loopback and a mesh's own mTLS
	MaxInFlight int           // checks at once, beyond which load is shed; default 10,000
	DrainDelay  time.Duration // between "not serving" and the end of accepting, so that Envoy notices
	Observer    Observer      // nil: nobody is told
	Now         func() time.Time
	Stats       stats.Handler
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
	grpc     *grpc.Server
	health   *health.Server
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
	s.grpc = grpc.NewServer(grpcOptions(o)...)
	s.grpc.RegisterService(&service, s)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(service.ServiceName, healthv1.HealthCheckResponse_SERVING)
	return s
}

func grpcOptions(o Options) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(4 << 20), // Envoy's headers are bounded far below
		grpc.MaxHeaderListSize(16 << 10),
		grpc.MaxConcurrentStreams(4096),
		grpc.ConnectionTimeout(10 * time.Second),
		// A few workers take streams over without starting a goroutine for
		// each; larger buffers mean fewer system calls. See internal/bench.
		grpc.NumStreamWorkers(32),
		grpc.ReadBufferSize(128 << 10),
		grpc.WriteBufferSize(64 << 10),
		// Windows of a set size: gRPC would measure each connection with pings
		// to find its own, a tenth of a check's cost. A connection that sends
		// and is not read holds 4 MiB at most.
		grpc.InitialWindowSize(256 << 10),
		grpc.InitialConnWindowSize(4 << 20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second}),
	}
	if o.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	if o.Stats != nil {
		options = append(options, grpc.StatsHandler(o.Stats))
	}
	return options
}

// service is envoy.service.auth.v3.Authorization, with messages that stay
// bytes.
var service = grpc.ServiceDesc{
	ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: handleCheck}},
	Metadata:    authv3.Authorization_ServiceDesc.Metadata,
}

func handleCheck(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	t := trips.Get().(*trip)
	defer trips.Put(t)
	if err := decode(&t.in); err != nil {
		return nil, err // no message came: there is nothing to answer
	}
	defer t.in.data.Free()
	return server.(*Server).check(ctx, t), nil
}

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
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
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
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}
