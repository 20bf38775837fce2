// Command dev is the project's own tool: it installs the real programs that
// tests run against, checks the code and runs the tests, the same on a
// developer's machine and in CI.
//
//	go run ./internal/dev setup [part …]   install into .tools
//	go run ./internal/dev check            format, modules, layers, vet, staticcheck …
//	go run ./internal/dev test [package …] setup, check, and all tests
//	go run ./internal/dev prove [package …] proofs too long for every run, at full size
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(ctx context.Context, args []string) error{
		"setup": setup,
		"check": runChecks,
		"test":  test,
		"prove": prove,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/dev setup|check|test|prove [argument …]")
		os.Exit(2)
	}
	err := atRoot()
	if err == nil {
		err = commands[os.Args[1]](ctx, os.Args[2:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "dev %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
