package envoy

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatelodge/gatelodge/authz"
)

// fields calls f for each field of a message whose tag is encoded as Envoy's
// protobuf does. Only lengths and varints occur in what is read here.
func fields(data []byte, f func(number protowire.Number, bytes []byte, varint bool) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errUnusual
		}
		data = data[n:]
		var value []byte
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			_, n = protowire.ConsumeVarint(data)
		default:
			return errUnusual
		}
		if n < 0 {
			return errUnusual
		}
		data = data[n:]
		if err := f(number, value, kind == protowire.VarintType); err != nil {
			return err
		}
	}
	return nil
}

// once tracks which singular fields of a message were seen: merging and
// overriding are left to the generated code.
type once uint32

func (o *once) twice(number protowire.Number) bool {
	if number > 31 || *o&(1<<number) != 0 {
		return true
	}
	*o |= 1 << number
	return false
}

// checkRequest reads envoy.service.auth.v3.CheckRequest.
func (s *scan) checkRequest(data []byte) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if number != 1 || varint || seen.twice(number) {
			return errUnusual
		}
		return s.attributes(b)
	})
}

// attributes reads envoy.service.auth.v3.AttributeContext.
func (s *scan) attributes(data []byte) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if varint || number != 10 && seen.twice(number) {
			return errUnusual
		}
		switch number {
		case 1: // source
			return s.peer(b, true)
		case 2: // destination
			return s.peer(b, false)
		case 4: // request
			return s.request(b)
		case 10: // context_extensions
			return s.contextExtension(b)
		case 11, 13: // metadata_context, route_metadata_context: empty where not asked for
			if len(b) == 0 {
				return nil
			}
		case 12: // tls_session
			return s.tlsSession(b)
		}
		return errUnusual
	})
}

// peer reads AttributeContext.Peer; only the source's is kept.
func (s *scan) peer(data []byte, source bool) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if varint || seen.twice(number) {
			return errUnusual
		}
		switch number {
		case 1: // address
			return s.peerAddress(b, source)
		case 2, 4, 5: // service, principal, certificate
			t, err := validText(b)
			if source && number == 5 {
				s.q.Certificate = t
			}
			return err
		}
		return errUnusual
	})
}

// peerAddress reads envoy.config.core.v3.Address with a SocketAddress in it.
func (s *scan) peerAddress(data []byte, source bool) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if number != 1 || varint || seen.twice(number) {
			return errUnusual
		}
		var inner once
		return fields(b, func(number protowire.Number, b []byte, varint bool) error {
			if inner.twice(number) {
				return errUnusual
			}
			switch {
			case number == 2 && !varint: // address
				t, err := validText(b)
				if source {
					s.address = t
				}
				return err
			case (number == 1 || number == 3) && varint: // protocol, port_value
				return nil
			}
			return errUnusual
		})
	})
}

func (s *scan) tlsSession(data []byte) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if number != 1 || varint || seen.twice(number) {
			return errUnusual
		}
		_, err := validText(b) // sni
		return err
	})
}

// request reads AttributeContext.Request.
func (s *scan) request(data []byte) error {
	var seen once
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if varint || seen.twice(number) {
			return errUnusual
		}
		switch number {
		case 1: // time
			return timestamp(b)
		case 2: // http
			s.http = true
			return s.httpRequest(b)
		}
		return errUnusual
	})
}

func timestamp(data []byte) error {
	return fields(data, func(number protowire.Number, _ []byte, varint bool) error {
		if !varint || number > 2 {
			return errUnusual
		}
		return nil
	})
}

// httpRequest reads AttributeContext.HttpRequest.
func (s *scan) httpRequest(data []byte) error {
	var seen once
	q := s.q
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if varint != (number == 9) || number != 3 && seen.twice(number) {
			return errUnusual
		}
		var err error
		switch number {
		case 2:
			q.Method, err = validText(b)
		case 3: // headers
			s.mapForm = true
			return s.mapEntry(b)
		case 4:
			q.Path, err = validText(b)
		case 5:
			q.Host, err = validText(b)
		case 6:
			q.Scheme, err = validText(b)
		case 1, 7, 8, 10, 11: // id, query, fragment, protocol, body
			_, err = validText(b)
		case 9, 12: // size, raw_body
		case 13:
			return s.headerMap(b)
		default:
			return errUnusual
		}
		return err
	})
}

// entry reads one entry of a map from text to text.
func entry(data []byte) (key, value string, err error) {
	var seen once
	err = fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if varint || number > 2 || seen.twice(number) {
			return errUnusual
		}
		t, err := validText(b)
		if number == 1 {
			key = t
		} else {
			value = t
		}
		return err
	})
	return key, value, err
}

func (s *scan) mapEntry(data []byte) error {
	name, value, err := entry(data)
	if err != nil {
		return err
	}
	// A key that comes twice is rare, and of it the last entry counts: left to
	// the generated code. The bits only say when to look closer.
	if name != "" {
		bit := uint64(1) << ((uint(len(name))*7 + uint(name[0]) + uint(name[len(name)-1])*3) % 64)
		if s.names&bit != 0 {
			if _, lines := s.q.Header(name); lines > 0 {
				return errUnusual
			}
		}
		s.names |= bit
	}
	s.header(name, value)
	return nil
}

func (s *scan) contextExtension(data []byte) error {
	name, value, err := entry(data)
	if err != nil {
		return err
	}
	for _, c := range s.q.Context {
		if c.Name == name {
			return errUnusual
		}
	}
	s.q.Context = append(s.q.Context, authz.Header{Name: name, Value: value})
	return nil
}

// headerMap reads envoy.config.core.v3.HeaderMap.
func (s *scan) headerMap(data []byte) error {
	return fields(data, func(number protowire.Number, b []byte, varint bool) error {
		if number != 1 || varint {
			return errUnusual
		}
		s.rawForm = true
		var seen once
		var name, value, raw string
		err := fields(b, func(number protowire.Number, b []byte, varint bool) (err error) {
			if varint || seen.twice(number) {
				return errUnusual
			}
			switch number {
			case 1:
				name, err = validText(b)
			case 2:
				value, err = validText(b)
			case 3:
				raw = text(b)
			default:
				return errUnusual
			}
			return err
		})
		if err == nil {
			s.rawHeader(name, value, raw)
		}
		return err
	})
}
