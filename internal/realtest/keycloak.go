package realtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// A KeycloakServer is a running Keycloak with a database of its own.
type KeycloakServer struct {
	URL string // http://127.0.0.1:port

	// Secure is https://127.0.0.1:port, where it asks for client certificates;
	// "" unless NewSecureKeycloak made it.
	Secure string

	dir, home        string
	port, management int
	more             []string // further arguments
	p                *Process
}

var sharedKeycloak = sync.OnceValues(func() (*KeycloakServer, error) {
	k, err := newKeycloak()
	if err != nil {
		return nil, err
	}
	return k, k.start(k.home)
})

// Keycloak returns the Keycloak that the tests of this process share; make a
// Realm in it. The first call starts it, which takes 5 to 20 seconds; it ends
// with the process.
func Keycloak(t testing.TB) *KeycloakServer {
	t.Helper()
	return needKeycloak(t, sharedKeycloak)
}

// NewKeycloak starts a Keycloak of the test's own, to stop and start again.
func NewKeycloak(t testing.TB) *KeycloakServer {
	t.Helper()
	k := needKeycloak(t, newKeycloak)
	t.Cleanup(func() { _ = os.RemoveAll(k.home) })
	k.Start(t)
	t.Cleanup(k.Stop)
	return k
}

// NewSecureKeycloak starts a Keycloak of the test's own that also serves https,
// with the certificate and key in PEM files, and asks for client certificates
// of the authority in another.
func NewSecureKeycloak(t testing.TB, certificate, key, authority string) *KeycloakServer {
	t.Helper()
	k := needKeycloak(t, newKeycloak)
	t.Cleanup(func() { _ = os.RemoveAll(k.home) })
	port := FreePort(t)
	k.Secure = fmt.Sprintf("https://127.0.0.1:%d", port)
	k.more = []string{
		fmt.Sprintf("--https-port=%d", port), "--https-certificate-file=" + certificate, "--https-certificate-key-file=" + key,
		"--truststore-paths=" + authority,
	}
	k.Start(t)
	t.Cleanup(k.Stop)
	return k
}

func needKeycloak(t testing.TB, get func() (*KeycloakServer, error)) *KeycloakServer {
	t.Helper()
	if _, err := parts.Dir("keycloak"); err != nil {
		missing(t, err)
	}
	k, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKeycloak() (*KeycloakServer, error) {
	dir, err := parts.Dir("keycloak")
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "keycloak-")
	if err != nil {
		return nil, err
	}
	k := &KeycloakServer{dir: dir, home: home}
	if err := parts.KeycloakHome(home); err != nil {
		return nil, err
	}
	if k.port, err = freePort(); err != nil {
		return nil, err
	}
	if k.management, err = freePort(); err != nil {
		return nil, err
	}
	k.URL = fmt.Sprintf("http://127.0.0.1:%d", k.port)
	return k, nil
}

func (k *KeycloakServer) start(rmAfter string) error {
	p, err := start(Command{
		Name: "keycloak", Path: filepath.Join(k.dir, "bin", "kc.sh"), rmAfter: rmAfter,
		Args: append(parts.KeycloakArgs(k.home, k.port, k.management), k.more...), Env: parts.KeycloakEnv(),
		log: filepath.Join(k.home, "log"),
	})
	if err != nil {
		return err
	}
	k.p = p
	health := fmt.Sprintf("http://127.0.0.1:%d/health/ready", k.management)
	// It calls itself healthy a moment before it has put up its routes.
	return p.Await(2*time.Minute, func() bool {
		healthy := k.Secure != "" || answersOK(health) // with https its health is told by that alone
		return healthy && answersOK(k.URL+"/realms/master")
	})
}

// Stop ends the server; its realms are kept for Start.
func (k *KeycloakServer) Stop() { _ = k.p.Stop() }

// Start starts a stopped server on the same port with the same realms.
func (k *KeycloakServer) Start(t testing.TB) {
	t.Helper()
	if err := k.start(""); err != nil {
		t.Fatal(err)
	}
}

// Admin makes a call of the admin API (path below /admin) with in as JSON body
// and reads the answer into out; either may be nil. Any status but 2xx fails
// the test.
func (k *KeycloakServer) Admin(t testing.TB, method, path string, in, out any) {
	t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, k.URL+"/admin"+path, &body)
	if err != nil {
		t.Fatal(err)
	}
	admin := tokenFrom(t, http.DefaultClient, k.URL+"/realms/master/protocol/openid-connect/token", "admin-cli", "", url.Values{
		"grant_type": {"password"}, "username": {parts.KeycloakAdmin}, "password": {parts.KeycloakAdminPassword},
	})
	req.Header.Set("Authorization", "Bearer "+admin)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 {
		t.Fatalf("keycloak: %s %s: %s: %s", method, path, resp.Status, answer)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("keycloak: %s %s: %v", method, path, err)
	}
}
