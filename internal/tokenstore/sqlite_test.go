package tokenstore

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

func openFile(t *testing.T, path string) Store {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path, authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func oneRecord(t *testing.T, s Store, name string) Record {
	t.Helper()
	r := []Record{{ID: newID(), Owner: "alice", Name: name, CreatedBy: "alice", Created: time.Unix(1, 0), Hash: HashOf(mustSecret(t))}}
	if err := s.Insert(t.Context(), Change{Actor: "t", Action: ActionCreate, At: time.Unix(1, 0)}, 0, r); err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openFile(t, path)
	oneRecord(t, s, "a")
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v: want the file and its log", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
	}
	open := filepath.Join(t.TempDir(), "open.db")
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite:"+open, authz.Secret{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that everybody may read was taken: %v", err)
	}
}

// The settings of the driver are part of a file's name: they must be in force
// on every connection.
func TestSQLiteSettings(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "tokens.db")).(*sqliteStore)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "user_version": "1"} {
		var got string
		if err := s.db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s (%v)", pragma, got, want, err)
		}
	}
}

func TestFileReplacedOrGone(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "backup.db")
	s := openFile(t, path)
	oneRecord(t, s, "before")
	other := openFile(t, backup)
	oneRecord(t, other, "from the backup")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(backup, path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), Filter{}); !errors.Is(err, errReplaced) {
		t.Errorf("a file that was replaced reads as %v", err)
	}
	records, err := s.List(t.Context(), Filter{})
	if err != nil || len(records) != 1 || records[0].Name != "from the backup" {
		t.Errorf("%v, %v", records, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), Filter{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone reads as %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file that was gone was made again, empty")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := openFile(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", sqliteName(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite:"+path, authz.Secret{}); err == nil || !strings.Contains(err.Error(), "newer gatelodge") {
		t.Errorf("%v", err)
	}
}

func TestStoreSetting(t *testing.T) {
	for setting, want := range map[string]string{
		"sqlite:x.db": "", "sqlite:/var/lib/x.db": "", "postgres://u@h/db": "", "postgresql:///db?host=/run": "",
		"":                                  "write sqlite:",
		"x.db":                              "write sqlite:",
		"sqlite:":                           "name a file",
		"sqlite::memory:":                   "name a file",
		"mysql://h/db":                      "write sqlite:",
		"postgres:///db":                    "names no host",
		"postgres://u:hunter2@h/db":         "holds a password",
		"postgres://u@h/db?password=hunter": "holds a password",
		"postgres://u:hunter2@h:x/db":       "write sqlite:",
	} {
		got := SettingFault(setting)
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) || strings.Contains(got, "hunter") {
			t.Errorf("%q: %q, want %q", setting, got, want)
		}
	}
}
