package realtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// Schemathesis lets the fuzzing client of that name loose on an API, by the
// OpenAPI document at a URL, its file of settings, and arguments to its run
// command. A file of hooks may stand beside the settings: the same name, ending
// in .py. It fails the test when an answer is not as the document says, and
// returns what it printed.
func Schemathesis(t testing.TB, document, settings string, args ...string) string {
	t.Helper()
	python, err := parts.Schemathesis()
	if err != nil {
		missing(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, append([]string{"-m", "schemathesis.cli", "--config-file", settings, "run", document}, args...)...)
	cmd.Dir = t.TempDir() // it leaves things behind
	if hooks := strings.TrimSuffix(settings, filepath.Ext(settings)) + ".py"; fileExists(hooks) {
		cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS="+hooks)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("schemathesis: %v\n%s", err, out)
	}
	return string(out)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
