package envoy

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatelodge/gatelodge/authz"
)

// fields walks over the fields of a message, as Envoy's protobuf encodes them.
// Only lengths and varints occur in what is read here; anything else ends the
// walk with odd.
type fields struct {
	rest   []byte
	seen   uint32 // a bit for each number so far, by once
	number protowire.Number
	bytes  []byte // of a field with a length
	varint bool
	odd    bool
}

// next goes on to the next field; false: there is none, or what follows is odd.
func (f *fields) next() bool {
	if len(f.rest) < 2 {
		f.odd = f.odd || len(f.rest) != 0 // no field fits into one byte
		return false
	}
	// Nearly all are like this: a number below 16, a length below 2^14.
	tag, size, head := f.rest[0], int(f.rest[1]), 2
	if tag >= 1<<3 && tag < 0x80 && tag&7 == byte(protowire.BytesType) {
		if size >= 0x80 && len(f.rest) > 2 && f.rest[2] < 0x80 {
			size, head = size&0x7f|int(f.rest[2])<<7, 3
		}
		if size < 0x80 || head == 3 {
			if size > len(f.rest)-head {
				f.odd = true
				return false
			}
			f.number, f.bytes, f.varint = protowire.Number(tag>>3), f.rest[head:head+size], false
			f.rest = f.rest[head+size:]
			return true
		}
	}
	return f.nextUncommon()
}

func (f *fields) nextUncommon() bool {
	number, kind, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		f.odd = true
		return false
	}
	rest := f.rest[n:]
	f.number, f.bytes, f.varint = number, nil, kind == protowire.VarintType
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(rest)
	case protowire.VarintType:
		_, n = protowire.ConsumeVarint(rest)
	default:
		n = -1
	}
	if n < 0 {
		f.odd = true
		return false
	}
	f.rest = rest[n:]
	return true
}

// once reports whether a singular field has come for the first time: merging
// and overriding are left to the generated code.
func (f *fields) once() bool {
	if f.number > 31 || f.seen&(1<<f.number) != 0 {
		return false
	}
	f.seen |= 1 << f.number
	return true
}

// checkRequest reads envoy.service.auth.v3.CheckRequest. Like all that it
// calls, it reports false for what Envoy does not write.
func (s *scan) checkRequest(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.number != 1 || f.varint || !f.once() || !s.attributes(f.bytes) {
			return false
		}
	}
	return !f.odd
}

// attributes reads envoy.service.auth.v3.AttributeContext.
func (s *scan) attributes(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.varint || f.number != 10 && !f.once() {
			return false
		}
		ok := false
		switch f.number {
		case 1: // source
			ok = s.peer(f.bytes, true)
		case 2: // destination
			ok = s.peer(f.bytes, false)
		case 4: // request
			ok = s.request(f.bytes)
		case 10: // context_extensions
			ok = s.contextExtension(f.bytes)
		case 11, 13: // metadata_context, route_metadata_context: empty where not asked for
			ok = len(f.bytes) == 0
		case 12: // tls_session
			ok = s.tlsSession(f.bytes)
		}
		if !ok {
			return false
		}
	}
	return !f.odd
}

// peer reads AttributeContext.Peer; only the source's is kept.
func (s *scan) peer(data []byte, source bool) bool {
	f := fields{rest: data}
	for f.next() {
		if f.varint || !f.once() {
			return false
		}
		switch f.number {
		case 1: // address
			if !s.peerAddress(f.bytes, source) {
				return false
			}
		case 2, 4, 5: // service, principal, certificate
			t, ok := validText(f.bytes)
			if !ok {
				return false
			}
			if source && f.number == 5 {
				s.q.Certificate = t
			}
		default:
			return false
		}
	}
	return !f.odd
}

// peerAddress reads envoy.config.core.v3.Address with a SocketAddress in it.
func (s *scan) peerAddress(data []byte, source bool) bool {
	f := fields{rest: data}
	for f.next() {
		if f.number != 1 || f.varint || !f.once() || !s.socketAddress(f.bytes, source) {
			return false
		}
	}
	return !f.odd
}

func (s *scan) socketAddress(data []byte, source bool) bool {
	f := fields{rest: data}
	for f.next() {
		if !f.once() {
			return false
		}
		switch {
		case f.number == 2 && !f.varint: // address
			t, ok := validText(f.bytes)
			if !ok {
				return false
			}
			if source {
				s.address = t
			}
		case (f.number == 1 || f.number == 3) && f.varint: // protocol, port_value
		default:
			return false
		}
	}
	return !f.odd
}

func (s *scan) tlsSession(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.number != 1 || f.varint || !f.once() {
			return false
		}
		if _, ok := validText(f.bytes); !ok { // sni
			return false
		}
	}
	return !f.odd
}

// request reads AttributeContext.Request.
func (s *scan) request(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.varint || !f.once() {
			return false
		}
		ok := false
		switch f.number {
		case 1: // time
			ok = timestamp(f.bytes)
		case 2: // http
			s.http = true
			ok = s.httpRequest(f.bytes)
		}
		if !ok {
			return false
		}
	}
	return !f.odd
}

func timestamp(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if !f.varint || f.number > 2 {
			return false
		}
	}
	return !f.odd
}

// httpRequest reads AttributeContext.HttpRequest.
func (s *scan) httpRequest(data []byte) bool {
	q := s.q
	f := fields{rest: data}
	for f.next() {
		if f.varint != (f.number == 9) || f.number != 3 && !f.once() {
			return false
		}
		ok := true
		switch f.number {
		case 2:
			q.Method, ok = validText(f.bytes)
		case 3: // headers
			s.mapForm = true
			ok = s.mapEntry(f.bytes)
		case 4:
			q.Path, ok = validText(f.bytes)
		case 5:
			q.Host, ok = validText(f.bytes)
		case 6:
			q.Scheme, ok = validText(f.bytes)
		case 1, 7, 8, 10, 11: // id, query, fragment, protocol, body
			_, ok = validText(f.bytes)
		case 9, 12: // size, raw_body
		case 13:
			ok = s.headerMap(f.bytes)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return !f.odd
}

// pair takes apart a message of two fields as nearly all are: a name below 128
// bytes as the first, and a value below 16 KiB. Anything else is not ok, and is
// to be read field by field.
func pair(data []byte) (name, value []byte, second byte, ok bool) {
	if len(data) < 4 || data[0] != tag(1) {
		return nil, nil, 0, false
	}
	n := 2 + int(data[1])
	if n >= 2+0x80 || len(data) < n+2 {
		return nil, nil, 0, false
	}
	name, second = data[2:n], data[n]
	size, head := int(data[n+1]), n+2
	if size >= 0x80 {
		if len(data) == head || data[head] >= 0x80 {
			return nil, nil, 0, false
		}
		size = size&0x7f | int(data[head])<<7
		head++
	}
	return name, data[head:], second, len(data)-head == size
}

// entry reads one entry of a map from text to text.
func entry(data []byte) (key, value string, ok bool) {
	if k, v, second, two := pair(data); two && second == tag(2) {
		key, ok = validText(k)
		value, two = validText(v)
		return key, value, ok && two
	}
	f := fields{rest: data}
	for f.next() {
		if f.varint || f.number > 2 || !f.once() {
			return "", "", false
		}
		t, ok := validText(f.bytes)
		if !ok {
			return "", "", false
		}
		if f.number == 1 {
			key = t
		} else {
			value = t
		}
	}
	return key, value, !f.odd
}

func (s *scan) mapEntry(data []byte) bool {
	name, value, ok := entry(data)
	if !ok {
		return false
	}
	// A key that comes twice is rare, and of it the last entry counts: left to
	// the generated code. The bits only say when to look closer.
	if name != "" {
		bit := uint64(1) << ((uint(len(name))*7 + uint(name[0]) + uint(name[len(name)-1])*3) % 64)
		if s.names&bit != 0 {
			if _, lines := s.q.Header(name); lines > 0 {
				return false
			}
		}
		s.names |= bit
	}
	s.header(name, value)
	return true
}

func (s *scan) contextExtension(data []byte) bool {
	name, value, ok := entry(data)
	if !ok {
		return false
	}
	for _, c := range s.q.Context {
		if c.Name == name {
			return false
		}
	}
	s.q.Context = append(s.q.Context, authz.Header{Name: name, Value: value})
	return true
}

// headerMap reads envoy.config.core.v3.HeaderMap.
func (s *scan) headerMap(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.number != 1 || f.varint {
			return false
		}
		s.rawForm = true
		if !s.headerValue(f.bytes) {
			return false
		}
	}
	return !f.odd
}

// headerValue reads envoy.config.core.v3.HeaderValue.
func (s *scan) headerValue(data []byte) bool {
	if n, v, second, two := pair(data); two && second == tag(3) && lowerName(text(n)) {
		s.keep(text(n), text(v))
		return true
	}
	var name, value, raw string
	f := fields{rest: data}
	for f.next() {
		if f.varint || !f.once() {
			return false
		}
		ok := true
		switch f.number {
		case 1:
			name, ok = validText(f.bytes)
		case 2:
			value, ok = validText(f.bytes)
		case 3:
			raw = text(f.bytes)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	if f.odd {
		return false
	}
	s.rawHeader(name, value, raw)
	return true
}
