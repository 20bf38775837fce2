package parts

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// installSchemathesis makes a virtual environment: unlike the other wheels,
// this one is a Python program with many packages. The folder is moved when it
// is whole, so what is run there is its python3, never a script with a path in it.
func installSchemathesis(j job, dir string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("needs Python 3 (python3)")
	}
	if err := j.run("", nil, python, "-m", "venv", dir); err != nil {
		return fmt.Errorf("needs python3-venv: %w", err)
	}
	j.say("fetching the Python packages")
	return j.run("", nil, filepath.Join(dir, "bin", "python3"), "-m", "pip", "install", "--quiet",
		"--disable-pip-version-check", "--only-binary=:all:", "schemathesis=="+j.part.Version)
}
