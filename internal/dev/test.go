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
	if len(args) == 0 {
		args = []string{"./..."}
	}
	fmt.Println("test: go test -race -shuffle=on " + strings.Join(args, " ") + " (compiling first; minutes when nothing is cached)")
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-race", "-shuffle=on", "-timeout=8m"}, args...)...)
	cmd.Env = append(os.Environ(), realtest.NotRunFile+"="+notRun)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	failed := cmd.Run()

	if b, err := os.ReadFile(notRun); err == nil {
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		fmt.Printf("\nNOT RUN: %d tests, because a real part is missing:\n%s\n", len(lines), indent(string(b)))
	}
	if failed != nil {
		return fmt.Errorf("go test: %w", failed)
	}
	fmt.Printf("\nAll passed after %.0f s.\n", time.Since(began).Seconds())
	return nil
}
