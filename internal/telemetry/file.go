package telemetry

import (
	"fmt"
	"io"
	"os"
	"time"
)

// A File is appended to. Where it is moved or removed while it is open, as
// logrotate does, a new one is begun under its name. It is for one writer at a time.
type File struct {
	path    string
	now     func() time.Time
	fault   func(error)
	open    *os.File
	looked  time.Time
	failing bool
}

// lookEvery is how long what is written may still go to the file that was moved.
const lookEvery = time.Second

// OpenFile opens or makes the file at a path, for its owner alone. Where a new one
// cannot be begun later, fault is told once, and what is written goes on to the old.
func OpenFile(path string, now func() time.Time, fault func(error)) (*File, error) {
	open, err := begin(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, now: now, fault: fault, open: open, looked: now()}, nil
}

func begin(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

var _ io.WriteCloser = (*File)(nil)

// Write implements io.Writer.
func (f *File) Write(b []byte) (int, error) {
	if now := f.now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		if !f.inPlace() {
			f.renew()
		}
	}
	return f.open.Write(b)
}

// Close implements io.Closer.
func (f *File) Close() error { return f.open.Close() }

// inPlace reports whether the name still is that of the open file.
func (f *File) inPlace() bool {
	there, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	ours, err := f.open.Stat()
	return err == nil && os.SameFile(there, ours)
}

func (f *File) renew() {
	open, err := begin(f.path)
	if err != nil {
		if !f.failing {
			f.failing = true
			f.fault(fmt.Errorf("records go on to the file that was moved: %w", err))
		}
		return
	}
	f.failing = false
	_ = f.open.Close()
	f.open = open
}
