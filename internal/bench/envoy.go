package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// proxy is the real Envoy, with a listener for each thing that is compared.
type proxy struct {
	*process
	address map[string]string // of each listener, by name
}

// front is a listener: what stands in front of the same answer.
type front struct {
	Name   string
	Authz  string // host:port of an authorization server; "": none
	JWT    bool   // jwt_authn instead
	Cached bool   // … with its token cache
}

// Host and Port are those of the authorization server.
func (f front) Host() string { host, _, _ := strings.Cut(f.Authz, ":"); return host }
func (f front) Port() string { _, port, _ := strings.Cut(f.Authz, ":"); return port }

// startEnvoy starts Envoy with one worker thread.
func startEnvoy(ctx context.Context, dir string, keys []byte, fronts []front) (*proxy, error) {
	program, err := parts.Envoy()
	if err != nil {
		return nil, err
	}
	file, admin := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "envoy-admin")
	var text strings.Builder
	err = bootstrap.Execute(&text, map[string]any{
		"Fronts": fronts, "Issuer": issuerName, "Keys": string(keys), "UserHeader": userHeader,
	})
	if err != nil {
		return nil, err
	}
	_ = os.Remove(admin) // of an Envoy before this one
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	p := &proxy{}
	p.process, err = launch(ctx, dir, "envoy", program, "-c", file, "--admin-address-path", admin,
		"--disable-hot-restart", "--concurrency", "1", "--drain-time-s", "1", "-l", "warning")
	if err != nil {
		return nil, err
	}
	err = p.await(func() bool {
		b, err := os.ReadFile(admin)
		return err == nil && len(b) > 0 && p.listeners("http://"+string(b)) == nil && len(p.address) == len(fronts)
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// listeners asks Envoy for the addresses that it listens on.
func (p *proxy) listeners(admin string) error {
	resp, err := http.Get(admin + "/listeners?format=json")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var all struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return err
	}
	p.address = map[string]string{}
	for _, l := range all.Statuses {
		p.address[l.Name] = fmt.Sprintf("%s:%d", l.Local.Socket.Address, l.Local.Socket.Port)
	}
	return nil
}

// bootstrap is Envoy's configuration. The filter is set as in examples/envoy.
// Every listener answers by itself, so that no upstream's cost is in what is
// measured, and says which user the upstream would have been told.
var bootstrap = template.Must(template.New("envoy").Parse(`
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
{{- range .Fronts}}
  - name: {{.Name}}
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {{.Name}}
          use_remote_address: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes:
              - match: {prefix: /}
                direct_response: {status: 200}
                response_headers_to_add:
                - {header: {key: x-user, value: "%REQ({{$.UserHeader}})%"}}
          http_filters:
{{- if .Authz}}
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: {{.Name}}}, timeout: 5s}
              failure_mode_allow: false
              status_on_error: {code: ServiceUnavailable}
              encode_raw_headers: true
              validate_mutations: true
{{- end}}
{{- if .JWT}}
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                sso:
                  issuer: {{$.Issuer}}
                  audiences: [api]
                  local_jwks: {inline_string: '{{$.Keys}}'}
                  claim_to_headers: [{header_name: {{$.UserHeader}}, claim_name: preferred_username}]
{{- if .Cached}}
                  jwt_cache_config: {jwt_cache_size: 20000}
{{- end}}
              rules: [{match: {prefix: /}, requires: {provider_name: sso}}]
{{- end}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
{{- end}}
  clusters:
{{- range .Fronts}}{{if .Authz}}
  - name: {{.Name}}
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: {{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.Host}}, port_value: {{.Port}}}}}}]}]
{{- end}}{{end}}
`))
