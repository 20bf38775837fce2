package envoy

import (
	"context"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// grpc makes the usual transport: grpc-go.
func (s *Server) grpc(o Options) transport {
	g := grpc.NewServer(grpcOptions(o)...)
	g.RegisterService(&service, s)
	healthv1.RegisterHealthServer(g, s.health)
	return g
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
	return options
}

// service is envoy.service.auth.v3.Authorization, with messages that stay
// bytes.
var service = grpc.ServiceDesc{
	ServiceName: serviceName,
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
	data := t.in.data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer data.Free()
	a := answers.Get().(*answer)
	*a = server.(*Server).check(ctx, data.ReadOnlyData(), t, (*a)[:0])
	return a, nil
}
