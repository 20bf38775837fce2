package main

import (
	"context"
	"fmt"
	"net"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// noop is the measure: grpc-go and Envoy's generated messages as their
// documentation shows them, and a yes to everything with one header.
type noop struct{}

// Check implements authv3.AuthorizationServer.
func (noop) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: userHeader, Value: noopUser}}},
		}},
	}, nil
}

// noopUser is who the no-op says everybody is.
const noopUser = "somebody"

// serveNoop serves on a TCP address, which it prints, until the process is ended.
func serveNoop(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, noop{})
	_, _ = fmt.Fprintln(os.Stdout, l.Addr())
	return s.Serve(l)
}
