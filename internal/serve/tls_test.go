package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/gatelodge/gatelodge/providers/providertest"
)

// authority issues certificates, for servers on loopback and for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	cert, key := a.issue(t, "authority")
	a.pem = cert
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue returns a certificate and its key as PEM; the first is the authority's own.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, signer := a.cert, a.key
	if by == nil {
		of.IsCA, of.BasicConstraintsValid, of.KeyUsage = true, true, x509.KeyUsageCertSign
		by, signer = of, private
	}
	der, err := x509.CreateCertificate(rand.Reader, of, by, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// check makes a check over TLS, and returns the name in the server's certificate.
func (a *authority) check(t *testing.T, address string, own *tls.Certificate) (server string, err error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	c := &tls.Config{RootCAs: roots, VerifyConnection: func(s tls.ConnectionState) error {
		server = s.PeerCertificates[0].Subject.CommonName
		return nil
	}}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{})
	return server, err
}

// With a client CA only those who show a certificate of it are answered, the
// files are read again when they change, and what is wrong with them leaves the
// old ones in use.
func TestTLS(t *testing.T) {
	for name, lean := range map[string]bool{"grpc-go": false, "lean": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testTLS(t, lean)
		})
	}
}

func testTLS(t *testing.T, lean bool) {
	t.Helper()
	ours, foreign := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(a *authority, name string) *tls.Certificate {
		t.Helper()
		p, err := tls.X509KeyPair(a.issue(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	cert, key := ours.issue(t, "first")
	write("cert.pem", cert)
	write("key.pem", key)
	write("ca.pem", ours.pem)
	text := strings.Replace(configFor(providertest.NewIssuer(t), ""), `listen: {grpc: "127.0.0.1:0",`, fmt.Sprintf(
		`listen: {lean_transport: %t, tls: {cert_file: %q, key_file: %q, client_ca_file: %q}, grpc: "127.0.0.1:0",`, lean,
		filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")), 1)
	l := start(t, text)

	envoy := pair(ours, "envoy")
	if server, err := ours.check(t, l.grpc, envoy); err != nil || server != "first" {
		t.Errorf("a client of ours: %v, by %q", err, server)
	}
	for name, own := range map[string]*tls.Certificate{"no certificate": nil, "a foreign one": pair(foreign, "envoy")} {
		if _, err := ours.check(t, l.grpc, own); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	if _, err := foreign.check(t, l.grpc, envoy); err == nil {
		t.Error("a client that does not trust us was answered")
	}

	write("key.pem", []byte("half a ke"))
	l.eventually("a key that is none is told", func() bool { return strings.Contains(l.log.String(), "does not go with key_file") })
	if server, err := ours.check(t, l.grpc, envoy); err != nil || server != "first" {
		t.Errorf("with a broken key in the file: %v, by %q", err, server)
	}
	cert, key = ours.issue(t, "second")
	write("cert.pem", cert)
	write("key.pem", key)
	l.eventually("the new certificate is shown", func() bool {
		server, err := ours.check(t, l.grpc, envoy)
		return err == nil && server == "second"
	})

	l.write(strings.Replace(text, "audiences: api", "audiences: []", 1))
	write("ca.pem", foreign.pem)
	l.eventually("a change that is refused", func() bool { return strings.Contains(l.log.String(), "providers[0]") })
	if _, err := ours.check(t, l.grpc, envoy); err != nil {
		t.Errorf("a refused change took its CA with it: %v", err)
	}
}
