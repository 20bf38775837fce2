package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/gatelodge/gatelodge/authz"
)

// decoder takes a YAML tree into a Config. It goes on after a fault, to find
// them all.
type decoder struct {
	name      string
	dir       string
	env       func(string) (string, bool)
	positions map[string]position // of each key that the file has
	inputs    []input             // files that the file names
	faults    []Message
	failed    []string // keys whose values could not be read
	warnings  []Message
}

// maxSize bounds the file in bytes, and with it what aliases could blow up.
const maxSize = 4 << 20

func (d *decoder) document(text []byte, c *Config) {
	start := position{1, 1}
	switch {
	case len(text) > maxSize:
		d.fault(start, "", "the file has %d bytes; %d are the most", len(text), maxSize)
		return
	case !utf8.Valid(text):
		d.fault(start, "", "the file is not UTF-8 text")
		return
	}
	docs := yaml.NewDecoder(bytes.NewReader(text))
	var root, second yaml.Node
	if err := docs.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			d.fault(start, "", "the file is empty; it needs at least providers or api_tokens")
			return
		}
		d.fault(syntaxPosition(err), "", "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if err := docs.Decode(&second); !errors.Is(err, io.EOF) {
		d.fault(start, "", "more than one document (---); the file is to be one")
		return
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		d.fault(start, "", "the file is to be a mapping of keys, as \"providers:\"")
		return
	}
	d.value(root.Content[0], "", reflect.ValueOf(c).Elem())
}

// syntaxPosition finds the line that the YAML library names in its text.
func syntaxPosition(err error) position {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	digits := rest
	for i, c := range rest {
		if c < '0' || c > '9' {
			digits = rest[:i]
			break
		}
	}
	if line, e := strconv.Atoi(digits); ok && e == nil {
		return position{line, 1}
	}
	return position{1, 1}
}

func at(n *yaml.Node) position { return position{n.Line, n.Column} }

var (
	secretType    = reflect.TypeFor[authz.Secret]()
	durationType  = reflect.TypeFor[time.Duration]()
	prefixType    = reflect.TypeFor[netip.Prefix]()
	unmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value takes the node at key into v.
func (d *decoder) value(n *yaml.Node, key string, v reflect.Value) {
	if key != "" {
		d.positions[key] = at(n)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fault(at(n), key, "anchors and aliases are not understood; write the value out")
		return
	}
	switch {
	case v.Type() == secretType:
		d.secret(n, key, v)
	case v.Type() == durationType:
		d.scalar(n, key, v, "a time with its unit, as 30s, 5m or 90d", setDuration)
	case v.Type() == prefixType:
		d.scalar(n, key, v, "an IP address or network, as 10.0.0.0/8", setPrefix)
	case v.CanAddr() && v.Addr().Type().Implements(unmarshalType):
		d.scalar(n, key, v, "a word", func(v reflect.Value, s string) error {
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		})
	default:
		d.kind(n, key, v)
	}
}

func (d *decoder) kind(n *yaml.Node, key string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, key, p.Elem())
		v.Set(p)
	case reflect.Struct:
		d.mapping(n, key, v)
	case reflect.Slice:
		d.list(n, key, v)
	case reflect.Map:
		d.table(n, key, v)
	case reflect.String:
		d.scalar(n, key, v, "text", func(v reflect.Value, s string) error { v.SetString(s); return nil })
	case reflect.Bool:
		d.typed(n, key, v, "!!bool", "true or false")
	case reflect.Int, reflect.Int64:
		d.typed(n, key, v, "!!int", "a whole number")
	case reflect.Float64:
		d.scalar(n, key, v, "a number", func(v reflect.Value, s string) error {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("%q is not a number", s)
			}
			v.SetFloat(f)
			return nil
		})
	default:
		panic("configuration field of a kind that no file has: " + v.Type().String())
	}
}

// keysOf returns the index of each field of a struct by its key.
func keysOf(t reflect.Type) map[string]int {
	keys := map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			keys[name] = i
		}
	}
	return keys
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// pairs calls f for each key of a mapping, once; a key that comes twice is a
// fault.
func (d *decoder) pairs(n *yaml.Node, key string, f func(name *yaml.Node, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(at(n), key, "is to be a mapping of keys, not %s", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || name.Tag == "!!merge" {
			d.fault(at(name), key, "a key is to be a plain word")
			continue
		}
		if line, twice := seen[name.Value]; twice {
			d.fault(at(name), join(key, name.Value), "stands here a second time; the first is in line %d", line)
			continue
		}
		seen[name.Value] = name.Line
		f(name, n.Content[i+1])
	}
}

func (d *decoder) mapping(n *yaml.Node, key string, v reflect.Value) {
	keys := keysOf(v.Type())
	d.pairs(n, key, func(name, value *yaml.Node) {
		i, known := keys[name.Value]
		if !known {
			near := suggest(name.Value, keys)
			d.fault(at(name), join(key, name.Value), "is not known%s", mark("; did you mean ", near, "?"))
			if near != "" {
				d.failed = append(d.failed, join(key, near)) // most likely there, misspelt
			}
			return
		}
		if value.Tag == "!!null" && value.Kind == yaml.ScalarNode {
			d.fault(at(value), join(key, name.Value), "has no value; give one or remove the key")
			return
		}
		d.value(value, join(key, name.Value), v.Field(i))
	})
}

func (d *decoder) table(n *yaml.Node, key string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, key, func(name, value *yaml.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(value, join(key, name.Value), e)
		v.SetMapIndex(reflect.ValueOf(name.Value), e)
	})
}

// list takes a sequence; a single value stands for a list of one.
func (d *decoder) list(n *yaml.Node, key string, v reflect.Value) {
	items := n.Content
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		items = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		d.fault(at(n), key, "is to be a list, not %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, fmt.Sprintf("%s[%d]", key, i), out.Index(i))
	}
	d.positions[key] = at(n)
	v.Set(out)
}

// scalar takes a single value as text.
func (d *decoder) scalar(n *yaml.Node, key string, v reflect.Value, want string, set func(reflect.Value, string) error) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.fault(at(n), key, "is to be %s, not %s", want, describe(n))
		return
	}
	if err := set(v, n.Value); err != nil {
		d.fault(at(n), key, "%v; it is to be %s", err, want)
	}
}

// typed takes a value whose YAML type must be tag.
func (d *decoder) typed(n *yaml.Node, key string, v reflect.Value, tag, want string) {
	if n.Kind != yaml.ScalarNode || n.Tag != tag {
		d.fault(at(n), key, "is to be %s, not %s", want, describe(n))
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.fault(at(n), key, "%q is out of range; it is to be %s", n.Value, want)
	}
}

// describe names what stands at a node. The text of a scalar could be a secret
// in the wrong place, so only its type is told.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	}
	return "text"
}

func setDuration(v reflect.Value, s string) error {
	var days int
	rest := s
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(head)
		if err != nil || n < 0 || n > 100*366 {
			return fmt.Errorf("%q is not a time", s)
		}
		days, rest = n, tail
	}
	total := time.Duration(days) * 24 * time.Hour
	if rest != "" {
		t, err := time.ParseDuration(rest)
		if err != nil {
			return fmt.Errorf("%q is not a time", s)
		}
		total += t
	}
	if total < 0 {
		return fmt.Errorf("%q is negative", s)
	}
	v.SetInt(int64(total))
	return nil
}

func setPrefix(v reflect.Value, s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return fmt.Errorf("%q is neither an address nor a network", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p != p.Masked() {
		return fmt.Errorf("%q has bits beyond its length; the network is %s", s, p.Masked())
	}
	v.Set(reflect.ValueOf(p))
	return nil
}

// suggest names the known key that is nearest to what was written; "": none is near.
func suggest(word string, keys map[string]int) string {
	best, distance := "", 4
	for k := range keys {
		if n := editDistance(word, k); n < distance || n == distance && k < best {
			best, distance = k, n
		}
	}
	if best == "" || distance > (len(word)+1)/2 {
		return ""
	}
	return best
}

// mark puts a text between two marks; nothing stays nothing.
func mark(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

// editDistance is the number of letters to change, insert or leave out.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
