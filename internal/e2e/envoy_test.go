package e2e

import (
	"fmt"
	"net"
	"strings"
)

// A variant is one way to set Envoy up in front of Gatelodge. All four must
// give the same decisions.
type variant struct {
	name      string
	raw       bool // encode_raw_headers: headers come as a list of raw bytes
	normalize bool // Envoy cleans paths before it asks

	manager string // further settings of the connection manager
	socket  string // transport socket: TLS
}

var variants = []variant{
	{name: "plain"},
	{name: "raw", raw: true},
	{name: "plain-normalize", normalize: true},
	{name: "raw-normalize", raw: true, normalize: true},
}

// notAsked is the status that Envoy gives when the authorization call itself
// failed. Gatelodge answers every call, so no caller must ever see it.
const notAsked = 507

// bootstrap returns an Envoy configuration with one listener a variant, in
// front of an upstream, with one or more authorization servers to ask.
func bootstrap(upstream string, authz ...string) string {
	return bootstrapOf(variants, upstream, authz...)
}

func bootstrapOf(variants []variant, upstream string, authz ...string) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  listeners:\n")
	for _, v := range variants {
		b.WriteString(listener(v))
	}
	b.WriteString("  clusters:\n")
	b.WriteString(cluster("upstream", []string{upstream}, ""))
	more := speaksHTTP2
	if len(authz) > 1 {
		more += healthCheck
	}
	b.WriteString(cluster("gatelodge", authz, more))
	return b.String()
}

// speaksHTTP2 and healthCheck are settings of a cluster.
const (
	speaksHTTP2 = `
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}`
	healthCheck = `
    common_lb_config: {update_merge_window: 0s} # else a change may take a second more
    health_checks:
    - {timeout: 1s, interval: 0.2s, no_traffic_interval: 0.2s, unhealthy_threshold: 1, healthy_threshold: 1, grpc_health_check: {}}`
)

func listener(v variant) string {
	more := v.manager
	if v.normalize {
		more += `
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD`
	}
	return fmt.Sprintf(`  - name: %s
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    -%[5]s
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %[1]s
          codec_type: AUTO
          delayed_close_timeout: 0.01s%[2]s
          upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]
          http2_protocol_options: {allow_connect: true}
          http_protocol_options: {accept_http_10: true, allow_absolute_url: true}
          max_request_headers_kb: 256
          common_http_protocol_options: {max_headers_count: 20000}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {connect_matcher: {}}, route: {cluster: upstream, upgrade_configs: [{upgrade_type: CONNECT}]}}
              - {match: {prefix: ""}, route: {cluster: upstream, timeout: 15s}}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: gatelodge}, timeout: 10s}
              failure_mode_allow: false
              status_on_error: {code: %[3]d}
              encode_raw_headers: %[4]t
              include_peer_certificate: true
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, v.name, more, notAsked, v.raw, v.socket)
}

func cluster(name string, addresses []string, more string) string {
	var endpoints []string
	for _, a := range addresses {
		host, port, _ := net.SplitHostPort(a)
		endpoints = append(endpoints, fmt.Sprintf("{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}", host, port))
	}
	return fmt.Sprintf(`  - name: %s
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: %[1]s
      endpoints: [{lb_endpoints: [%s]}]%s
`, name, strings.Join(endpoints, ", "), more)
}
