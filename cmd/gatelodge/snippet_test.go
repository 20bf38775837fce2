package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/serve"
)

// snippet runs the command and returns what it printed.
func snippet(t *testing.T, args ...string) (text, said string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), append([]string{"snippet"}, args...), nil, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// yamlOf reads every document of a text.
func yamlOf(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var one map[string]any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		all = append(all, one)
	}
}

func fileOf(t *testing.T, path string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return yamlOf(t, string(b))
}

// at looks up a path of keys and list positions.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// TestSnippetsAreTheExamples: what is printed for the examples' configurations
// is what stands beside them, so that neither goes its own way.
func TestSnippetsAreTheExamples(t *testing.T) {
	text, said, code := snippet(t, "envoy", "--config", "../../examples/envoy/config.yaml",
		"--address", "gatelodge:9191", "--api", "api:8080", "--listen", "0.0.0.0:10000")
	if code != exitYes || said != "" {
		t.Fatalf("status %d: %s", code, said)
	}
	if diff := cmp.Diff(fileOf(t, "../../examples/envoy/envoy.yaml"), yamlOf(t, text)); diff != "" {
		t.Errorf("envoy.yaml (-) and the snippet (+):\n%s", diff)
	}
	text, said, code = snippet(t, "istio", "--config", "../../examples/istio/config.yaml")
	if code != exitYes || said != "" {
		t.Fatalf("status %d: %s", code, said)
	}
	want := append(fileOf(t, "../../examples/istio/mesh.yaml"), fileOf(t, "../../examples/istio/authorization-policy.yaml")...)
	if diff := cmp.Diff(want, yamlOf(t, text)); diff != "" {
		t.Errorf("examples/istio (-) and the snippet (+):\n%s", diff)
	}
}

// certified is a folder with a certificate that vouches for itself, for servers
// and clients alike.
func certified(t *testing.T, dns string, ips ...net.IP) (dir string) {
	t.Helper()
	dir = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if dns != "" {
		template.DNSNames = []string{dns}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// settings writes a configuration into a folder, with some lines more.
func settings(t *testing.T, dir string, lines ...string) string {
	t.Helper()
	file := filepath.Join(dir, "gatelodge.yaml")
	text := strings.Join(append(lines, "providers:",
		"  - {name: sso, type: oidc, issuer: \"http://127.0.0.1:1\", audiences: [api], timeout: 8s}", ""), "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const mutual = "listen: {grpc: \"127.0.0.1:9191\", tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}}"

// TestSnippetEnvoy lets the real Envoy read what is printed, and makes sure that
// the parts to be copied are the same.
func TestSnippetEnvoy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dns   string
		lines []string
		args  []string
		must  []string
	}{
		"plain":    {must: []string{"timeout: 9s", "STATIC", `address: "127.0.0.1", port_value: 9191`, "failure_mode_allow: false"}},
		"anywhere": {lines: []string{"listen: {grpc: \"0.0.0.0:9000\"}"}, must: []string{`address: "127.0.0.1", port_value: 9000`}},
		"ipv6":     {lines: []string{"listen: {grpc: \"[::1]:9000\"}"}, must: []string{`address: "::1", port_value: 9000`}},
		"socket":   {lines: []string{"listen: {grpc: \"unix:/run/gatelodge/authz.sock\"}"}, must: []string{`pipe: {path: "/run/gatelodge/authz.sock"}`}},
		"named":    {args: []string{"--address", "authz.example.com:443"}, must: []string{"STRICT_DNS", `address: "authz.example.com", port_value: 443`}},
		"tls": {
			dns: "authz.example.com", lines: []string{"listen: {tls: {cert_file: cert.pem, key_file: key.pem}}"},
			must: []string{`sni: "authz.example.com"`, `san_type: DNS, matcher: {exact: "authz.example.com"}`},
		},
		"mutual": {lines: []string{mutual}, must: []string{`san_type: IP_ADDRESS, matcher: {exact: "127.0.0.1"}`, "certificate_chain"}},
		"peer":   {lines: []string{"client_certificates: peer"}, must: []string{"include_peer_certificate: true"}},
		"xfcc":   {lines: []string{"client_certificates: xfcc"}, must: []string{"forward_client_cert_details: SANITIZE_SET"}},
		"slash":  {lines: []string{"paths: {encoded_slash: allow}"}, must: []string{"path_with_escaped_slashes_action: KEEP_UNCHANGED"}},
		"drain":  {lines: []string{"limits: {drain_delay: 10s}"}, must: []string{"limits.drain_delay (10s)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := certified(t, c.dns)
			if c.dns == "" {
				dir = certified(t, "", net.IPv4(127, 0, 0, 1))
			}
			args := append([]string{
				"envoy", "--config", settings(t, dir, c.lines...),
				"--ca-file", filepath.Join(dir, "cert.pem"), "--cert-file", filepath.Join(dir, "cert.pem"), "--key-file", filepath.Join(dir, "key.pem"),
			}, c.args...)
			parts, said, code := snippet(t, args...)
			if code != exitYes || said != "" {
				t.Fatalf("status %d: %s", code, said)
			}
			whole, said, code := snippet(t, append(args, "--api", "127.0.0.1:8080")...)
			if code != exitYes || said != "" {
				t.Fatalf("status %d: %s", code, said)
			}
			for _, must := range c.must {
				if !strings.Contains(parts, must) || !strings.Contains(whole, must) {
					t.Errorf("%s is not printed:\n%s", must, parts)
				}
			}
			file := filepath.Join(dir, "envoy.yaml")
			if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := realtest.ValidateEnvoy(t, file); err != nil {
				t.Error(err)
			}
			sameParts(t, yamlOf(t, parts)[0], yamlOf(t, whole)[0])
		})
	}
}

// sameParts makes sure that all that is to be copied stands in the whole.
func sameParts(t *testing.T, parts, whole map[string]any) {
	t.Helper()
	manager := at(whole, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
	for key, value := range at(parts, "http_connection_manager").(map[string]any) {
		in := at(manager, key)
		if key == "http_filters" {
			value, in = at(value, 0), at(in, 0)
		}
		if diff := cmp.Diff(value, in); diff != "" {
			t.Errorf("%s, to be copied (-) and in the whole (+):\n%s", key, diff)
		}
	}
	if diff := cmp.Diff(at(parts, "clusters", 0), at(whole, "static_resources", "clusters", 0)); diff != "" {
		t.Errorf("cluster, to be copied (-) and in the whole (+):\n%s", diff)
	}
}

// TestSnippetIsAnswered starts the server with mTLS and an Envoy by what is
// printed: a request without a token is answered 401, which only Gatelodge says.
func TestSnippetIsAnswered(t *testing.T) {
	t.Parallel()
	dir := certified(t, "authz.example.com", net.IPv4(127, 0, 0, 1))
	file := settings(t, dir, strings.ReplaceAll(mutual, "9191", "0")+"\n", "log: {audit: {file: none}}")
	ctx, cancel := context.WithCancel(t.Context())
	listens, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- serve.Run(ctx, serve.Options{Config: file, Log: io.Discard, Ready: func(grpc, _ net.Addr) { listens <- grpc }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var address net.Addr
	select {
	case address = <-listens:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	text, said, code := snippet(t, "envoy", "--config", file, "--address", address.String(), "--api", "127.0.0.1:1", "--listen", "127.0.0.1:0",
		"--ca-file", filepath.Join(dir, "cert.pem"), "--cert-file", filepath.Join(dir, "cert.pem"), "--key-file", filepath.Join(dir, "key.pem"))
	if code != exitYes {
		t.Fatal(said)
	}
	e := realtest.Envoy(t, strings.ReplaceAll(text, "port_value: 9901", "port_value: 0"))
	deadline := time.Now().Add(awaitFor)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		r, err := http.Get("http://" + e.Address("front") + "/rest/api/content/")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode == http.StatusUnauthorized {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %d, want 401\n%s", r.StatusCode, e.Log())
		}
	}
}

func TestSnippetRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := settings(t, dir)
	socket := settings(t, t.TempDir(), "listen: {grpc: \"unix:/run/a.sock\"}")
	peer := settings(t, t.TempDir(), "client_certificates: peer")
	nameless := certified(t, "")
	settings(t, nameless, "listen: {tls: {cert_file: cert.pem, key_file: key.pem}}")
	for name, c := range map[string]struct {
		args []string
		code int
		said string
	}{
		"nothing":       {nil, exitMisuse, "accepts 1 arg"},
		"unknown":       {[]string{"nginx", "--config", plain}, exitMisuse, `no snippet for "nginx"`},
		"no file":       {[]string{"envoy", "--config", filepath.Join(dir, "none.yaml")}, exitMisuse, "none.yaml"},
		"socket, istio": {[]string{"istio", "--config", socket}, exitMisuse, "listen.grpc is a socket"},
		"socket, eg":    {[]string{"envoy-gateway", "--config", socket}, exitMisuse, "listen.grpc is a socket"},
		"address":       {[]string{"envoy", "--config", plain, "--address", "authz"}, exitMisuse, `--address: "authz" is not host:port`},
		"hostile":       {[]string{"envoy", "--config", plain, "--address", "a}, {b:1"}, exitMisuse, "is not host:port"},
		"no service":    {[]string{"envoy-gateway", "--config", plain, "--address", "authz:9191"}, exitMisuse, "names no Service"},
		"api, istio":    {[]string{"istio", "--config", plain, "--api", "127.0.0.1:1"}, exitMisuse, "--api goes with envoy"},
		"nameless":      {[]string{"envoy", "--config", filepath.Join(nameless, "gatelodge.yaml")}, exitMisuse, "subjectAltName"},
		"peer, istio":   {[]string{"istio", "--config", peer}, exitYes, "client_certificates: peer is nothing that istio can be told"},
	} {
		t.Run(name, func(t *testing.T) {
			text, said, code := snippet(t, c.args...)
			if code != c.code || !strings.Contains(said, c.said) {
				t.Errorf("status %d, %s", code, said)
			}
			if code != exitYes && text != "" {
				t.Errorf("printed all the same:\n%s", text)
			}
		})
	}
}
