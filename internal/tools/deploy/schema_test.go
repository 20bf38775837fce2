package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// kubernetesSchemas is where `go run ./internal/dev setup` puts the schemas of
// Kubernetes, one file a kind, unknown fields refused.
const kubernetesSchemas = root + "/.tools/kubernetes-schemas"

// schemas know the kinds of Kubernetes and Istio.
type schemas struct {
	compiler   *jsonschema.Compiler
	kubernetes string
	istio      map[string]string // group/version/kind → URL
}

func loadSchemas(t *testing.T) *schemas {
	t.Helper()
	dir, err := filepath.Abs(kubernetesSchemas)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		missing(t, "the schemas of Kubernetes")
	}
	s := &schemas{compiler: jsonschema.NewCompiler(), kubernetes: dir, istio: map[string]string{}}
	// The schemas of the kinds refer to each other by this address.
	shared := documents(t, filepath.Join(dir, "_definitions.json"))[0]
	if err := s.compiler.AddResource("https://kubernetes.io/api/_definitions.json", shared); err != nil {
		t.Fatal(err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(module)), "kubernetes", "customresourcedefinitions.gen.yaml")
	for _, crd := range documents(t, file) {
		s.addDefinition(t, crd)
	}
	return s
}

// missing fails where every part is required, and else notes what did not run.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", what)
	}
	if path := os.Getenv("GATELODGE_NOT_RUN"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "%s: not installed: %s\n", t.Name(), what)
	}
	t.Skipf("NOT RUN: not installed: %s", what)
}

// addDefinition takes the schemas out of one custom resource definition.
func (s *schemas) addDefinition(t *testing.T, crd map[string]any) {
	t.Helper()
	spec := crd["spec"].(map[string]any)
	kind := spec["names"].(map[string]any)["kind"]
	for _, v := range spec["versions"].([]any) {
		version := v.(map[string]any)
		schema := closed(version["schema"].(map[string]any)["openAPIV3Schema"]).(map[string]any)
		properties := schema["properties"].(map[string]any)
		for _, name := range []string{"apiVersion", "kind"} {
			properties[name] = map[string]any{"type": "string"}
		}
		properties["metadata"] = map[string]any{"type": "object"}
		key := fmt.Sprintf("%s/%s/%s", spec["group"], version["name"], kind)
		s.istio[key] = "istio:" + key
		if err := s.compiler.AddResource(s.istio[key], schema); err != nil {
			t.Fatal(err)
		}
	}
}

// closed makes an OpenAPI schema refuse unknown fields, as the API server's
// strict validation does, and puts its extensions into JSON Schema's words.
func closed(schema any) any {
	switch schema := schema.(type) {
	case []any:
		for i := range schema {
			schema[i] = closed(schema[i])
		}
	case map[string]any:
		if schema["x-kubernetes-int-or-string"] == true {
			return map[string]any{"type": []any{"string", "integer"}}
		}
		for name, part := range schema {
			schema[name] = closed(part)
		}
		_, object := schema["properties"].(map[string]any)
		_, said := schema["additionalProperties"]
		if object && !said && schema["type"] == "object" && schema["x-kubernetes-preserve-unknown-fields"] != true {
			schema["additionalProperties"] = false
		}
	}
	return schema
}

// check validates one object.
func (s *schemas) check(object map[string]any) error {
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	url := s.istio[apiVersion+"/"+kind]
	if url == "" {
		name := strings.ToLower(kind) + "-" + apiVersion
		if group, version, ok := strings.Cut(apiVersion, "/"); ok {
			name = strings.ToLower(kind) + "-" + strings.Split(group, ".")[0] + "-" + version
		}
		url = filepath.Join(s.kubernetes, name+".json")
	}
	schema, err := s.compiler.Compile(url)
	if err != nil {
		return fmt.Errorf("no schema for %s %s: %w", apiVersion, kind, err)
	}
	if err := schema.Validate(object); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}
