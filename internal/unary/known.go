package unary

import "bytes"

// known is the last header block of a connection, and what it said. Envoy sends the
// same bytes with every check; decoding them was a tenth of what one costs. They say
// the same only while HPACK's table is what it was: a block is known if it left the
// table alone, until there is another.
type known struct {
	block []byte
	head  head
}

// says reports whether a block is the known one, and if so sets what it says.
func (n *known) says(h *head, block []byte) bool {
	if len(n.block) == 0 || !bytes.Equal(n.block, block) {
		return false
	}
	id, ended := h.id, h.ended
	*h = n.head
	h.id, h.ended = id, ended
	return true
}

func (n *known) keep(h *head, block []byte) { n.block, n.head = append(n.block[:0], block...), *h }

// forget is for when the table may have changed.
func (n *known) forget() { n.block = n.block[:0] }

// keepsTable reports whether decoding a header block leaves HPACK's table as it
// was: all its fields are in there, or not to be put there (RFC 7541 §6). It does
// not know numbers of more than a byte, which are rare here: false then.
func keepsTable(block []byte) bool {
	for len(block) > 0 {
		first := block[0]
		block = block[1:]
		texts := 1
		switch {
		case first >= 0x80 && first != 0xff: // in the table
			continue
		case first >= 0x20 || first&0x0f == 0x0f:
			return false
		case first&0x0f == 0: // its name is not in the table either
			texts = 2
		}
		for range texts {
			if len(block) == 0 || block[0]&0x7f == 0x7f || len(block) <= int(block[0]&0x7f) {
				return false
			}
			block = block[1+int(block[0]&0x7f):]
		}
	}
	return true
}
