package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// captured is one CheckRequest as the real Envoy wrote it.
type captured struct {
	message  []byte
	metadata metadata.MD // of the call that carried it
	at, size int         // where the credential stands; size 0: there is none
}

// recorder is an authorization server that keeps what it is asked.
type recorder struct {
	address string
	server  *grpc.Server
	got     chan captured
}

func newRecorder() (*recorder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &recorder{address: l.Addr().String(), got: make(chan captured, 1)}
	r.server = grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}))
	service := authv3.Authorization_ServiceDesc
	service.HandlerType = (*any)(nil)
	service.Methods = []grpc.MethodDesc{{MethodName: "Check", Handler: r.check}}
	r.server.RegisterService(&service, r)
	go func() { _ = r.server.Serve(l) }() // ends with stop
	return r, nil
}

func (r *recorder) stop() { r.server.Stop() }

func (r *recorder) check(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message []byte
	if err := decode(&message); err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	select {
	case r.got <- captured{message: message, metadata: md}:
	default: // nobody asked for it
	}
	return proto.Marshal(&authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}})
}

// capture sends a request through Envoy and returns what Envoy asked about it.
// An empty credential: none.
func (r *recorder) capture(ctx context.Context, envoyAddress, credential string) (captured, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+envoyAddress+requestPath, http.NoBody)
	if err != nil {
		return captured{}, err
	}
	for _, h := range requestHeaders {
		req.Header.Set(h[0], h[1])
	}
	req.Host = requestHost
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return captured{}, fmt.Errorf("capturing a check: %w", err)
	}
	_ = resp.Body.Close()
	select {
	case c := <-r.got:
		return c.locate(credential)
	case <-ctx.Done():
		return captured{}, errors.New("capturing a check: Envoy asked for nothing")
	}
}

// locate finds the credential in the message.
func (c captured) locate(credential string) (captured, error) {
	if credential == "" {
		return c, nil
	}
	if bytes.Count(c.message, []byte(credential)) != 1 {
		return c, errors.New("the captured check does not hold the credential once")
	}
	c.at, c.size = bytes.Index(c.message, []byte(credential)), len(credential)
	return c, nil
}

// The request that is captured: one of a browser's script, 15 headers with
// those that Envoy adds.
const (
	requestHost = "wiki.example.com"
	requestPath = "/rest/api/content/163840/child/page?expand=history.lastUpdated,version&limit=25&start=50"
)

var requestHeaders = [][2]string{
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
	{"Accept", "application/json, text/javascript, */*; q=0.01"},
	{"Accept-Encoding", "gzip, deflate, br, zstd"},
	{"Accept-Language", "en-GB,en;q=0.9,de;q=0.8"},
	{"Cache-Control", "no-cache"},
	{"Referer", "https://wiki.example.com/spaces/ENG/pages/163840"},
	{"Sec-Fetch-Mode", "cors"},
	{"X-Requested-With", "XMLHttpRequest"},
}
