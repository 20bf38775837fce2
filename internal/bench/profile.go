package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/serve"
)

// serveProfiled is `gatelodge serve` with profiles of its whole life written to
// name.cpu and name.allocs, for -profile. The server itself has no such door.
func serveProfiled(name, config string) error {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return err
	}
	allocs, err := os.Create(name + ".allocs")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	err = serve.Run(ctx, serve.Options{Config: config, Log: os.Stderr})
	pprof.StopCPUProfile()
	return errors.Join(err, pprof.Lookup("allocs").WriteTo(allocs, 0), cpu.Close(), allocs.Close())
}
