package providers

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON may be nested.
const maxDepth = 32

// parseObject reads exactly one JSON object (RFC 8259). It is stricter than
// encoding/json where leniency lets two readers see two things: a member name
// that comes twice is an error, names are matched exactly, text must be UTF-8
// without lone surrogates, and nothing may follow.
//
// Numbers come out as int64 where they are whole and fit, else as float64.
// Strings of the result share one copy of data: who keeps one of them keeps all.
func parseObject(data []byte) (map[string]any, error) { return parseObjectText(string(data)) }

// parseObjectText is parseObject for a text that need not be copied.
func parseObjectText(data string) (map[string]any, error) {
	p := jsonParser{data: data}
	p.space()
	if p.peek() != '{' {
		return nil, errNotObject
	}
	v, err := p.object(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at != len(data) {
		return nil, errTrailing
	}
	return v, nil
}

// parseList reads exactly one JSON array, as parseObject does an object.
func parseList(data []byte) ([]any, error) {
	p := jsonParser{data: string(data)}
	p.space()
	if p.peek() != '[' {
		return nil, errNotList
	}
	v, err := p.array(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at != len(data) {
		return nil, errTrailing
	}
	return v, nil
}

var (
	errNotList   = errors.New("not a JSON array")
	errNotObject = errors.New("not a JSON object")
	errTrailing  = errors.New("something follows the JSON object")
	errSyntax    = errors.New("broken JSON")
	errTwice     = errors.New("a JSON member comes twice")
	errDepth     = errors.New("JSON nested too deep")
	errText      = errors.New("JSON text that is not UTF-8 or has bare control characters")
	errNumber    = errors.New("a JSON number out of range")
)

type jsonParser struct {
	data string
	at   int
}

func (p *jsonParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (p *jsonParser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *jsonParser) take(c byte) bool {
	if p.peek() == c && p.at < len(p.data) {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) object(depth int) (map[string]any, error) {
	if depth >= maxDepth {
		return nil, errDepth
	}
	p.at++ // {
	members := 8
	if depth == 0 && len(p.data) > 256 {
		members = 28 // most tokens have fewer claims; growing costs more than the room
	}
	m := make(map[string]any, members)
	p.space()
	if p.take('}') {
		return m, nil
	}
	for {
		p.space()
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, errTwice
		}
		if p.space(); !p.take(':') {
			return nil, errSyntax
		}
		if m[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		p.space()
		if p.take('}') {
			return m, nil
		}
		if !p.take(',') {
			return nil, errSyntax
		}
	}
}

func (p *jsonParser) array(depth int) ([]any, error) {
	if depth >= maxDepth {
		return nil, errDepth
	}
	p.at++ // [
	list := []any{}
	p.space()
	if p.take(']') {
		return list, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		p.space()
		if p.take(']') {
			return list, nil
		}
		if !p.take(',') {
			return nil, errSyntax
		}
	}
}

func (p *jsonParser) value(depth int) (any, error) {
	p.space()
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.text()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	}
	return nil, errSyntax
}

func (p *jsonParser) word(w string) error {
	if strings.HasPrefix(p.data[p.at:], w) {
		p.at += len(w)
		return nil
	}
	return errSyntax
}

func (p *jsonParser) digits() bool {
	start := p.at
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > start
}

func (p *jsonParser) number() (any, error) {
	start := p.at
	p.take('-')
	zero := p.peek() == '0'
	whole := p.at
	if !p.digits() || zero && p.at-whole > 1 {
		return nil, errSyntax
	}
	integer := true
	if p.take('.') {
		if integer = false; !p.digits() {
			return nil, errSyntax
		}
	}
	if p.take('e') || p.take('E') {
		if !p.take('-') {
			p.take('+')
		}
		if integer = false; !p.digits() {
			return nil, errSyntax
		}
	}
	text := p.data[start:p.at]
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errNumber
	}
	return f, nil
}

// text reads a string. One without escapes, as nearly all are, is not copied.
func (p *jsonParser) text() (string, error) {
	if !p.take('"') {
		return "", errSyntax
	}
	start, bits := p.at, byte(0)
	for i := start; i < len(p.data); i++ {
		c := p.data[i]
		switch {
		case c == '"':
			s := p.data[start:i]
			p.at = i + 1
			if bits >= utf8.RuneSelf && !utf8.ValidString(s) {
				return "", errText
			}
			return s, nil
		case c == '\\':
			p.at = i
			return p.escaped(start)
		case c < ' ':
			return "", errText
		}
		bits |= c
	}
	return "", errSyntax
}

// escaped goes on with a string at its first escape.
func (p *jsonParser) escaped(start int) (string, error) {
	b := append(make([]byte, 0, 2*(p.at-start)+16), p.data[start:p.at]...)
	for p.at < len(p.data) {
		c := p.data[p.at]
		p.at++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				return "", errText
			}
			return string(b), nil
		case c < ' ':
			return "", errText
		case c != '\\':
			b = append(b, c)
			continue
		}
		r, err := p.escape()
		if err != nil {
			return "", err
		}
		b = utf8.AppendRune(b, r)
	}
	return "", errSyntax
}

// escape reads what follows a backslash.
func (p *jsonParser) escape() (rune, error) {
	c := p.peek()
	p.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, err := p.hex4()
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		if !p.take('\\') || !p.take('u') {
			return 0, errText
		}
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return 0, errText
		}
		return r, nil
	}
	return 0, errSyntax
}

func (p *jsonParser) hex4() (rune, error) {
	if p.at+4 > len(p.data) {
		return 0, errSyntax
	}
	var r rune
	for _, c := range []byte(p.data[p.at : p.at+4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, errSyntax
		}
		r = r<<4 | rune(c)
	}
	p.at += 4
	return r, nil
}

// number returns a JSON number as a float.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
