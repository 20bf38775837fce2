package config

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// interval is how often the files are looked at. Polling sees every way of
// changing a file: writing, renaming, and the switched symbolic links of
// mounted configuration.
const interval = time.Second

// Watch calls reload each time that the configuration file, or a file that it
// names, has changed, until ctx is done. A half-written file is a change too:
// what reload refuses is tried again when it has changed again.
func Watch(ctx context.Context, path string, first *Config, reload func() *Config) {
	current := first
	seen := fingerprint(path, current)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := fingerprint(path, current)
		if now == seen {
			continue
		}
		seen = now
		if next := reload(); next != nil {
			current = next
			seen = fingerprint(path, current)
		}
	}
}

// fingerprint is a hash of the content of all files behind a configuration.
func fingerprint(path string, c *Config) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range append([]string{path}, c.files...) {
		b, err := os.ReadFile(p)
		if err != nil {
			b = []byte("unreadable")
		}
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
