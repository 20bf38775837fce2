package tokenstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteStore keeps records in a file. The file is in WAL mode, so that the
// command line can change it while the server reads, and every commit is
// synced to the disk.
type sqliteStore struct {
	sqlStore
	path string

	mu   sync.Mutex
	db   *sql.DB
	file os.FileInfo // what the path was when db was opened
}

// openSQLite opens the store in a file, which is made, readable by its owner
// alone, if it is not there.
func openSQLite(ctx context.Context, path string) (*sqliteStore, error) {
	// Relative to here and now, wherever the process goes later.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	s := &sqliteStore{path: path}
	s.sqlStore = sqlStore{
		open:   s.opened,
		bind:   func(query string) string { return query },
		exists: sqliteExists,
	}
	if _, err := s.opened(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// opened returns the database. Where its file was replaced, by a backup for
// instance, it says so once and opens the new one the next time: the old file
// would go on answering, though nobody changes it any more. A file that is gone
// is an error, never an empty store.
func (s *sqliteStore) opened(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	if s.db != nil {
		if os.SameFile(file, s.file) {
			return s.db, nil
		}
		_ = s.db.Close()
		s.db = nil
		return nil, errReplaced
	}
	if file.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("opening the token store: everybody may read or write %s: run chmod 600 on it", s.path)
	}
	db, err := sql.Open("sqlite", sqliteName(s.path))
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	db.SetMaxOpenConns(4)
	if err := migrateSQLite(ctx, db); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("opening the token store %s: %w", s.path, err)
	}
	s.db, s.file = db, file
	return db, nil
}

var errReplaced = errors.New("reading the token store: its file was replaced by another")

// sqliteName is the driver's name of a file with the settings of each
// connection. mode=rw: only openSQLite makes files.
func sqliteName(path string) string {
	name := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "trusted_schema(OFF)"},
	}.Encode()}
	return name.String()
}

func migrateSQLite(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	err = migrate(ctx, tx, "sqlite",
		func(ctx context.Context, tx *sql.Tx) (v int, err error) {
			return v, tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
		},
		func(ctx context.Context, tx *sql.Tx, v int) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", v))
			return err
		})
	if err != nil {
		return err
	}
	return tx.Commit()
}

func sqliteExists(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// Close implements Store.
func (s *sqliteStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}
