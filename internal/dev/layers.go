package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

const module = "github.com/gatelodge/gatelodge"

// mayImport says which of our own packages the core packages may import, so
// that a decision never depends on who asks or on who vouches:
// cmd → envoy, providers, internal; envoy → authz ← providers.
var mayImport = map[string][]string{
	"authz":               {},
	"internal/expression": {"authz"},
	"envoy":               {"authz", "internal/unary"},
	"internal/unary":      {},
	"providers":           {"authz", "internal/tokenstore"},
}

// mustNotImport are modules that the core packages know nothing of.
var mustNotImport = map[string][]string{
	"authz":     {"github.com/envoyproxy/", "google.golang.org/grpc", "golang.org/x/oauth2", "github.com/lestrrat-go/jwx", "net/http"},
	"providers": {"github.com/envoyproxy/", "google.golang.org/grpc"},
}

// layers finds imports against the direction of the design. Tests are free.
func layers(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	var found []string
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return strings.Join(found, "\n"), nil
		} else if err != nil {
			return "", fmt.Errorf("go list: %w", err)
		}
		pkg := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			if against(pkg, imported) {
				found = append(found, pkg+" imports "+imported)
			}
		}
	}
}

func against(pkg, imported string) bool {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		allowed, core := mayImport[pkg]
		return core && !slices.Contains(allowed, ours)
	}
	for _, prefix := range mustNotImport[pkg] {
		if strings.HasPrefix(imported, prefix) {
			return true
		}
	}
	return false
}
