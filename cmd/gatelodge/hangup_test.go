//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// said is what a command has written so far.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	all := ""
	for range 4000 {
		s.mu.Lock()
		all = s.b.String()
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		<-tick.C
	}
	t.Fatalf("never said %q, but\n%s", text, all)
}

// Who sends SIGHUP wants files to be read again, and not the server to end.
func TestHangUpIsNoEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gatelodge.yaml")
	write := func(realm string) {
		t.Helper()
		text := fmt.Sprintf("listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {drain_delay: 0s}\nrealm: %s\nproviders:\n  - {name: sso, type: oidc, issuer: \"https://sso.example.com\", audiences: [api], endpoints: {jwks: \"http://127.0.0.1:1/\"}}\n", realm)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log said
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"serve", "--config", file}, nil, io.Discard, &log) }()
	log.await(t, `"msg":"serving"`)
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	write("two")
	hangUp()
	log.await(t, `"msg":"configuration changed"`)
	select {
	case code := <-ended:
		t.Fatalf("it ended, with %d", code)
	default:
	}
	cancel()
	if code := <-ended; code != exitYes {
		t.Errorf("it ended with %d", code)
	}
}
