package main

import (
	"cmp"
	"crypto/x509"
	"embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
)

// The data planes that a snippet can be for.
const (
	planeEnvoy   = "envoy"
	planeIstio   = "istio"
	planeGateway = "envoy-gateway"
)

type snippetFlags struct {
	config  string
	address string
	api     string
	listen  string
	ca      string
	cert    string
	key     string
}

func newSnippet() *cobra.Command {
	var f snippetFlags
	cmd := &cobra.Command{
		Use:   "snippet envoy|istio|envoy-gateway --config FILE",
		Short: "Print what makes Envoy or Istio ask this server",
		Long: `Snippet prints what the data plane has to be told, by the configuration of this
server: where it listens, with or without TLS, and how long it may take.

  envoy          the filter, the cluster and the settings on paths, to be copied; with
                 --api, a whole configuration that Envoy can be started with
  istio          extensionProviders for the mesh configuration, and the policies
  envoy-gateway  the SecurityPolicy, and what goes with it

Where listen.grpc is every address of a machine, Envoy is told 127.0.0.1, and
Istio and Envoy Gateway the Service gatelodge in the namespace gatelodge. Name
another with --address. With listen.tls, the name that Envoy checks is taken from
the certificate; the files are those that Envoy sees.`,
		Example: `  gatelodge snippet envoy --config gatelodge.yaml
  gatelodge snippet envoy --config gatelodge.yaml --api 127.0.0.1:8080 > envoy.yaml
  gatelodge snippet istio --config gatelodge.yaml --address authz.infra.svc.cluster.local:9191`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{planeEnvoy, planeIstio, planeGateway},
		RunE:      func(cmd *cobra.Command, args []string) error { return runSnippet(cmd, args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`")
	flags.StringVar(&f.address, "address", "", "`HOST:PORT` where Gatelodge is reached (default: by listen.grpc)")
	flags.StringVar(&f.api, "api", "", "`HOST:PORT` of an HTTP API: print a whole Envoy configuration in front of it")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:10000", "`HOST:PORT` where Envoy listens (with --api)")
	flags.StringVar(&f.ca, "ca-file", "/etc/envoy/gatelodge-ca.pem", "with listen.tls: who issued Gatelodge's certificate, a `FILE` that Envoy sees")
	flags.StringVar(&f.cert, "cert-file", "/etc/envoy/client.pem", "with listen.tls.client_ca_file: Envoy's certificate, a `FILE` that Envoy sees")
	flags.StringVar(&f.key, "key-file", "/etc/envoy/client-key.pem", "with listen.tls.client_ca_file: the key of Envoy's certificate, a `FILE` that Envoy sees")
	_ = cmd.MarkFlagRequired("config") // the flag was defined above
	return cmd
}

//go:embed snippets
var snippetFiles embed.FS

func runSnippet(cmd *cobra.Command, plane string, f *snippetFlags) error {
	if !slices.Contains(cmd.ValidArgs, plane) {
		return fmt.Errorf("there is no snippet for %q: envoy, istio and envoy-gateway are known", plane)
	}
	c, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	s, err := newSnippetData(c, plane, f)
	if err != nil {
		return err
	}
	if c.Certificates == authz.PeerCertificate && plane != planeEnvoy {
		cmd.PrintErrf("warning: client_certificates: peer is nothing that %s can be told; tokens that are bound to a certificate will be refused\n", plane)
	}
	text, err := s.render(plane)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write([]byte(text))
	return err
}

// endpoint is where something is reached over TCP.
type endpoint struct {
	Host string
	Port int
}

// ClusterType is how Envoy finds the endpoint.
func (e endpoint) ClusterType() string {
	if _, err := netip.ParseAddr(e.Host); err == nil || e.Host == "" {
		return "STATIC"
	}
	return "STRICT_DNS"
}

// snippetData fills the templates.
type snippetData struct {
	endpoint
	Socket    string // in place of the endpoint
	Service   string // of Kubernetes
	Namespace string
	TLS       *snippetTLS
	Timeout   string // of one check
	Drain     time.Duration
	Peer      bool // Envoy tells the client's certificate
	Forwarded bool // the same, in a header
	Slashes   bool // encoded slashes are Gatelodge's to judge
	Front     endpoint
	API       *endpoint

	// The parts that others are made of.
	Paths, Filter, Cluster string
}

// snippetTLS is how Envoy speaks TLS to us.
type snippetTLS struct {
	Name, NameType            string // that our certificate must have: DNS or IP_ADDRESS
	CAFile, CertFile, KeyFile string // CertFile is empty where we ask for none
}

func newSnippetData(c *config.Config, plane string, f *snippetFlags) (*snippetData, error) {
	s := &snippetData{
		Timeout: checkTimeout(c), Drain: c.Limits.DrainDelay,
		Peer: c.Certificates == authz.PeerCertificate, Forwarded: c.Certificates == authz.ForwardedCertificate,
		Slashes: c.Paths.EncodedSlash == authz.AllowAmbiguous,
	}
	if err := s.locate(c.Listen.GRPC, plane, f.address); err != nil {
		return nil, err
	}
	if f.api != "" {
		if plane != planeEnvoy {
			return nil, errors.New("--api goes with envoy: the other two know their APIs")
		}
		api, err := parseEndpoint(f.api)
		if err != nil {
			return nil, fmt.Errorf("--api: %w", err)
		}
		if s.Front, err = parseEndpoint(f.listen); err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		s.API = &api
	}
	t := c.Listen.TLS
	if t == nil {
		return s, nil
	}
	s.TLS = &snippetTLS{CAFile: f.ca}
	if t.ClientCAFile != "" {
		s.TLS.CertFile, s.TLS.KeyFile = f.cert, f.key
	}
	var err error
	s.TLS.Name, s.TLS.NameType, err = certificateName(t.CertFile, s.Host)
	return s, err
}

// locate finds out where the data plane reaches us.
func (s *snippetData) locate(listen, plane, address string) (err error) {
	if socket, ok := strings.CutPrefix(cmp.Or(address, listen), "unix:"); ok {
		if plane != planeEnvoy {
			return fmt.Errorf("listen.grpc is a socket, which %s does not reach: set it to host:port, as 0.0.0.0:9191", plane)
		}
		s.Socket = socket
		return nil
	}
	if address != "" {
		if s.endpoint, err = parseEndpoint(address); err != nil {
			return fmt.Errorf("--address: %w", err)
		}
	} else {
		if s.endpoint, err = parseEndpoint(listen); err != nil {
			return fmt.Errorf("listen.grpc: %w", err)
		}
		ip, _ := netip.ParseAddr(s.Host)
		switch {
		case plane != planeEnvoy:
			s.Host = "gatelodge.gatelodge.svc.cluster.local"
		case s.Host == "" || ip.IsUnspecified():
			s.Host = "127.0.0.1"
		}
	}
	if plane != planeGateway {
		return nil
	}
	labels := strings.Split(s.Host, ".")
	if _, err := netip.ParseAddr(s.Host); err == nil || len(labels) < 2 {
		return fmt.Errorf("--address %q names no Service: it is to be like gatelodge.gatelodge.svc.cluster.local:9191", address)
	}
	s.Service, s.Namespace = labels[0], labels[1]
	return nil
}

func parseEndpoint(address string) (endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not host:port", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strings.ContainsAny(host, " /@'\"{}[],") {
		return endpoint{}, fmt.Errorf("%q is not host:port", address)
	}
	return endpoint{host, int(n)}, nil
}

// checkTimeout is how long Envoy waits for an answer: longer than we wait for
// the slowest provider, so that our answer is told and not Envoy's.
func checkTimeout(c *config.Config) string {
	longest := 5 * time.Second // of a provider that sets none
	for _, p := range c.Providers {
		longest = max(longest, p.Timeout)
	}
	return fmt.Sprintf("%ds", int((longest+1999*time.Millisecond)/time.Second))
}

// certificateName returns the name that Envoy is to look for in the server's
// certificate: the host, if the certificate has it, else one that it has.
func certificateName(file, host string) (name, kind string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("listen.tls.cert_file: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", "", fmt.Errorf("listen.tls.cert_file: %s holds no PEM certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", "", fmt.Errorf("listen.tls.cert_file: %s: %w", file, err)
	}
	for _, ip := range cert.IPAddresses {
		if ip.String() == host {
			return host, "IP_ADDRESS", nil
		}
	}
	names := slices.DeleteFunc(slices.Clone(cert.DNSNames), func(n string) bool { return strings.HasPrefix(n, "*") })
	switch {
	case slices.Contains(names, host):
		return host, "DNS", nil
	case len(names) > 0:
		return names[0], "DNS", nil
	case len(cert.IPAddresses) > 0:
		return cert.IPAddresses[0].String(), "IP_ADDRESS", nil
	}
	return "", "", fmt.Errorf("listen.tls.cert_file: the certificate of %s has no name (subjectAltName) that Envoy could look for", file)
}

// render fills the templates of a data plane.
func (s *snippetData) render(plane string) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"indent": indent, "word": word}).ParseFS(snippetFiles, "snippets/*.yaml")
	if err != nil {
		return "", err
	}
	fill := func(name string) (string, error) {
		var b strings.Builder
		if err := t.ExecuteTemplate(&b, name+".yaml", s); err != nil {
			return "", fmt.Errorf("writing the snippet: %w", err)
		}
		return b.String(), nil
	}
	for name, part := range map[string]*string{"paths": &s.Paths, "filter": &s.Filter, "cluster": &s.Cluster} {
		if *part, err = fill(name); err != nil {
			return "", err
		}
	}
	if s.API != nil {
		plane = "bootstrap"
	}
	return fill(plane)
}

// indent moves the lines of a part to the right, without its last line end.
func indent(n int, text string) string {
	space := strings.Repeat(" ", n)
	return space + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+space)
}

// word writes a text as YAML reads it back, also where a plain word would be
// something else.
func word(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
