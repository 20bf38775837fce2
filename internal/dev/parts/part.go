package parts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Part is one real program that tests and the demo run against.
type Part struct {
	Name    string
	Version string
	Needs   []string // parts that must be there first

	// Elsewhere returns a folder of the machine's own where the part already
	// is; nil or "" when it has to be installed.
	Elsewhere func() string

	// install puts the part into the empty folder dir.
	install func(j job, dir string) error
}

// Table holds every part, in the order of installation.
func Table() []Part {
	return []Part{
		{Name: "envoy", Version: "1.40.0", install: installEnvoy},
		{Name: "node", Version: "24.19.0", install: installNode},
		{Name: "oidc-provider", Version: "9.13.3", Needs: []string{"node"}, install: installOIDCProvider},
		{Name: "postgres", Version: "0.6.0", Elsewhere: machinePostgres, install: installPostgres},
		{Name: "kubernetes-schemas", Version: "1.37.0", install: installKubernetesSchemas},
		{Name: "schemathesis", Version: "4.32.5", install: installSchemathesis},
		{Name: "keycloak", Version: "26.7.3", install: installKeycloak},
	}
}

func find(name string) (Part, error) {
	for _, p := range Table() {
		if p.Name == name {
			return p, nil
		}
	}
	return Part{}, fmt.Errorf("there is no part %q", name)
}

// ErrMissing is wrapped by the errors of Dir and the functions built on it
// when a part is not installed.
var ErrMissing = errors.New("not installed; `go run ./internal/dev setup` installs it")

// Dir returns the folder of an installed part.
func Dir(name string) (string, error) {
	p, err := find(name)
	if err != nil {
		return "", err
	}
	if p.Elsewhere != nil {
		if dir := p.Elsewhere(); dir != "" {
			return dir, nil
		}
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", name)
	if !p.installedIn(dir) {
		return "", fmt.Errorf("%s %s is %w", p.Name, p.Version, ErrMissing)
	}
	return dir, nil
}

// Envoy returns the path of the Envoy binary.
func Envoy() (string, error) { return program("envoy", "envoy") }

// Node returns the path of the Node.js binary.
func Node() (string, error) { return program("node", "node") }

// Schemathesis returns the Python that has Schemathesis, which is run with
// "-m schemathesis.cli".
func Schemathesis() (string, error) { return program("schemathesis", "python3") }

// Postgres returns the folder of PostgreSQL's programs (initdb, postgres …).
func Postgres() (string, error) {
	dir, err := Dir("postgres")
	return filepath.Join(dir, "bin"), err
}

func program(part, name string) (string, error) {
	dir, err := Dir(part)
	return filepath.Join(dir, "bin", name), err
}

// Root returns the top of the repository that the working directory lies in:
// the nearest folder upwards that holds a go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the repository: no go.mod from here upwards")
		}
		dir = up
	}
}
