package realtest

import (
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// NothingLeft checks that what a test starts ends with it: when everything else
// of the test is over, there are no more goroutines and no more open files than
// now. It is to be called first, by tests that run alone in their process.
func NothingLeft(t testing.TB) {
	t.Helper()
	before := resources()
	t.Cleanup(func() {
		// What has been told to end may take a moment.
		deadline := time.Now().Add(10 * time.Second)
		for {
			http.DefaultClient.CloseIdleConnections()
			now := resources()
			if now.goroutines <= before.goroutines && now.files <= before.files {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind: %d goroutines and %d open files, before it were %d and %d\n%s",
					now.goroutines, now.files, before.goroutines, before.files, stacks())
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	})
}

type held struct{ goroutines, files int }

func resources() held { return held{runtime.NumGoroutine(), OpenFiles()} }

// OpenFiles returns how many files and sockets this process has open; 0 where
// the system does not tell.
func OpenFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// stacks returns where the goroutines stand, but for the one that asks.
func stacks() string {
	b := make([]byte, 1<<20)
	_, others, _ := strings.Cut(string(b[:runtime.Stack(b, true)]), "\n\n")
	return others
}
