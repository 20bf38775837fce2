package parts

import (
	"os"
	"path/filepath"

	"github.com/gatelodge/gatelodge/internal/realtest/oidcprovider"
)

// installOIDCProvider fetches the packages that the lock file names.
func installOIDCProvider(j job, dir string) error {
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := oidcprovider.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	node, err := Dir("node")
	if err != nil {
		return err
	}
	j.say("fetching the npm packages")
	path := "PATH=" + filepath.Join(node, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	return j.run(dir, []string{path}, filepath.Join(node, "bin", "node"),
		filepath.Join(node, "lib", "node_modules", "npm", "bin", "npm-cli.js"),
		"ci", "--no-audit", "--no-fund", "--ignore-scripts")
}
