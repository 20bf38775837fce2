package authz

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// DecisionID names one decision: it stands in the answer to the caller and in
// the log, and nowhere does it tell anything else.
type DecisionID [12]byte

// String returns the id as 24 hexadecimal digits.
func (id DecisionID) String() string { return hex.EncodeToString(id[:]) }

// AppendText appends the id as 24 hexadecimal digits; it never fails.
func (id DecisionID) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, id[:]), nil }

// NewDecisionID returns a name that no other decision has. Nobody gains by
// guessing it, so it need not be secret.
func NewDecisionID() (id DecisionID) {
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	binary.LittleEndian.PutUint32(id[8:], rand.Uint32())
	return id
}
