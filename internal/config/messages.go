package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Message is a fault or a warning: where, under which key, and what.
type Message struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"problem"`
}

// String returns "file:line:column: key: what".
func (m Message) String() string {
	where := fmt.Sprintf("%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Key != "" {
		where += m.Key + ": "
	}
	return where + m.Text
}

// Faults is all that is wrong with a configuration.
type Faults struct {
	List  []Message
	files []input // of the configuration that has them
}

// Error returns one line a fault.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, m := range f.List {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

type position struct{ line, column int }

func (d *decoder) fault(at position, key, format string, args ...any) {
	d.faults = append(d.faults, Message{d.name, at.line, at.column, key, fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(key, format string, args ...any) {
	at := d.where(key)
	d.warnings = append(d.warnings, Message{d.name, at.line, at.column, key, fmt.Sprintf(format, args...)})
}

// faultAt reports a fault under a key of the file. Where the key is not there,
// its nearest parent says where it would be. What could not be read has been
// told already, and is not told again as what it lacks for that.
func (d *decoder) faultAt(key, format string, args ...any) {
	if !d.unread(key) {
		d.fault(d.where(key), key, format, args...)
	}
}

// unread reports whether the value at key, a part of it or what it is a part of
// could not be read.
func (d *decoder) unread(key string) bool {
	return slices.ContainsFunc(d.failed, func(f string) bool {
		return f == key || f == "" || within(f, key) || within(key, f)
	})
}

// within reports whether key lies under the key above.
func within(key, above string) bool {
	rest, ok := strings.CutPrefix(key, above)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

func (d *decoder) where(key string) position {
	for k := key; ; {
		if at, ok := d.positions[k]; ok {
			return at
		}
		cut := strings.LastIndexAny(k, ".[")
		if cut < 0 {
			return position{1, 1}
		}
		k = k[:cut]
	}
}

func (d *decoder) sort() {
	for _, list := range [][]Message{d.faults, d.warnings} {
		slices.SortStableFunc(list, func(a, b Message) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
	}
}
