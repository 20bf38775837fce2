package authz

import (
	"strings"
	"unicode/utf8"
)

// target is the path that rules are matched on: one normal form, or, where the
// policy admits paths with several meanings, every reading of it.
type target struct {
	path string // the normal form: decoded once, no query, no empty segments

	// others are further readings, each of which an upstream might take.
	others []string

	// ambiguous says that no public rule may be found for it, whatever the
	// readings match.
	ambiguous bool
}

// cleanPath reports whether raw is its own normal form: only bytes that no
// parser reads in two ways, no dot segment, no empty one, no trailing slash.
// Nearly every request takes this way, which allocates nothing.
func cleanPath(raw string) bool {
	if raw == "" || raw[0] != '/' {
		return false
	}
	if raw == "/" {
		return true
	}
	previous := byte('/')
	for i := 1; i < len(raw); i++ {
		c := raw[i]
		if c >= utf8.RuneSelf || !plain[c] || c == '/' && previous == '/' {
			return false
		}
		// A dot that starts a segment is rare; let the slow way look at it.
		if c == '.' && previous == '/' {
			return false
		}
		previous = c
	}
	return previous != '/'
}

// plain marks the bytes that may stand in a path as they are.
var plain = func() (t [utf8.RuneSelf]bool) {
	for _, c := range []byte("/-._~!$&'()*+,=:@ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") {
		t[c] = true
	}
	return t
}()

// readPath returns what rules are matched on for the path of a request, query
// included. It reports false for a path that has more than one meaning and is
// not admitted by p: that one is answered 400.
func readPath(raw string, p PathPolicy) (target, bool) {
	if q := strings.IndexByte(raw, '?'); q >= 0 {
		raw = raw[:q]
	}
	if cleanPath(raw) {
		return target{path: raw}, true
	}
	if raw == "" || raw[0] != '/' {
		return target{}, false
	}
	decoded, slashes, ok := decodePath(raw)
	if !ok {
		return target{}, false
	}
	parameters := strings.IndexByte(decoded, ';') >= 0
	if slashes && p.EncodedSlash != AllowAmbiguous || parameters && p.Parameters != AllowAmbiguous {
		return target{}, false
	}

	// Each ambiguity doubles the readings; an upstream takes one of them.
	readings := []string{decoded}
	if slashes {
		readings = []string{
			strings.NewReplacer(slashMark, "/", backslashMark, "/").Replace(decoded),
			strings.NewReplacer(slashMark, "%2F", backslashMark, "%5C").Replace(decoded),
		}
	}
	if parameters {
		for _, r := range readings {
			readings = append(readings, withoutParameters(r), r[:strings.IndexByte(r, ';')])
		}
	}
	t := target{ambiguous: slashes || parameters}
	for _, r := range readings {
		if hasDotSegment(r) || hasDotSegment(withoutParameters(r)) {
			return target{}, false
		}
		t.read(r)
	}
	return t, true
}

// read adds one reading of the path, and its shorter spellings.
func (t *target) read(r string) {
	merged := mergeSlashes(r)
	if merged != r {
		// "//public/x" is also a URL without a scheme, whose path is "/x".
		t.ambiguous = true
	}
	t.add(merged)
	if len(merged) > 1 && strings.HasSuffix(merged, "/") {
		t.add(strings.TrimSuffix(merged, "/"))
	}
}

func (t *target) add(path string) {
	switch {
	case path == "":
		t.add("/")
	case t.path == "":
		t.path = path
	case t.path != path:
		t.others = append(t.others, path)
	}
}

// Stand-ins for an encoded slash and backslash in a decoded path. They cannot
// occur otherwise: decoded control characters are refused.
const (
	slashMark     = "\x01"
	backslashMark = "\x02"
)

// decodePath undoes percent-encoding once. slashes tells of encoded slashes or
// backslashes, which come out as marks. ok is false where nothing sensible can
// be read: bad escapes, double encoding, control characters, backslashes,
// fragments, invalid UTF-8.
func decodePath(raw string) (decoded string, slashes, ok bool) {
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' || c == '#' || c < ' ' || c == 0x7f:
			return "", false, false
		case c != '%':
			b = append(b, c)
			continue
		}
		if i+2 >= len(raw) {
			return "", false, false
		}
		hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
		if hi > 15 || lo > 15 {
			return "", false, false
		}
		i += 2
		switch c = hi<<4 | lo; {
		case c == '/':
			slashes, b = true, append(b, slashMark...)
		case c == '\\':
			slashes, b = true, append(b, backslashMark...)
		case c < ' ' || c == 0x7f:
			return "", false, false
		case c == '%' && i+2 < len(raw) && unhex(raw[i+1]) <= 15 && unhex(raw[i+2]) <= 15:
			return "", false, false // double encoding
		default:
			b = append(b, c)
		}
	}
	// An escape may also be put together from an encoded percent sign and
	// encoded digits: "%25%34%31".
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' && unhex(b[i+1]) <= 15 && unhex(b[i+2]) <= 15 {
			return "", false, false
		}
	}
	return string(b), slashes, utf8.Valid(b)
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '/' || len(b) == 0 || b[len(b)-1] != '/' {
			b = append(b, path[i])
		}
	}
	return string(b)
}

// withoutParameters cuts ";name=value" off each segment.
func withoutParameters(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

// hostName returns the host of an authority in the form that rules compare:
// lower case, without port and trailing dot. An authority that names no single
// host (two joined by a comma, user information) gives "", which no rule on
// hosts matches.
func hostName(authority string) string {
	host := authority
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return ""
		}
		host = host[:end+1]
	} else if colon := strings.IndexByte(host, ':'); colon >= 0 {
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	if strings.ContainsAny(host, ", @/\\%") {
		return ""
	}
	return strings.ToLower(host) // allocates only where there is upper case
}
