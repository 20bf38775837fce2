package authz

import (
	"net/netip"
	"strings"
	"time"
)

// A Header is one header line of the request. Name is in lower case, as
// HTTP/2 and Envoy write it; Value is the raw bytes.
type Header struct{ Name, Value string }

// Request is what a decision may know of one HTTP request. Every field comes
// from the proxy's own view of the connection or from the request line and
// headers; nothing in it has been judged.
//
// The strings may point into a buffer that is reused as soon as Decide has
// returned. Whoever keeps one longer must strings.Clone it.
type Request struct {
	Method string
	Host   string // authority as received: any case, may carry a port
	Path   string // path with query, exactly as received
	Scheme string

	// Headers in the order received. A name that the caller sent twice stands
	// here twice, or once with its values joined by a comma: Envoy does
	// either, depending on the name and on encode_raw_headers.
	Headers []Header

	// Source is the address of the peer as the proxy saw it, never taken from
	// a header. The zero Addr when the proxy did not say.
	Source netip.Addr

	// Certificate is the peer's client certificate, URL-encoded PEM, when the
	// proxy was told to include it.
	Certificate string

	// Context holds the per-route context_extensions of the proxy's filter.
	Context []Header

	// Now is the time by which it is decided; zero: it is taken when that is
	// needed.
	Now time.Time

	// Room is where an identity may be put that is made for this request alone;
	// nil: it is allocated. It must not be given again while the Decision is
	// in use.
	Room *Room

	// Unreadable says why the request could not be read as one HTTP request
	// (contradicting header lists, mangled names …); it is answered 400.
	Unreadable string
}

// Header returns the value of the named header and how many lines of that
// name there are. name must be in lower case.
func (q *Request) Header(name string) (value string, lines int) {
	for i := range q.Headers {
		if q.Headers[i].Name == name {
			if lines == 0 {
				value = q.Headers[i].Value
			}
			lines++
		}
	}
	return value, lines
}

// Clone returns a copy that shares no memory with q.
func (q *Request) Clone() Request {
	c := *q
	c.Room = nil
	c.Method = strings.Clone(q.Method)
	c.Host = strings.Clone(q.Host)
	c.Path = strings.Clone(q.Path)
	c.Scheme = strings.Clone(q.Scheme)
	c.Certificate = strings.Clone(q.Certificate)
	c.Unreadable = strings.Clone(q.Unreadable)
	c.Headers = cloneHeaders(q.Headers)
	c.Context = cloneHeaders(q.Context)
	return c
}

func cloneHeaders(list []Header) []Header {
	out := make([]Header, len(list))
	for i, h := range list {
		out[i] = Header{strings.Clone(h.Name), strings.Clone(h.Value)}
	}
	return out
}
