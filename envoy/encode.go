package envoy

import "google.golang.org/protobuf/encoding/protowire"

// Appending protobuf by hand. Field numbers are all below 16, so that a tag is
// one byte.

// tag is the tag of a field with a length.
func tag(number protowire.Number) byte { return byte(number<<3) | byte(protowire.BytesType) }

func appendText[T string | []byte](b []byte, number protowire.Number, s T) []byte {
	if len(s) < 0x80 {
		b = append(b, tag(number), byte(len(s)))
	} else {
		b = protowire.AppendVarint(append(b, tag(number)), uint64(len(s)))
	}
	return append(b, s...)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(append(b, byte(number<<3)|byte(protowire.VarintType)), v)
}

// begin opens a field with a length. What is appended until end, called with
// the second result, is its content.
func begin(b []byte, number protowire.Number) ([]byte, int) {
	b = append(b, tag(number), 0)
	return b, len(b)
}

// end closes the field whose content starts at start: it fills in the length,
// and makes room where that takes more than the one byte left for it.
func end(b []byte, start int) []byte {
	n := len(b) - start
	if n < 0x80 {
		b[start-1] = byte(n)
		return b
	}
	var length [10]byte
	head := protowire.AppendVarint(length[:0], uint64(n))
	b = append(b, head[1:]...)
	copy(b[start+len(head)-1:], b[start:start+n])
	copy(b[start-1:], head)
	return b
}

// overwrite is HeaderAppendAction OVERWRITE_IF_EXISTS_OR_ADD: the header has
// this one value, whatever the caller sent.
const overwrite = 2

// beginHeader opens a HeaderValueOption as field number, up to the value, which
// is to be appended next.
func beginHeader(b []byte, number protowire.Number, name string) (_ []byte, at [3]int) {
	b, at[0] = begin(b, number)
	b, at[1] = begin(b, 1)
	b = appendText(b, 1, name)
	b, at[2] = begin(b, 2)
	return b, at
}

// endHeader closes what beginHeader opened.
func endHeader(b []byte, at [3]int) []byte {
	b = end(end(b, at[2]), at[1])
	return end(appendVarint(b, 3, overwrite), at[0])
}

// appendHeader appends a HeaderValueOption as field number, for a header that
// is set whatever was there. The value goes as text; it must be valid.
func appendHeader(b []byte, number protowire.Number, name, value string) []byte {
	b, at := beginHeader(b, number, name)
	return endHeader(append(b, value...), at)
}

// appendStructField appends one entry of a google.protobuf.Struct that holds
// text.
func appendStructField[T string | []byte](b []byte, name string, value T) []byte {
	b, entry := begin(b, 1)
	b = appendText(b, 1, name)
	b, v := begin(b, 2)
	b = appendText(b, 3, value)
	return end(end(b, v), entry)
}
