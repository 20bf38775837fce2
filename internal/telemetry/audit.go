package telemetry

import (
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/authz"
)

// Audit records decisions as JSON lines. A record is formatted at once and
// written in the background; when the writer cannot keep up, records are
// dropped and counted: no decision waits for a disk.
type Audit struct {
	mu      sync.Mutex // held while writing
	w       io.Writer
	now     func() time.Time
	sample  atomic.Uint64 // share of allows that is kept, of 1<<32
	queue   chan *[]byte
	dropped atomic.Uint64
	buffers sync.Pool
	closing chan struct{}
	done    chan struct{}
	once    sync.Once
}

// auditQueue is how many records may wait for the writer.
const auditQueue = 8192

// NewAudit makes a record on w. sample is the share of allowed requests that is
// kept, from 0 to 1; denials always are.
func NewAudit(w io.Writer, sample float64, now func() time.Time) *Audit {
	a := &Audit{w: w, now: now, queue: make(chan *[]byte, auditQueue), closing: make(chan struct{}), done: make(chan struct{})}
	a.buffers.New = func() any { b := make([]byte, 0, 1024); return &b }
	a.Sample(sample)
	go a.write()
	return a
}

// Sample changes the share of allowed requests that is kept.
func (a *Audit) Sample(share float64) { a.sample.Store(uint64(share * (1 << 32))) }

// Dropped is how many records were lost because the writer could not keep up.
func (a *Audit) Dropped() uint64 { return a.dropped.Load() }

// Close writes what waits and ends the record. No decision may follow.
func (a *Audit) Close() {
	a.once.Do(func() {
		close(a.closing)
		close(a.queue)
	})
	<-a.done
}

// A write costs more than the record in it. After each, those that come within
// auditPause are gathered, up to auditBatch bytes at once.
const (
	auditPause = 5 * time.Millisecond
	auditBatch = 64 << 10
)

func (a *Audit) write() {
	defer close(a.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	batch := make([]byte, 0, auditBatch)
	for b := range a.queue {
		records := uint64(0)
		for batch = batch[:0]; b != nil; {
			batch = append(batch, *b...)
			records++
			*b = (*b)[:0]
			a.buffers.Put(b)
			b = nil
			if len(batch) < auditBatch {
				select {
				case b = <-a.queue: // nil once it is closed and empty
				default:
				}
			}
		}
		if err := a.lines(batch); err != nil {
			a.dropped.Add(records)
		}
		if len(batch) >= auditBatch {
			continue // more is waiting already
		}
		pause.Reset(auditPause)
		select {
		case <-pause.C:
		case <-a.closing:
		}
	}
}

func (a *Audit) lines(b []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.w.Write(b)
	return err
}

// A Change is what somebody did by the admin API or the command line.
type Change struct {
	Action, Actor       string
	TokenID, User, Name string
}

// Change records a change, before it returns: unlike decisions, none is ever
// dropped.
func (a *Audit) Change(c Change) error {
	b := append(make([]byte, 0, 512), `{"time":"`...)
	b = a.now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"token changed"`...)
	b = field(b, "action", c.Action)
	b = field(b, "by", c.Actor)
	b = field(b, "token_id", c.TokenID)
	b = field(b, "user", c.User)
	b = field(b, "name", c.Name)
	return a.lines(append(b, "}\n"...))
}

// A Revoked is what an identity provider told us by itself, and was obeyed.
type Revoked struct {
	Provider, Kind, EventID string
	Session, Subject        string
	Dropped                 int
}

// Revoked records one, before it returns: none is ever dropped.
func (a *Audit) Revoked(r Revoked) error {
	b := append(make([]byte, 0, 512), `{"time":"`...)
	b = a.now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"revoked"`...)
	b = field(b, "provider", r.Provider)
	b = field(b, "kind", r.Kind)
	b = field(b, "event_id", r.EventID)
	b = field(b, "session", r.Session)
	b = field(b, "subject", r.Subject)
	b = append(b, `,"dropped":`...)
	b = strconv.AppendInt(b, int64(r.Dropped), 10)
	return a.lines(append(b, "}\n"...))
}

// Observe implements envoy.Observer.
func (a *Audit) Observe(q *authz.Request, d *authz.Decision, took time.Duration) {
	if d.Outcome == authz.Allowed && !d.Shadow && uint64(rand.Uint32()) >= a.sample.Load() {
		return
	}
	b := a.buffers.Get().(*[]byte)
	*b = a.record((*b)[:0], q, d, took)
	select {
	case a.queue <- b:
	default:
		a.dropped.Add(1)
		a.buffers.Put(b)
	}
}

// record appends one line. The credential is not among what it is given.
func (a *Audit) record(b []byte, q *authz.Request, d *authz.Decision, took time.Duration) []byte {
	b = append(b, `{"time":"`...)
	b = a.now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"decision","id":"`...)
	b, _ = d.ID.AppendText(b)
	b = append(b, '"')
	b = field(b, "outcome", d.Outcome.String())
	b = field(b, "reason", d.Reason.String())
	path, _, _ := strings.Cut(q.Path, "?") // a query may hold secrets
	b = field(b, "method", q.Method)
	b = field(b, "host", q.Host)
	b = field(b, "path", path)
	if q.Source.IsValid() {
		b = append(b, `,"source":"`...)
		b = q.Source.AppendTo(b)
		b = append(b, '"')
	}
	if d.Rule != nil {
		b = field(b, "rule", d.Rule.Name)
	}
	b = field(b, "provider", d.Provider)
	id := d.Identity
	if id == nil {
		id = d.Recognised
	}
	if id != nil {
		b = field(b, "user", id.User)
		b = field(b, "subject", id.Subject)
		b = field(b, "client", id.Client)
		b = field(b, "token_id", id.TokenID)
	}
	b = field(b, "detail", d.Detail)
	if d.Shadow {
		b = field(b, "would_be", d.WouldBe.String())
		b = append(b, `,"shadow":true`...)
	}
	if d.Cached {
		b = append(b, `,"cached":true`...)
	}
	b = append(b, `,"micros":`...)
	b = strconv.AppendInt(b, took.Microseconds(), 10)
	return append(b, "}\n"...)
}

// maxField bounds one value of a record in bytes: a caller chooses some.
const maxField = 2048

// field appends a member, unless its value is empty.
func field(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = escape(b, value[:min(len(value), maxField)])
	return append(b, '"')
}

// escape appends text as JSON has it. Control characters, and bytes that are
// not UTF-8, come out as escapes: a line stays a line.
func escape(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, `\ufffd`...)
			} else if r == 0x2028 || r == 0x2029 || r >= 0x80 && r < 0xa0 {
				b = append(b, `\u`...)
				b = append(b, digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
			} else {
				b = append(b, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
	}
	return b
}
