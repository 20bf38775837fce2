package shadow

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Report is what a record of decisions says of shadow mode. Its JSON is kept
// stable.
type Report struct {
	Decisions int       `json:"decisions"` // in the record, whatever the mode
	Refused   int       `json:"refused"`   // that would have been
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Rows      []Row     `json:"rows"`    // the most frequent first
	Skipped   int       `json:"skipped"` // lines that are no decision
	More      int       `json:"more"`    // refusals beyond the rows that are kept apart
}

// A Row is one kind of request that would be refused.
type Row struct {
	Count  int       `json:"count"`
	Caller string    `json:"caller"` // see record.caller
	Method string    `json:"method"`
	Path   string    `json:"path"` // with what looks like an id as {id}
	Rule   string    `json:"rule"`
	Status string    `json:"would_be"` // deny, forbidden, malformed, unavailable
	Reason string    `json:"reason"`
	Last   time.Time `json:"last"`
	ID     string    `json:"decision"` // of the last, to find it in the record
}

// record is what a line of the record says that is looked at here.
type record struct {
	Time    time.Time `json:"time"`
	Msg     string    `json:"msg"`
	ID      string    `json:"id"`
	Reason  string    `json:"reason"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Source  string    `json:"source"`
	Rule    string    `json:"rule"`
	User    string    `json:"user"`
	Client  string    `json:"client"`
	WouldBe string    `json:"would_be"`
	Shadow  bool      `json:"shadow"`
}

// Bounds of what is read and kept.
const (
	maxLine = 64 << 10
	maxRows = 100_000
)

// Read sums up a record: JSON lines, as log.audit writes them. Lines that are
// something else (the record can share a stream with the log) are counted and
// passed over.
func Read(r io.Reader) (*Report, error) {
	out := &Report{Rows: []Row{}}
	rows := map[Row]*Row{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		var rec record
		if json.Unmarshal(lines.Bytes(), &rec) != nil || rec.Msg != "decision" {
			out.Skipped++
			continue
		}
		out.take(rows, &rec)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("a line is longer than %d bytes: this is no record of decisions", maxLine)
	} else if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	for _, row := range rows {
		out.Rows = append(out.Rows, *row)
	}
	slices.SortFunc(out.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Caller, b.Caller), strings.Compare(a.Path, b.Path),
			strings.Compare(a.Method, b.Method), strings.Compare(a.Reason, b.Reason))
	})
	return out, nil
}

func (out *Report) take(rows map[Row]*Row, rec *record) {
	out.Decisions++
	if out.From.IsZero() || rec.Time.Before(out.From) {
		out.From = rec.Time
	}
	if rec.Time.After(out.To) {
		out.To = rec.Time
	}
	if !rec.Shadow {
		return
	}
	out.Refused++
	key := Row{
		Caller: rec.caller(), Method: rec.Method, Path: general(rec.Path), Rule: rec.Rule, Status: rec.WouldBe, Reason: rec.Reason,
	}
	row := rows[key]
	if row == nil {
		if len(rows) >= maxRows {
			out.More++
			return
		}
		made := key
		row = &made
		rows[key] = row
	}
	row.Count++
	if !rec.Time.Before(row.Last) {
		row.Last, row.ID = rec.Time, rec.ID
	}
}

// caller is who somebody must talk to: the app, else the user, else where the
// request came from.
func (r *record) caller() string {
	switch {
	case r.Client != "" && r.User != "":
		return r.Client + " for " + r.User
	case r.Client != "":
		return r.Client
	case r.User != "":
		return r.User
	case r.Source != "":
		return "unknown, from " + r.Source
	}
	return "unknown"
}

// general puts {id} for what looks like an id in a path, so that requests for
// a thousand pages are one row.
func general(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if looksLikeID(s) {
			segments[i] = "{id}"
		}
	}
	return strings.Join(segments, "/")
}

// looksLikeID reports whether a segment is a number, or of hexadecimal digits
// and dashes as a UUID or a hash is.
func looksLikeID(s string) bool {
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case c == '-', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return digits == len(s) && len(s) >= 3 || digits > 0 && len(s) >= 16 // "2" is a version
}
