package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/serve"
)

// serveProfiled is `gatelodge serve` with a CPU profile of its whole life
// written to file, for -profile. The server itself has no such door.
func serveProfiled(file, config string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	err = serve.Run(ctx, serve.Options{Config: config, Log: os.Stderr})
	pprof.StopCPUProfile()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
