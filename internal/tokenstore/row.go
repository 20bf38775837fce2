package tokenstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/netip"
	"time"
)

// columns are those of the table tokens, in the order of values and scan.
const (
	columns = "id, revision, owner, name, description, groups, read_only, hosts, paths, sources, created_by, created, " +
		"expires, rotated, revoked, revoked_by, hash, previous, previous_until"
	columnCount = 19
)

type scanner interface{ Scan(dest ...any) error }

// values returns a record's columns.
func (r *Record) values() []any {
	var previous []byte
	if r.Previous != (Hash{}) {
		previous = r.Previous[:]
	}
	return []any{
		r.ID, r.Revision, r.Owner, r.Name, r.Description, listText(r.Groups), r.Limits.ReadOnly,
		listText(r.Limits.Hosts), listText(r.Limits.Paths), listText(r.Limits.Sources), r.CreatedBy, unix(r.Created),
		unix(r.Expires), unix(r.Rotated), unix(r.Revoked), r.RevokedBy, r.Hash[:], previous, unix(r.PreviousUntil),
	}
}

// scan reads a row of columns, followed by the last use.
func (r *Record) scan(row scanner) error {
	var groups, hosts, paths, sources, usedFrom string
	var created, expires, rotated, revoked, until, used int64
	var hash, previous []byte
	dest := []any{
		&r.ID, &r.Revision, &r.Owner, &r.Name, &r.Description, &groups, &r.Limits.ReadOnly,
		&hosts, &paths, &sources, &r.CreatedBy, &created,
		&expires, &rotated, &revoked, &r.RevokedBy, &hash, &previous, &until, &used, &usedFrom,
	}
	if err := row.Scan(dest...); err != nil {
		return err
	}
	r.Created, r.Expires, r.Rotated = fromUnix(created), fromUnix(expires), fromUnix(rotated)
	r.Revoked, r.PreviousUntil, r.LastUsed = fromUnix(revoked), fromUnix(until), fromUnix(used)
	if copy(r.Hash[:], hash) != len(r.Hash) || previous != nil && copy(r.Previous[:], previous) != len(r.Previous) {
		return errors.New("a hash is cut off")
	}
	if usedFrom != "" {
		var err error
		if r.LastSource, err = netip.ParseAddr(usedFrom); err != nil {
			return errors.New("the address of a last use is none")
		}
	}
	return errors.Join(readList(groups, &r.Groups), readList(hosts, &r.Limits.Hosts),
		readList(paths, &r.Limits.Paths), readList(sources, &r.Limits.Sources))
}

// where returns the filter as SQL, with ? for each argument.
func (f Filter) where() (clause string, args []any) {
	and := func(condition string, values ...any) {
		if clause == "" {
			clause = " WHERE "
		} else {
			clause += " AND "
		}
		clause += condition
		args = append(args, values...)
	}
	if f.ID != "" {
		and("id = ?", f.ID)
	}
	if f.Owner != "" {
		and("owner = ?", f.Owner)
	}
	if f.Hash != nil {
		and("(hash = ? OR previous = ?)", f.Hash[:], f.Hash[:])
	}
	if !f.LiveAt.IsZero() {
		and("revoked = 0 AND (expires = 0 OR expires > ?)", f.LiveAt.Unix())
	}
	if !f.EndedAt.IsZero() {
		and("revoked = 0 AND expires <> 0 AND expires <= ?", f.EndedAt.Unix())
	}
	if f.Unrevoked {
		and("revoked = 0")
	}
	if f.Revoked {
		and("revoked <> 0")
	}
	if !f.OlderThan.IsZero() {
		and("created < ? AND rotated < ?", f.OlderThan.Unix(), f.OlderThan.Unix())
	}
	if !f.UnusedSince.IsZero() {
		at := f.UnusedSince.Unix()
		and("created < ? AND rotated < ? AND NOT EXISTS (SELECT 1 FROM uses AS u WHERE u.id = tokens.id AND u.at >= ?)", at, at, at)
	}
	if f.After != "" {
		and("id > ?", f.After)
	}
	return clause, args
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// listText writes a list as a JSON array.
func listText[T any](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic("a list of texts that cannot be written as JSON: " + err.Error()) // none of our types can fail
	}
	return string(text)
}

func readList[T any](text string, list *[]T) error {
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), list)
}

var _ scanner = (*sql.Rows)(nil)
