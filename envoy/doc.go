// Package envoy speaks Envoy's external authorization protocol: the method
// Check of envoy.service.auth.v3.Authorization over gRPC, and gRPC health. It
// is the only package that knows Envoy's types; what a request may do is for
// authz to say.
//
// A check is read in request.go, decided, and answered in response.go; check.go
// has the whole trip on one page. Neither way builds Envoy's message tree: the
// few fields that a decision uses are read off the wire, and the answer is
// appended as bytes. What is not encoded as Envoy encodes it is read by the
// generated code instead, so that both ways give one answer. What carries checks
// and answers is grpc-go (grpc.go) or, if asked for, internal/unary (lean.go);
// nothing else knows which.
//
// The package keeps two promises, whatever happens:
//
//   - Check never ends in a gRPC error: with failure_mode_allow that would let
//     the request pass. A panic, or load that is shed, becomes a denial (503).
//   - A denial never carries status OK. Envoy judges the status code alone, and
//     takes even an empty answer for a yes. OK is built in one place, allow.
//
// Known limits: without encode_raw_headers Envoy joins repeated headers with
// commas and replaces bytes that are not UTF-8 by "!". The joined Authorization
// header is refused as malformed; what a mangled value was cannot be seen.
package envoy
