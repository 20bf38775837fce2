package unary

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// head is what a call's headers say, as they are decoded.
type head struct {
	id        uint32 // 0: there is no block under way
	trailers  bool
	ended     bool // no message follows
	wire      int  // bytes
	fragments int

	size    int // as SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 §6.5.2)
	seen    pseudo
	regular bool // a header that is no pseudo-header came
	bad     bool

	method, path, contentType, encoding string
	length                              int64         // of the body; -1: not said
	wait                                time.Duration // that the caller does; -1: not said
	badWait                             error
}

// pseudo are the pseudo-headers that came.
type pseudo uint8

const (
	pseudoMethod pseudo = 1 << iota
	pseudoScheme
	pseudoPath
	pseudoAuthority
)

func (h *head) begin(id uint32, trailers, ended bool) {
	*h = head{id: id, trailers: trailers, ended: ended, length: -1, wait: -1}
}

// newDecoder decodes what h is to be told of, as far as it is within bounds.
func newDecoder(h *head) *hpack.Decoder {
	var d *hpack.Decoder
	d = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if h.field(f); h.size > maxHeaders {
			d.SetEmitEnabled(false)
		}
	})
	d.SetMaxStringLength(maxHeaders)
	return d
}

// field takes a header.
func (h *head) field(f hpack.HeaderField) {
	if h.size += int(f.Size()); h.size > maxHeaders {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		h.pseudo(f)
		return
	}
	h.regular = true
	for i := range len(f.Name) {
		if c := f.Name[i]; c <= ' ' || c >= 0x7f || c == ':' || 'A' <= c && c <= 'Z' {
			h.bad = true
		}
	}
	switch f.Name {
	case "content-type":
		h.contentType = f.Value
	case "grpc-timeout":
		h.wait, h.badWait = timeout(f.Value)
	case "grpc-encoding":
		h.encoding = f.Value
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 63)
		h.bad = h.bad || err != nil || h.length >= 0 && h.length != int64(n)
		h.length = int64(n)
	case "te":
		h.bad = h.bad || f.Value != "trailers"
	case "", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.bad = true // RFC 9113 §8.2.2
	}
}

func (h *head) pseudo(f hpack.HeaderField) {
	var p pseudo
	switch f.Name {
	case ":method":
		p, h.method = pseudoMethod, f.Value
	case ":scheme":
		p = pseudoScheme
	case ":path":
		p, h.path = pseudoPath, f.Value
	case ":authority":
		p = pseudoAuthority
	}
	h.bad = h.bad || p == 0 || h.seen&p != 0 || h.regular
	h.seen |= p
}

// malformed reports what HTTP/2 does not allow (RFC 9113 §8.1.1).
func (h *head) malformed() bool {
	if h.trailers {
		return h.bad || h.seen != 0
	}
	const needed = pseudoMethod | pseudoScheme | pseudoPath
	return h.bad || h.seen&needed != needed || h.path == ""
}

// A httpFault is the HTTP status of what is not even gRPC.
type httpFault int

func (f httpFault) Error() string { return http.StatusText(int(f)) }

// fault says why a call cannot be answered by a method; nil: it can.
func (h *head) fault() error {
	subtype, grpc := strings.CutPrefix(h.contentType, "application/grpc")
	switch {
	case h.method != http.MethodPost:
		return httpFault(http.StatusMethodNotAllowed)
	case !grpc || subtype != "" && subtype != "+proto" && !strings.HasPrefix(subtype, ";"):
		return httpFault(http.StatusUnsupportedMediaType)
	case h.encoding != "" && h.encoding != "identity":
		return errCompressed
	}
	return h.badWait
}

// longest is a time-out that is none.
const longest = 1000 * 24 * time.Hour

// timeout reads a grpc-timeout: at most eight digits and a unit.
func timeout(s string) (time.Duration, error) {
	digits := strings.TrimRight(s, "HMSmun")
	unit := units[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case unit == 0 || err != nil || len(digits) > 8:
		return -1, status.Errorf(codes.Internal, "grpc-timeout is %q, not up to 8 digits and one of H M S m u n", s)
	case n > uint64(longest/unit):
		return longest, nil
	}
	return time.Duration(n) * unit, nil
}

var units = map[string]time.Duration{
	"H": time.Hour, "M": time.Minute, "S": time.Second, "m": time.Millisecond, "u": time.Microsecond, "n": time.Nanosecond,
}
