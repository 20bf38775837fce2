package telemetry

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFileThatIsMoved(t *testing.T) {
	dir := t.TempDir()
	path, old, older := filepath.Join(dir, "a.log"), filepath.Join(dir, "a.log.1"), filepath.Join(dir, "a.log.2")
	now := time.Unix(1_800_000_000, 0)
	var faults []string
	f, err := OpenFile(path, func() time.Time { return now }, func(err error) { faults = append(faults, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string, after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	does := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	say("one ", 0)
	does(os.Rename(path, old))
	say("two ", lookEvery-1)
	say("three ", 1)
	say("four ", lookEvery) // nothing was moved
	does(os.Rename(path, older))
	does(os.Mkdir(path, 0o700)) // a new one cannot be begun
	say("five ", lookEvery)
	say("six ", lookEvery)
	does(os.Remove(path))
	say("seven ", lookEvery)
	does(os.Remove(path))
	say("eight ", lookEvery)
	does(f.Close())
	for file, want := range map[string]string{old: "one two ", older: "three four five six ", path: "eight "} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", filepath.Base(file), got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want it to be its owner's alone", info, err)
	}
	if len(faults) != 1 || !strings.Contains(faults[0], "is a directory") {
		t.Errorf("told of %q, want one fault", faults)
	}
	if _, err := OpenFile(dir, time.Now, nil); err == nil {
		t.Error("a folder was opened")
	}
}
