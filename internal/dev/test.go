package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// test is everything that must hold before a change lands: the parts are
// installed while the code is checked, then all tests run with the race
// detector and in random order. Arguments go to go test instead of ./... .
func test(ctx context.Context, args []string) error {
	began := time.Now()
	installed := make(chan error, 1)
	go func() { installed <- setup(ctx, nil) }()
	checked := runChecks(ctx, nil)
	if err := errors.Join(<-installed, checked); err != nil {
		return err
	}

	notRun := filepath.Join(os.TempDir(), fmt.Sprintf("gatelodge-not-run-%d", os.Getpid()))
	defer os.Remove(notRun)
	runs := []run{
		{dir: ".", args: []string{"-race", "-shuffle=on", "-timeout=8m", "./..."}},
		// It reads files of the product's module, which the cache of results
		// does not look at.
		{dir: "internal/tools", args: []string{"-count=1", "./..."}},
	}
	if len(args) > 0 {
		runs = []run{{dir: ".", args: append([]string{"-race", "-shuffle=on"}, args...)}}
	}
	var failed error
	for _, r := range runs {
		failed = errors.Join(failed, r.goTest(ctx, notRun))
	}

	if b, err := os.ReadFile(notRun); err == nil {
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		fmt.Printf("\nNOT RUN: %d tests, because a real part is missing:\n%s\n", len(lines), indent(string(b)))
	}
	if failed != nil {
		return failed
	}
	fmt.Printf("\nAll passed after %.0f s.\n", time.Since(began).Seconds())
	return nil
}

// A run is one call of go test.
type run struct {
	dir  string
	args []string
}

func (r run) goTest(ctx context.Context, notRun string) error {
	line := "go test " + strings.Join(r.args, " ")
	fmt.Printf("test: %s in %s (compiling first: minutes when nothing is cached)\n", line, r.dir)
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, r.args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), realtest.NotRunFile+"="+notRun)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}
