package authz

import "encoding/hex"

// DecisionID names one decision: it stands in the answer to the caller and in
// the log, and nowhere does it tell anything else.
type DecisionID [12]byte

// String returns the id as 24 hexadecimal digits.
func (id DecisionID) String() string { return hex.EncodeToString(id[:]) }

// AppendText appends the id as 24 hexadecimal digits; it never fails.
func (id DecisionID) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, id[:]), nil }
