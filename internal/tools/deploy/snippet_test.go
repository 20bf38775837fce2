package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	mesh "istio.io/api/mesh/v1alpha1"
)

// The module that the schemas of Envoy Gateway are taken from. Only its files
// are used, not its code: it stands in no go.mod.
const (
	gatewayModule = "github.com/envoyproxy/gateway@v1.6.0"
	gatewaySum    = "h1:AWKXQpvnNs6vqSeDgSwOyqMKlPircGXvw97mkfcDh/w="
)

// TestSnippets holds what `gatelodge snippet` prints for Istio and for Envoy
// Gateway against the schemas of its kinds, without TLS, with it, and with
// certificates on both sides.
func TestSnippets(t *testing.T) {
	t.Parallel()
	s := loadSchemas(t)
	s.addGateway(t)
	binary := filepath.Join(t.TempDir(), "gatelodge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/gatelodge")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, listen := range map[string]string{
		"plain":  "",
		"tls":    "listen: {tls: {cert_file: cert.pem, key_file: key.pem}}\n",
		"mutual": "listen: {tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}}\nclient_certificates: xfcc\n",
	} {
		file := settings(t, listen)
		for plane, kinds := range map[string]map[string]int{
			"istio":         {"": 1, "AuthorizationPolicy": 1, "DestinationRule": 1},
			"envoy-gateway": {"SecurityPolicy": 1, "ClientTrafficPolicy": 1, "ReferenceGrant": 1, "BackendTLSPolicy": 1},
		} {
			out, err := exec.Command(binary, "snippet", plane, "--config", file).Output()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, plane, err)
			}
			printed := filepath.Join(t.TempDir(), "snippet.yaml")
			if err := os.WriteFile(printed, out, 0o600); err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, object := range documents(t, printed) {
				kind, _ := object["kind"].(string)
				got[kind]++
				if kind == "" {
					err = checkMesh(object)
				} else {
					err = s.check(object)
				}
				if err != nil {
					t.Errorf("%s, %s: %v", name, plane, err)
				}
			}
			for kind, n := range kinds {
				if kind == "DestinationRule" || kind == "BackendTLSPolicy" {
					if name == "plain" {
						n = 0
					}
				}
				if got[kind] != n {
					t.Errorf("%s, %s: %d of kind %q, want %d", name, plane, got[kind], kind, n)
				}
			}
		}
	}
	wrong := map[string]any{
		"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy",
		"spec": map[string]any{"extAuth": map[string]any{"grpc": map[string]any{}, "failOpened": false}},
	}
	if s.check(wrong) == nil {
		t.Error("a SecurityPolicy with a field that is none is taken for good")
	}
}

// addGateway takes in the kinds of Envoy Gateway and of the Gateway API.
func (s *schemas) addGateway(t *testing.T) {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", gatewayModule).Output()
	if err != nil {
		t.Fatalf("fetching the schemas of Envoy Gateway: %v\n%s", err, out)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	if module.Sum != gatewaySum {
		t.Fatalf("%s has the sum %s, want %s", gatewayModule, module.Sum, gatewaySum)
	}
	crds := filepath.Join(module.Dir, "charts", "gateway-helm", "crds")
	for _, name := range []string{
		"gatewayapi-crds.yaml", "generated/gateway.envoyproxy.io_securitypolicies.yaml",
		"generated/gateway.envoyproxy.io_clienttrafficpolicies.yaml",
	} {
		for _, crd := range documents(t, filepath.Join(crds, name)) {
			if crd != nil {
				s.addDefinition(t, crd)
			}
		}
	}
}

func checkMesh(object map[string]any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	var m mesh.MeshConfig
	return protojson.Unmarshal(text, &m) // unknown fields are errors
}

// settings writes a configuration with a certificate beside it.
func settings(t *testing.T, listen string) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"gatelodge.gatelodge.svc.cluster.local"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gatelodge.yaml")
	for name, text := range map[string][]byte{
		"cert.pem":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"key.pem":        pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"gatelodge.yaml": []byte(listen + "providers:\n  - {name: sso, type: oidc, issuer: \"https://sso.example.com\", audiences: [api]}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}
