package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"slices"
	"time"
)

// interval is how often the files are looked at. Polling sees every way of
// changing a file: writing, renaming, and the switched symbolic links of
// mounted configuration.
const interval = time.Second

// An input is a file behind a configuration, as it was just before it was read:
// a change after that, however soon, is one that is still to be taken over.
type input struct {
	path string
	sum  [sha256.Size]byte // of its content
}

// Watch calls reload each time that the file of first, or a file that it names,
// has changed since it was read, until ctx is done. It looks each second, and at
// once when there is something in asked. A half-written file is a change too: what
// reload refuses is tried again when it has changed again, or when a file that it
// names has: one that was not there may have come.
func Watch(ctx context.Context, first *Config, asked <-chan os.Signal, reload func() (*Config, error)) {
	seen := first.files
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-asked:
		}
		now := look(seen)
		if slices.Equal(now, seen) {
			continue
		}
		next, err := reload()
		var faults *Faults
		switch {
		case err == nil:
			seen = next.files
		case errors.As(err, &faults):
			seen = faults.files
		default:
			seen = now
		}
	}
}

// look returns the same files as they are now.
func look(files []input) []input {
	now := make([]input, len(files))
	for i, f := range files {
		now[i] = input{f.path, sumOf(f.path)}
	}
	return now
}

// sumOf hashes what a file holds. One that cannot be read has a sum too: that
// it can be again is a change.
func sumOf(path string) [sha256.Size]byte {
	b, err := os.ReadFile(path)
	if err != nil {
		b = []byte("unreadable")
	}
	return sha256.Sum256(b)
}
