// Package e2e holds the tests of the whole picture, as a caller and an
// upstream see it: raw HTTP/1.1 and HTTP/2 clients, the real Envoy, the real
// gatelodge binary, real and made-up identity providers, and an upstream that
// writes down every byte of the head it was sent.
//
//	credential_test.go  what the caller presents, one good way and many bad
//	identity_test.go    what the upstream is told, and that nobody else can say it
//	settings_test.go    the same under each setting that changes what is told
//	path_test.go        one meaning per path: nothing protected becomes public
//	challenge_test.go   what a refused caller is told, parameter by parameter
//	discovery_test.go   from the API's URL alone to a real Keycloak and back
//	dpop_test.go        tokens bound to a key, issued by real providers: its holder alone
//	certificate_test.go tokens bound to a certificate: who shows it, and nobody who says so
//	record_test.go      what stands in the record, by the id in the answer; shadow mode and its report
//	routes_test.go      rules by what Envoy's routes say of themselves
//	limits_test.go      the example of limits for each caller, as it is given to everybody
//	outage_test.go      a real Keycloak: tokens, rotated keys, stopped, cold start
//	published_test.go   the same of examples/envoy, as it is given to everybody
//	reload_test.go      the file changes under traffic
//	running_test.go     drained, restarted, killed, under load
//	overload_test.go    more than there is room for, and peers that are no Envoy
//
// The last two run on each transport that checks can come over.
//
// The parts of the picture:
//
//	world_test.go       puts it together
//	client_test.go      requests byte by byte
//	traffic_test.go     good requests that go on while something happens
//	upstream_test.go    the API behind Envoy
//	envoy_test.go       Envoy's configuration, in four variants
package e2e
