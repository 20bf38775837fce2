package envoy

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/internal/unary"
)

// lean makes the transport that knows two methods: Check, and the one of
// health that Envoy and Kubernetes use.
func (s *Server) lean(o Options) transport {
	return unary.NewServer(unary.Options{
		TLS: o.TLS,
		Methods: map[string]unary.Method{
			authv3.Authorization_Check_FullMethodName: s.leanCheck,
			healthv1.Health_Check_FullMethodName:      s.leanHealth,
		},
		Busy: s.leanBusy,
	})
}

func (s *Server) leanCheck(ctx context.Context, in, out []byte) ([]byte, error) {
	t := trips.Get().(*trip)
	defer trips.Put(t)
	return s.check(ctx, in, t, out), nil
}

// leanBusy answers a check that there was no room for: an error would let the
// request pass where failure_mode_allow is set.
func (s *Server) leanBusy(_ context.Context, _, out []byte) ([]byte, error) {
	t := trips.Get().(*trip)
	defer trips.Put(t)
	return s.shed(t, out), nil
}

func (s *Server) leanHealth(ctx context.Context, in, out []byte) ([]byte, error) {
	var q healthv1.HealthCheckRequest
	if proto.Unmarshal(in, &q) != nil {
		return nil, status.Error(codes.Internal, "not a HealthCheckRequest")
	}
	a, err := s.health.Check(ctx, &q)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(out, a)
}
