package tokenstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// sqlStore is what the two stores share: their SQL is the same but for the
// placeholders, which are written as ? here.
type sqlStore struct {
	// open returns the database, migrated. It is asked on every call, so that
	// a server that was down at first is used as soon as it is there.
	open   func(ctx context.Context) (*sql.DB, error)
	bind   func(query string) string
	exists func(error) bool // is it a unique key that was violated?
	// notify, if not nil, tells the other replicas of a revision, as part of
	// the change.
	notify func(ctx context.Context, tx *sql.Tx, revision int64) error
}

// settleFor bounds how long an unclear commit is looked into.
const settleFor = 5 * time.Second

// change runs write as one transaction under the next revision. When change
// returns nil the change is durable; any other error than ErrUncertain means
// that nothing of it is there.
func (s *sqlStore) change(ctx context.Context, write func(tx *sql.Tx, revision int64, change string) error) error {
	db, err := s.open(ctx)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("changing the token store: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var revision int64
	err = tx.QueryRowContext(ctx, "UPDATE revision SET value = value + 1 RETURNING value").Scan(&revision)
	if err != nil {
		return fmt.Errorf("changing the token store: %w", err)
	}
	name := rand.Text()
	if err := write(tx, revision, name); err != nil {
		return err
	}
	if s.notify != nil {
		if err := s.notify(ctx, tx, revision); err != nil {
			return fmt.Errorf("changing the token store: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		return s.settle(ctx, db, name, err)
	}
	return nil
}

// settle finds out what became of a commit that returned an error. It takes the
// lock on the revision first: while the commit is still under way somewhere,
// it waits for it.
func (s *sqlStore) settle(ctx context.Context, db *sql.DB, change string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		there, err := s.committed(ctx, db, change)
		switch {
		case err == nil && there:
			return nil
		case err == nil:
			return fmt.Errorf("changing the token store: %w", cause)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %v", ErrUncertain, cause)
		case <-time.After(wait):
		}
	}
}

func (s *sqlStore) committed(ctx context.Context, db *sql.DB, change string) (bool, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "UPDATE revision SET value = value"); err != nil {
		return false, err
	}
	var n int
	err = tx.QueryRowContext(ctx, s.bind("SELECT count(*) FROM events WHERE change = ?"), change).Scan(&n)
	return n > 0, err
}

// Insert implements Store.
func (s *sqlStore) Insert(ctx context.Context, c Change, perUser int, records []Record) error {
	return s.change(ctx, func(tx *sql.Tx, revision int64, change string) error {
		insert, err := tx.PrepareContext(ctx, s.bind("INSERT INTO tokens ("+columns+") VALUES (?"+strings.Repeat(", ?", columnCount-1)+")"))
		if err != nil {
			return fmt.Errorf("storing tokens: %w", err)
		}
		owners := map[string]bool{}
		for i := range records {
			r := &records[i]
			r.Revision = revision
			owners[r.Owner] = true
			if _, err := insert.ExecContext(ctx, r.values()...); err != nil {
				if s.exists(err) {
					return fmt.Errorf("storing token %s: %w", r.ID, ErrExists)
				}
				return fmt.Errorf("storing tokens: %w", err)
			}
		}
		if perUser > 0 {
			if err := s.countLive(ctx, tx, c.At, perUser, owners); err != nil {
				return err
			}
		}
		return s.addEvents(ctx, tx, c, change, records)
	})
}

func (s *sqlStore) countLive(ctx context.Context, tx *sql.Tx, at time.Time, perUser int, owners map[string]bool) error {
	for owner := range owners {
		where, args := Filter{Owner: owner, LiveAt: at}.where()
		var n int
		if err := tx.QueryRowContext(ctx, s.bind("SELECT count(*) FROM tokens"+where), args...).Scan(&n); err != nil {
			return fmt.Errorf("counting tokens: %w", err)
		}
		if n > perUser {
			return fmt.Errorf("%w: %q may have %d at a time", ErrTooMany, owner, perUser)
		}
	}
	return nil
}

func (s *sqlStore) addEvents(ctx context.Context, tx *sql.Tx, c Change, change string, records []Record) error {
	insert, err := tx.PrepareContext(ctx, s.bind("INSERT INTO events (token, revision, change, at, actor, action) VALUES (?, ?, ?, ?, ?, ?)"))
	if err != nil {
		return fmt.Errorf("storing the audit record: %w", err)
	}
	for i := range records {
		_, err := insert.ExecContext(ctx, records[i].ID, records[i].Revision, change, c.At.Unix(), c.Actor, c.Action)
		if err != nil {
			return fmt.Errorf("storing the audit record: %w", err)
		}
	}
	return nil
}

// Update implements Store.
func (s *sqlStore) Update(ctx context.Context, c Change, f Filter, edit func(*Record) error) (records []Record, err error) {
	err = s.change(ctx, func(tx *sql.Tx, revision int64, change string) error {
		records, err = s.read(ctx, tx, f)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return errNone
		}
		update, err := tx.PrepareContext(ctx, s.bind("UPDATE tokens SET "+strings.ReplaceAll(columns, ",", " = ?,")+" = ? WHERE id = ?"))
		if err != nil {
			return fmt.Errorf("storing tokens: %w", err)
		}
		for i := range records {
			r := &records[i]
			if err := edit(r); err != nil {
				return err
			}
			r.Revision = revision
			if _, err := update.ExecContext(ctx, append(r.values(), r.ID)...); err != nil {
				return fmt.Errorf("storing tokens: %w", err)
			}
		}
		return s.addEvents(ctx, tx, c, change, records)
	})
	switch {
	case errors.Is(err, errNone):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return records, nil
}

// errNone ends a change that has nothing to change.
var errNone = errors.New("no record matches")

// List implements Store.
func (s *sqlStore) List(ctx context.Context, f Filter) ([]Record, error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	records, err := s.read(ctx, db, f)
	if err != nil || !f.History {
		return records, err
	}
	for i := range records {
		if records[i].History, err = s.history(ctx, db, records[i].ID); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// querier is what a database and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// selectTokens reads records with their last uses, as scan takes them.
const selectTokens = "SELECT " + columns + ", coalesce(uses.at, 0), coalesce(uses.source, '') FROM tokens LEFT JOIN uses USING (id)"

func (s *sqlStore) read(ctx context.Context, q querier, f Filter) ([]Record, error) {
	where, args := f.where()
	query := selectTokens + where + " ORDER BY id"
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	var records []Record
	err := s.each(ctx, q, query, args, func(row scanner) error {
		var r Record
		if err := r.scan(row); err != nil {
			return err
		}
		records = append(records, r)
		return nil
	})
	return records, err
}

func (s *sqlStore) history(ctx context.Context, q querier, id string) (events []Event, err error) {
	err = s.each(ctx, q, "SELECT at, actor, action FROM events WHERE token = ? ORDER BY revision", []any{id}, func(row scanner) error {
		var e Event
		var at int64
		if err := row.Scan(&at, &e.Actor, &e.Action); err != nil {
			return err
		}
		e.At = fromUnix(at)
		events = append(events, e)
		return nil
	})
	return events, err
}

// Changes implements Store.
func (s *sqlStore) Changes(ctx context.Context, since int64, yield func(*Record)) (int64, error) {
	db, err := s.open(ctx)
	if err != nil {
		return since, err
	}
	// The revision is read first: what is changed after that is read now or
	// the next time, and perhaps both times.
	var revision int64
	if err := db.QueryRowContext(ctx, "SELECT value FROM revision").Scan(&revision); err != nil {
		return since, fmt.Errorf("reading the token store: %w", err)
	}
	if revision == since {
		return revision, nil
	}
	err = s.each(ctx, db, selectTokens+" WHERE revision > ? ORDER BY revision", []any{since}, func(row scanner) error {
		var r Record
		if err := r.scan(row); err != nil {
			return err
		}
		yield(&r)
		return nil
	})
	if err != nil {
		return since, err
	}
	return revision, nil
}

func (s *sqlStore) each(ctx context.Context, q querier, query string, args []any, row func(scanner) error) error {
	rows, err := q.QueryContext(ctx, s.bind(query), args...)
	if err != nil {
		return fmt.Errorf("reading the token store: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows); err != nil {
			return fmt.Errorf("reading the token store: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the token store: %w", err)
	}
	return nil
}

// usesAtOnce bounds the placeholders of one statement.
const usesAtOnce = 500

// Use implements Store. uses must be in the order of their ids: replicas that
// write the same rows in different orders would wait for each other for ever.
func (s *sqlStore) Use(ctx context.Context, uses []Use) error {
	db, err := s.open(ctx)
	if err != nil {
		return err
	}
	for len(uses) > 0 {
		n := min(len(uses), usesAtOnce)
		args := make([]any, 0, 3*n)
		for _, u := range uses[:n] {
			args = append(args, u.ID, u.At.Unix(), addrText(u.Source))
		}
		_, err := db.ExecContext(ctx, s.bind("INSERT INTO uses (id, at, source) VALUES (?, ?, ?)"+strings.Repeat(", (?, ?, ?)", n-1)+
			" ON CONFLICT (id) DO UPDATE SET at = excluded.at, source = excluded.source WHERE excluded.at > uses.at"), args...)
		if err != nil {
			return fmt.Errorf("storing last uses: %w", err)
		}
		uses = uses[n:]
	}
	return nil
}
