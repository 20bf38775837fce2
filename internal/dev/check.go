package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// A check is one thing that must hold of the whole repository. find returns
// what is wrong, one finding a line; nothing means that all is well.
type check struct {
	name string
	mend string // what to do about findings
	find func(ctx context.Context) (string, error)
}

const toolsModule = "-modfile=internal/tools/go.mod"

var checks = []check{
	{"format", "run: go tool " + toolsModule + " gofumpt -w .", gofumpt},
	{"modules", "run: go mod tidy", command("go", "mod", "tidy", "-diff")},
	{"layers", "see the directions of imports in authz/doc.go and internal/dev/layers.go", layers},
	{"size", "keep generated and large files out of the repository", size},
	{"left-overs", "finish it, or open an issue", leftOvers},
	{"vet", "", command("go", "vet", "./...")},
	{"modernize", "run: go fix ./...", command("go", "fix", "-diff", "./...")},
	{"staticcheck", "", command("go", "tool", toolsModule, "staticcheck", "./...")},
}

// runChecks runs every check and tells which failed.
func runChecks(ctx context.Context, _ []string) error {
	failed := 0
	for _, c := range checks {
		began := time.Now()
		found, err := c.find(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if found == "" {
			fmt.Printf("check: %-12s ok   %5.1f s\n", c.name, time.Since(began).Seconds())
			continue
		}
		failed++
		fmt.Printf("check: %-12s FAILED\n%s\n", c.name, indent(found))
		if c.mend != "" {
			fmt.Println("    " + c.mend)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// command is a check that runs a program: when it fails, its output is what is
// wrong.
func command(name string, args ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return "", nil
		case errors.As(err, &exit) && ctx.Err() == nil:
			return string(out) + exit.Error(), nil
		default:
			return "", err
		}
	}
}

func gofumpt(ctx context.Context) (string, error) {
	files, err := tracked("*.go")
	if err != nil {
		return "", err
	}
	args := append([]string{"tool", toolsModule, "gofumpt", "-l"}, files...)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gofumpt: %w\n%s", err, out)
	}
	return string(out), nil
}

// The bounds of the repository: it is text, small, and its top level is fixed.
const (
	maxFile = 512 << 10
	maxAll  = 8 << 20
)

var topLevel = []string{
	"cmd", "authz", "providers", "envoy", "examples", "internal",
	"go.mod", "go.sum", "docker-compose.yml", "README.md", "Makefile", "LICENSE",
}

func size(context.Context) (string, error) {
	files, err := tracked()
	if err != nil {
		return "", err
	}
	var found []string
	var all int64
	for _, f := range files {
		top, _, _ := strings.Cut(f, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(topLevel, top) {
			found = append(found, f+": a new name at the top level")
		}
		info, err := os.Lstat(f)
		if errors.Is(err, os.ErrNotExist) { // removed, not yet committed
			continue
		}
		if err != nil {
			return "", err
		}
		all += info.Size()
		if info.Size() > maxFile {
			found = append(found, fmt.Sprintf("%s: %d KiB, more than %d", f, info.Size()>>10, maxFile>>10))
		}
	}
	if all > maxAll {
		found = append(found, fmt.Sprintf("all files together: %d KiB, more than %d", all>>10, maxAll>>10))
	}
	return strings.Join(found, "\n"), nil
}

// leftOvers finds work that was put off.
func leftOvers(context.Context) (string, error) {
	files, err := tracked("*.go", "*.md", "*.sh", "*.yaml", "*.yml", "*.mjs", "Makefile")
	if err != nil {
		return "", err
	}
	words := []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}
	var found []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for n, line := range bytes.Split(b, []byte("\n")) {
			for _, w := range words {
				if bytes.Contains(line, []byte(w)) {
					found = append(found, fmt.Sprintf("%s:%d: %s", f, n+1, w))
				}
			}
		}
	}
	return strings.Join(found, "\n"), nil
}

// tracked returns the files that git knows or would add, by pathspecs.
func tracked(pathspecs ...string) ([]string, error) {
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, pathspecs...)
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	for f := range strings.SplitSeq(string(out), "\x00") {
		if f == "" {
			continue
		}
		if _, err := os.Lstat(f); err == nil {
			files = append(files, f)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// atRoot makes the repository's top the working folder.
func atRoot() error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	return os.Chdir(filepath.Clean(root))
}
