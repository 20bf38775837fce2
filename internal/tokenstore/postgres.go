package tokenstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gatelodge/gatelodge/authz"
)

// channel is what replicas listen on.
const channel = "gatelodge_tokens"

// migrationLock is the key of the advisory lock that is held while migrating:
// several replicas may start at once.
const migrationLock = 0x67_6c_5f_74_6f_6b_65_6e // "gl_token"

// postgresStore keeps records in PostgreSQL, for several replicas.
type postgresStore struct {
	sqlStore
	pool *pgxpool.Pool
	db   *sql.DB

	mu       sync.Mutex
	migrated bool
}

// openPostgres prepares the store behind a postgres:// URL. It does not
// connect: a database that is down does not keep the server from starting.
func openPostgres(ctx context.Context, url string, password authz.Secret) (*postgresStore, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The cause could repeat the URL, and a password with it.
		return nil, errors.New("opening the token store: not a connection URL as postgres://user@host:5432/database")
	}
	if !password.IsZero() {
		config.ConnConfig.Password = password.Reveal()
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 3 * time.Second
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "gatelodge"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, errors.New("opening the token store: the connection settings are not usable")
	}
	s := &postgresStore{pool: pool, db: stdlib.OpenDBFromPool(pool)}
	s.sqlStore = sqlStore{
		open:   s.opened,
		bind:   numbered,
		exists: postgresExists,
		notify: func(ctx context.Context, tx *sql.Tx, revision int64) error {
			_, err := tx.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, strconv.FormatInt(revision, 10))
			return err
		},
	}
	return s, nil
}

// opened returns the database, brought up to date the first time that it can
// be reached.
func (s *postgresStore) opened(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated {
		return s.db, nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := migratePostgres(ctx, tx); err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	s.migrated = true
	return s.db, nil
}

func migratePostgres(ctx context.Context, tx *sql.Tx) error {
	for _, statement := range []string{
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", migrationLock),
		"CREATE TABLE IF NOT EXISTS gatelodge_schema (version BIGINT NOT NULL)",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return migrate(ctx, tx, "postgres",
		func(ctx context.Context, tx *sql.Tx) (v int, err error) {
			return v, tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM gatelodge_schema").Scan(&v)
		},
		func(ctx context.Context, tx *sql.Tx, v int) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO gatelodge_schema VALUES ($1)", v)
			return err
		})
}

// numbered writes the placeholders ? as $1, $2 … No query of ours holds a ?
// that is anything else.
func numbered(query string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

func postgresExists(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505" // unique_violation
}

// Notify implements Notifier with LISTEN on a connection of its own.
func (s *postgresStore) Notify(ctx context.Context, changed func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("listening for changes: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listening for changes: %w", err)
	}
	for {
		changed()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listening for changes: %w", err)
		}
	}
}

// Close implements Store.
func (s *postgresStore) Close() error {
	err := s.db.Close()
	s.pool.Close()
	return err
}
