package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	mesh "istio.io/api/mesh/v1alpha1"
)

const (
	root  = "../../.."
	istio = root + "/examples/istio"
)

func TestCompose(t *testing.T) {
	t.Parallel()
	text := read(t, root+"/docker-compose.yml")
	project := compose(t, text)
	if project == nil {
		return
	}
	for _, s := range project.Services {
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("service %s mounts what is not there: %v", s.Name, err)
			}
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("service %s is built from what is not there: %v", s.Name, err)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("service %s publishes port %s on %q, not on loopback", s.Name, p.Published, p.HostIP)
			}
		}
	}
	// The names that Envoy's clusters look up are services.
	envoy := string(read(t, root+"/examples/envoy/envoy.yaml"))
	for _, name := range []string{"gatelodge", "api"} {
		if _, err := project.GetService(name); err != nil || !strings.Contains(envoy, "address: "+name+",") {
			t.Errorf("Envoy asks for %s: %v", name, err)
		}
	}
	if _, err := load(append(text, "\nservice: {}\n"...)); err == nil {
		t.Error("the loader takes a key that is none")
	}
}

func compose(t *testing.T, text []byte) *types.Project {
	t.Helper()
	project, err := load(text)
	if err != nil {
		t.Error(err)
	}
	return project
}

func load(text []byte) (*types.Project, error) {
	dir, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml"), Content: text}},
	})
}

// TestKubernetes checks every object of examples/istio against the schema of
// its kind: Kubernetes' own, or Istio's custom resource definition.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	s := loadSchemas(t)
	checked := 0
	for _, file := range resources(t) {
		for _, object := range documents(t, filepath.Join(istio, file)) {
			if err := s.check(object); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("only %d objects were found", checked)
	}
	for _, wrong := range []string{
		`{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replica": 2}}`,
		`{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "spec": {"action": "CUSTOM", "providers": {}}}`,
		`{"apiVersion": "v1", "kind": "Servise"}`,
	} {
		var object map[string]any
		if err := json.Unmarshal([]byte(wrong), &object); err != nil {
			t.Fatal(err)
		}
		if s.check(object) == nil {
			t.Errorf("taken for good: %s", wrong)
		}
	}
}

// resources returns the files that kustomization.yaml puts together.
func resources(t *testing.T) []string {
	t.Helper()
	var k struct {
		Kind               string
		Resources          []string
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
	if err := yaml.Unmarshal(read(t, istio+"/kustomization.yaml"), &k); err != nil {
		t.Fatal(err)
	}
	if k.Kind != "Kustomization" || len(k.ConfigMapGenerator) != 1 {
		t.Fatalf("kustomization.yaml reads as %+v", k)
	}
	read(t, filepath.Join(istio, k.ConfigMapGenerator[0].Files[0]))
	return k.Resources
}

func TestMeshConfig(t *testing.T) {
	t.Parallel()
	meshFile := documents(t, istio+"/mesh.yaml")[0]
	text, err := json.Marshal(meshFile)
	if err != nil {
		t.Fatal(err)
	}
	var m mesh.MeshConfig
	if err := protojson.Unmarshal(text, &m); err != nil { // unknown fields are errors
		t.Fatal(err)
	}
	if len(m.ExtensionProviders) != 1 {
		t.Fatalf("%d extension providers, want one", len(m.ExtensionProviders))
	}
	p := m.ExtensionProviders[0]
	grpc := p.GetEnvoyExtAuthzGrpc()
	if grpc == nil || grpc.FailOpen || grpc.Service != "gatelodge.gatelodge.svc.cluster.local" {
		t.Errorf("the provider lets requests pass unasked, or asks elsewhere: %v", p)
	}
	policy := documents(t, istio+"/authorization-policy.yaml")[0]
	spec, _ := policy["spec"].(map[string]any)
	provider, _ := spec["provider"].(map[string]any)
	if provider["name"] != p.Name || spec["action"] != "CUSTOM" {
		t.Errorf("the policy names the provider %v, the mesh knows %q", provider["name"], p.Name)
	}
}

// documents returns the YAML documents of a file as JSON values.
func documents(t *testing.T, path string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for d := yaml.NewDecoder(bytes.NewReader(read(t, path))); ; {
		var object map[string]any
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		// Through JSON, so that numbers are what a schema expects.
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		object = nil
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
