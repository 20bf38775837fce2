package providertest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Hosts are the hosted providers under their own names, as api.github.com: a
// proxy in whose network nobody else lives. Settings then need no endpoints, and
// what a type makes of them is put to the test too.
//
// There is one for a process, which is to have its URL in HTTPS_PROXY before the
// first call of a provider.
type Hosts struct {
	URL    string // of the proxy
	CAFile string // PEM file of the authority that vouches for every host

	dir   string
	proxy *httptest.Server
	front *http.Server
	conns *connections
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey

	mu      sync.Mutex
	servers map[string]*Server
	strays  []string // hosts that were asked for and are nobody's
}

// NewHosts starts the proxy.
func NewHosts() (*Hosts, error) {
	h := &Hosts{servers: map[string]*Server{}, conns: &connections{next: make(chan net.Conn), closed: make(chan struct{})}}
	if err := h.makeCA(); err != nil {
		return nil, err
	}
	h.front = &http.Server{
		Handler:   http.HandlerFunc(h.serve),
		TLSConfig: &tls.Config{GetCertificate: h.certificate},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	go func() { _ = h.front.ServeTLS(h.conns, "", "") }()
	h.proxy = httptest.NewServer(http.HandlerFunc(h.connect))
	h.URL = h.proxy.URL
	return h, nil
}

// Close ends the proxy.
func (h *Hosts) Close() {
	_ = h.front.Close()
	h.proxy.CloseClientConnections()
	h.proxy.Close()
	_ = os.RemoveAll(h.dir)
}

// Server returns the server of hosts, which all are its own from now on, until
// the test ends.
func (h *Hosts) Server(t testing.TB, hosts ...string) *Server {
	t.Helper()
	s := &Server{URL: "https://" + hosts[0], CAFile: h.CAFile, Timeout: patience, t: t, release: make(chan struct{}), keys: &Issuer{release: make(chan struct{})}}
	s.keys.keys = []Key{sharedKey(t)}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, host := range hosts {
		h.servers[host] = s
	}
	t.Cleanup(func() {
		close(s.release)
		close(s.keys.release)
	})
	return s
}

// Strays returns the hosts that were asked for and are nobody's.
func (h *Hosts) Strays() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.strays...)
}

func (h *Hosts) of(host string) *Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.servers[host]
	if s == nil {
		h.strays = append(h.strays, host)
	}
	return s
}

func (h *Hosts) serve(w http.ResponseWriter, r *http.Request) {
	if s := h.of(r.Host); s != nil {
		s.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusMisdirectedRequest)
}

// connect opens a tunnel (RFC 9110 §9.3.6), which ends at our own front.
func (h *Hosts) connect(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || h.of(host) == nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	h.conns.give(&tunnel{conn, buffered.Reader})
}

func (h *Hosts) makeCA() (err error) {
	if h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	h.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, h.ca, h.ca, h.key.Public(), h.key)
	if err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp("", "hosts"); err != nil {
		return err
	}
	h.CAFile = filepath.Join(h.dir, "ca.pem")
	return os.WriteFile(h.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// certificate makes one for the host that is asked for.
func (h *Hosts) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{hello.ServerName},
		NotBefore: h.ca.NotBefore, NotAfter: h.ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, h.ca, h.key.Public(), h.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: h.key}, err
}

// tunnel is a connection of which a part may have been read already.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.r.Read(p) }

// connections is a listener that is given its connections.
type connections struct {
	next   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *connections) give(conn net.Conn) {
	select {
	case c.next <- conn:
	case <-c.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (c *connections) Accept() (net.Conn, error) {
	select {
	case conn := <-c.next:
		return conn, nil
	case <-c.closed:
		return nil, errors.New("closed")
	}
}

// Close implements net.Listener.
func (c *connections) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// Addr implements net.Listener.
func (c *connections) Addr() net.Addr { return &net.TCPAddr{} }
