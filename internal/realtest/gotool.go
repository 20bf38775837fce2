package realtest

import (
	"os/exec"
	"testing"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// GoTool returns a command of the tools' module, to be run with arguments. It is
// built first, so that the time it takes is that of its work.
func GoTool(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	tool := func(args ...string) *exec.Cmd {
		cmd := exec.Command("go", append([]string{"tool", "-modfile=internal/tools/go.mod"}, args...)...)
		cmd.Dir = root
		return cmd
	}
	// -n prints what would be run, after it is built.
	if out, err := tool("-n", name).CombinedOutput(); err != nil {
		missing(t, &exec.Error{Name: name + ": " + string(out), Err: err})
	}
	return tool(append([]string{name}, args...)...)
}
