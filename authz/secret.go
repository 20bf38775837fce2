package authz

import (
	"fmt"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// Secret is text that must never be shown: a token, a password, a client
// secret. However it is printed, logged or marshalled, a fixed word comes out;
// only Reveal gives the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text. Call it where the secret is used (a hash, a
// request to its provider), never on the way to a log, an error or an answer.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// Clone returns a secret that shares no memory with s.
func (s Secret) Clone() Secret { return Secret{strings.Clone(s.text)} }

// String implements fmt.Stringer; it never shows the text.
func (s Secret) String() string { return redacted }

// GoString implements fmt.GoStringer; it never shows the text.
func (s Secret) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%v, %x, %#v …) shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler (JSON, YAML); it never shows the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer; it never shows the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
