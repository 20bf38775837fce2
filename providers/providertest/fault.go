package providertest

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fail answers in the way of a fault. good is what the answer would be, where
// there is one.
func fail(w http.ResponseWriter, r *http.Request, f Fault, good []byte, release <-chan struct{}) {
	say := func(kind string, text []byte) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(text)
	}
	switch f {
	case Down:
		panic(http.ErrAbortHandler)
	case Broken:
		w.WriteHeader(http.StatusInternalServerError)
	case Throttled:
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusTooManyRequests)
	case Garbage, Empty:
		say("application/json", []byte("<html>maintenance</html>"))
	case Page:
		say("text/html; charset=utf-8", []byte("<!doctype html><title>Sign in</title>"))
	case WrongType:
		say("text/html; charset=utf-8", good)
	case Oversize:
		say("application/json", filled(10<<20))
	case Bomb:
		w.Header().Set("Content-Encoding", "gzip")
		say("application/json", bomb())
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(good)+1))
		say("application/json", good[:len(good)/2])
	case Twice:
		say("application/json", twice(good))
	case List:
		say("application/json", []byte("[]"))
	case Nothing:
		say("application/json", nil)
	case Redirect:
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	case Slow:
		select {
		case <-release:
		case <-r.Context().Done():
		}
	case Drip:
		drip(w, r, release)
	}
}

func filled(size int) []byte {
	return append(append([]byte(`{"filler":"`), bytes.Repeat([]byte("x"), size)...), `"}`...)
}

// bomb is a small text that gzip makes large.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(filled(16 << 20)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
})

// twice says the first member of an object twice.
func twice(object []byte) []byte {
	start := bytes.IndexByte(object, '"')
	length := bytes.IndexByte(object[start+1:], '"')
	name := object[start : start+length+2]
	return bytes.Join([][]byte{[]byte("{"), name, []byte(":null,"), object[start:]}, nil)
}

func drip(w http.ResponseWriter, r *http.Request, release <-chan struct{}) {
	w.Header().Set("Content-Type", "application/json")
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
			return
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// otherAuthority makes the PEM file of an authority that vouches for nobody.
func otherAuthority(t testing.TB) string {
	t.Helper()
	var h Hosts
	if err := h.makeCA(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.dir) })
	return h.CAFile
}
