package envoy

import "google.golang.org/protobuf/encoding/protowire"

// Appending protobuf by hand: each helper appends one field, number first.

func appendText(b []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

// appendMessage appends a message field whose size in bytes is known; its
// content is to be appended next.
func appendMessage(b []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.BytesType), uint64(size))
}

// sizeText is the size of a text field whose number is below 16.
func sizeText(n int) int { return 1 + protowire.SizeBytes(n) }

// sizeMessage is the size of a message field whose number is below 16.
func sizeMessage(n int) int { return 1 + protowire.SizeBytes(n) }

// overwrite is HeaderAppendAction OVERWRITE_IF_EXISTS_OR_ADD: the header has
// this one value, whatever the caller sent.
const overwrite = 2

// sizeHeaderOption is the size of the content of a HeaderValueOption.
func sizeHeaderOption(name string, value int) int {
	return sizeMessage(sizeText(len(name))+sizeText(value)) + 2
}

// appendHeaderOption appends a HeaderValueOption as field number, for a header
// that is set whatever was there. The value goes as text; it must be valid.
func appendHeaderOption(b []byte, number protowire.Number, name, value string) []byte {
	b = appendMessage(b, number, sizeHeaderOption(name, len(value)))
	b = appendMessage(b, 1, sizeText(len(name))+sizeText(len(value)))
	b = appendText(b, 1, name)
	b = appendText(b, 2, value)
	return appendVarint(b, 3, overwrite)
}

// sizeStructField is the size of the content of one entry of a
// google.protobuf.Struct that holds text.
func sizeStructField(name string, value int) int {
	return sizeText(len(name)) + sizeMessage(sizeText(value))
}

// appendStructField appends one entry of a google.protobuf.Struct.
func appendStructField(b []byte, name, value string) []byte {
	b = appendMessage(b, 1, sizeStructField(name, len(value)))
	b = appendText(b, 1, name)
	b = appendMessage(b, 2, sizeText(len(value)))
	return appendText(b, 3, value)
}
