package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/gatelodge/gatelodge/internal/config"
)

// certificates is TLS whose files can be read again while it is in use.
type certificates struct{ current atomic.Pointer[tls.Config] }

// load reads the files; what is wrong with them leaves the old ones in use.
func (c *certificates) load(t *config.TLS) error {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return fmt.Errorf("listen.tls: %w", err)
	}
	next := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"},
	}
	if t.ClientCAFile != "" {
		pem, err := os.ReadFile(t.ClientCAFile)
		if err != nil {
			return fmt.Errorf("listen.tls.client_ca_file: %w", err)
		}
		next.ClientCAs, next.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !next.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("listen.tls.client_ca_file holds no PEM certificate")
		}
	}
	c.current.Store(next)
	return nil
}

// server returns the configuration of a listener that follows load.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current.Load(), nil
		},
	}
}
