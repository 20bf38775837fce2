package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// setup installs the named parts, or all. With CI=true, and for parts asked
// for by name, one that cannot be had is an error; otherwise its absence is
// told, here and again after the tests.
func setup(ctx context.Context, args []string) error {
	names, required := args, true
	if len(names) == 0 {
		names, required = parts.Names(), os.Getenv("CI") == "true"
	}
	var faults []error
	for _, name := range names {
		if err := parts.Install(ctx, os.Stderr, name); err != nil {
			fmt.Fprintf(os.Stderr, "setup: NOT INSTALLED: %v\n", err)
			faults = append(faults, err)
		}
	}
	if required && len(faults) > 0 {
		return fmt.Errorf("%d of %d parts could not be installed", len(faults), len(names))
	}
	return ctx.Err()
}
