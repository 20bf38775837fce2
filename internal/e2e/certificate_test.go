package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	made := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.certificate, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pem = pemOf("CERTIFICATE", made.Certificate[0])
	return a
}

// of returns a certificate for a name, good for loopback servers and clients.
func (a *authority) of(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(t testing.TB, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer, by := a.key, a.certificate
	if by == nil {
		signer, by = key, c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// pemPair returns the PEM texts of a certificate and its key.
func pemPair(t testing.TB, c tls.Certificate) (certificate, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", c.Certificate[0]), pemOf("PRIVATE KEY", der)
}

// hexHash is a certificate as x-forwarded-client-cert has it.
func hexHash(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// certificateConfig takes tokens that are bound to a client certificate.
const certificateConfig = `
client_certificates: %s
providers:
  - {name: op, type: oidc, issuer: %q, audiences: [urn:api:jwt], ca_file: %q, service_accounts: {svc-mtls: robot, svc: loose}}
`

// forwards are ways for Envoy to treat x-forwarded-client-cert. The first is
// the one that is documented; the others must not open anything either.
var forwards = []variant{
	{name: "sanitize-set", manager: "\n          forward_client_cert_details: SANITIZE_SET"},
	{name: "sanitize-set-raw", raw: true, manager: "\n          forward_client_cert_details: SANITIZE_SET\n          set_current_client_cert_details: {subject: true, cert: true, chain: true, dns: true, uri: true}"},
	{name: "append-forward", manager: "\n          forward_client_cert_details: APPEND_FORWARD"},
	{name: "append-forward-raw", raw: true, manager: "\n          forward_client_cert_details: APPEND_FORWARD"},
}

// mutualTLS makes a listener that asks for client certificates of an authority
// and takes connections without one too.
func mutualTLS(t testing.TB, v variant, a *authority) variant {
	t.Helper()
	certificate, key := pemPair(t, a.of(t, "api"))
	v.socket = fmt.Sprintf(`
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates: [{certificate_chain: {inline_string: %q}, private_key: {inline_string: %q}}]
            validation_context: {trusted_ca: {inline_string: %q}}`, certificate, key, a.pem)
	return v
}

// shows returns the protocols over TLS with a client certificate; nil: none.
func shows(certificate *tls.Certificate) []protocol {
	return over(func(address string) (net.Conn, error) {
		c, err := dial(address)
		if err != nil {
			return nil, err
		}
		settings := &tls.Config{InsecureSkipVerify: true} // our own, on loopback
		if certificate != nil {
			settings.Certificates = []tls.Certificate{*certificate}
		}
		return tls.Client(c, settings), nil
	})
}

// TestBoundToACertificate sends tokens that a real provider bound to a client
// certificate through an Envoy that ends TLS: they pass with that certificate,
// and with nothing that only says it was there.
func TestBoundToACertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	right, other := a.of(t, "robot"), a.of(t, "robot") // alike in all but the key
	serverCert, serverKey := pemPair(t, a.of(t, "op"))
	clientCert, _ := pemPair(t, right)
	op := realtest.OIDCProviderWith(t, realtest.OIDCOptions{Key: serverKey, Cert: serverCert, ClientCert: clientCert})
	ca := written(t, a.pem)
	bound := bearer(op.TokenByCertificate(t, "svc-mtls", "urn:api:jwt", right))
	unbound := bearer(op.ClientToken(t, "svc", "urn:api:jwt", ""))
	for source, listeners := range map[string][]variant{"xfcc": forwards, "peer": forwards, "none": forwards[:1]} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			f := behindTLS(t, a, listeners, fmt.Sprintf(certificateConfig, source, op.Issuer, ca))
			checkBound(t, f, listeners, bound, source != "none", right, other)
			for _, p := range protocols {
				q := request{target: "/issues", headers: []field{unbound}}
				r, seen := f.send(t, p, withoutTLS, q)
				passes(t, q, r, seen, "loose")
			}
		})
	}
}

// TestKeycloakBindsToACertificate is the same with a real Keycloak.
func TestKeycloakBindsToACertificate(t *testing.T) {
	realtest.Proof(t)
	t.Parallel()
	a := newAuthority(t)
	right, other := a.of(t, "robot"), a.of(t, "robot")
	serverCert, serverKey := pemPair(t, a.of(t, "sso"))
	ca := written(t, a.pem)
	k := realtest.NewSecureKeycloak(t, written(t, serverCert), written(t, serverKey), ca)
	r := k.Realm(t)
	bound := bearer(r.TokenByCertificate(t, "mtls", right))
	for _, source := range []string{"xfcc", "peer"} {
		t.Run(source, func(t *testing.T) {
			f := behindTLS(t, a, forwards, fmt.Sprintf(`
client_certificates: %s
providers:
  - {name: sso, type: keycloak, base_url: %q, realm: %s, audiences: [%q], ca_file: %q, service_accounts: {mtls: robot}}
`, source, k.Secure, r.Name, realtest.RealmAudience, ca))
			checkBound(t, f, forwards, bound, true, right, other)
		})
	}
}

// written puts a text into a file of its own and returns its path.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "text.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutTLS is the listener beside those that end TLS.
var withoutTLS = variant{name: "plain"}

// behindTLS is a server behind listeners that end TLS, and one that does not.
func behindTLS(t *testing.T, a *authority, listeners []variant, config string) *front {
	t.Helper()
	g := serve(t, config)
	g.awaitReady(t)
	all := []variant{withoutTLS}
	for _, v := range listeners {
		all = append(all, mutualTLS(t, v, a))
	}
	u := newUpstream(t)
	return &front{upstream: u, envoy: realtest.Envoy(t, bootstrapOf(all, u.address, g.grpc))}
}

// checkBound sends a token with the right certificate, with others, and with
// words about one. looked says whether the server looks at certificates.
func checkBound(t *testing.T, f *front, listeners []variant, bound field, looked bool, right, other tls.Certificate) {
	t.Helper()
	xfcc := func(value string) field { return field{"x-forwarded-client-cert", value} }
	good := "Hash=" + hexHash(right)
	whole := xfcc(good + `;Subject="CN=robot"`)
	for _, c := range []struct {
		name    string
		shown   *tls.Certificate
		headers []field
		passes  bool
	}{
		{"the right certificate", &right, []field{bound}, looked},
		{"the right one, and another forged", &right, []field{bound, xfcc("Hash=" + hexHash(other))}, looked},
		{"another certificate", &other, []field{bound}, false},
		{"another, and the right one forged", &other, []field{bound, whole}, false},
		{"another, and the right one forged twice", &other, []field{bound, whole, whole}, false},
		{"another, and the right one forged within quotes", &other, []field{bound, xfcc(`Subject="`), whole}, false},
		{"another, and the right one forged with an open quote", &other, []field{bound, xfcc(good + `;Subject="`)}, false},
		{"another, and the right one forged with a backslash", &other, []field{bound, xfcc(good + `;X=\`)}, false},
		{"none", nil, []field{bound}, false},
		{"none, and the right one forged", nil, []field{bound, whole}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range listeners {
				for _, p := range shows(c.shown) {
					checkCertificate(t, f, p, v, c.headers, c.passes)
				}
			}
		})
	}
	t.Run("without TLS", func(t *testing.T) {
		for _, p := range protocols {
			checkCertificate(t, f, p, withoutTLS, []field{bound}, false)
			checkCertificate(t, f, p, withoutTLS, []field{bound, whole}, false)
		}
	})
}

func checkCertificate(t *testing.T, f *front, p protocol, v variant, headers []field, good bool) {
	t.Helper()
	q := request{target: "/issues", headers: headers}
	r, seen := f.send(t, p, v, q)
	if good {
		passes(t, q, r, seen, "robot")
		return
	}
	if refused(t, q, r, seen, 401); !strings.Contains(r.header.Get("www-authenticate"), `error="invalid_token"`) {
		t.Errorf("%s, %s: challenged with %q", p.name, v.name, r.header.Values("www-authenticate"))
	}
}
