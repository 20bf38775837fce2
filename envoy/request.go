package envoy

import (
	"net/netip"
	"strings"
	"unicode/utf8"
	"unsafe"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/authz"
)

// Limits of a request that is looked at. Envoy's own defaults are 100 headers
// and 60 KiB; beyond these nobody means well.
const (
	maxHeaders     = 1000
	maxHeaderBytes = 1 << 20
)

// Why a request cannot be read; the words go to the log.
const (
	notCheckRequest  = "not a CheckRequest"
	noHTTP           = "no HTTP request in the check"
	bothHeaderForms  = "both headers and header_map are given"
	tooManyHeaders   = "too many or too large headers"
	mangledName      = "a header name with bytes that HTTP does not have"
	conflictingValue = "a header with two different values"
)

// read fills q from the wire form of a CheckRequest. Its strings point into
// data. q's slices are reused.
func read(data []byte, q *authz.Request) {
	headers, context := q.Headers[:0], q.Context[:0]
	*q = authz.Request{Headers: headers, Context: context}
	s := scan{q: q}
	if !s.checkRequest(data) {
		// Not as Envoy writes it: the generated code has the last word.
		*q = authz.Request{Headers: headers[:0], Context: context[:0]}
		s = scan{q: q}
		if !s.generated(data) {
			q.Unreadable = notCheckRequest
			return
		}
	}
	s.finish()
}

// generated reads a CheckRequest with the generated code. It reports false
// where that refuses the bytes.
func (s *scan) generated(data []byte) bool {
	var m authv3.CheckRequest
	if proto.Unmarshal(data, &m) != nil {
		return false
	}
	s.address = m.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress()
	s.q.Certificate = m.GetAttributes().GetSource().GetCertificate()
	for k, v := range m.GetAttributes().GetContextExtensions() {
		s.q.Context = append(s.q.Context, authz.Header{Name: k, Value: v})
	}
	h := m.GetAttributes().GetRequest().GetHttp()
	s.http = h != nil
	s.q.Method, s.q.Path, s.q.Host, s.q.Scheme = h.GetMethod(), h.GetPath(), h.GetHost(), h.GetScheme()
	for k, v := range h.GetHeaders() {
		s.mapForm = true
		s.header(k, v)
	}
	for _, v := range h.GetHeaderMap().GetHeaders() {
		s.rawForm = true
		s.rawHeader(v.GetKey(), v.GetValue(), text(v.GetRawValue()))
	}
	return true
}

// A scan reads the fields that a decision uses off the wire. It stops at
// anything that Envoy does not write: fields that come twice, unknown ones,
// wire types that do not fit, text that is not UTF-8.
type scan struct {
	q       *authz.Request
	address string
	http    bool   // there was an HttpRequest
	mapForm bool   // a headers map was seen
	rawForm bool   // a header_map was seen
	bytes   int    // of headers so far
	names   uint64 // a bit for each name in the headers map so far
	problem string // why the request is unreadable
}

func (s *scan) finish() {
	q := s.q
	switch {
	case s.problem != "":
		q.Unreadable = s.problem
	case !s.http:
		q.Unreadable = noHTTP
	case s.mapForm && s.rawForm:
		q.Unreadable = bothHeaderForms
	}
	if a, err := netip.ParseAddr(s.address); err == nil {
		q.Source = a.WithZone("")
	}
}

// header keeps one header; lower-case names are the rule.
func (s *scan) header(name, value string) {
	if !lowerName(name) {
		if name = strings.ToLower(name); !lowerName(name) {
			s.problem = mangledName
			return
		}
	}
	s.keep(name, value)
}

func (s *scan) keep(name, value string) {
	s.bytes += len(name) + len(value)
	if len(s.q.Headers) >= maxHeaders || s.bytes > maxHeaderBytes {
		s.problem = tooManyHeaders
		return
	}
	s.q.Headers = append(s.q.Headers, authz.Header{Name: name, Value: value})
}

func (s *scan) rawHeader(name, value, raw string) {
	if value != "" && raw != "" && value != raw {
		s.problem = conflictingValue
		return
	}
	if raw != "" {
		value = raw
	}
	s.header(name, value)
}

// lowerName reports whether a header name is in lower case and made of the
// bytes of a token (RFC 9110 §5.1), or a pseudo-header. Envoy writes "!" for
// bytes that are not UTF-8: a name with one is not the name that was sent.
func lowerName(name string) bool {
	name = strings.TrimPrefix(name, ":")
	for i := 0; i < len(name); i++ {
		if !inLowerName[name[i]] {
			return false
		}
	}
	return name != ""
}

var inLowerName = func() (in [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789-#$%&'*+.^_`|~" {
		in[c] = true
	}
	return in
}()

// text is b as a string that shares its memory.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// validText is b as a string; false: it is not UTF-8, which protobuf's text is.
func validText(b []byte) (string, bool) { return text(b), utf8.Valid(b) }
