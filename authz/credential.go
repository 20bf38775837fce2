package authz

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is how a credential was presented.
type Kind uint8

// The kinds of credentials.
const (
	NoCredential Kind = iota
	Bearer            // Authorization: Bearer (RFC 6750 §2.1)
	Basic             // Authorization: Basic (RFC 7617)
	APIKey            // the API key header
	DPoP              // Authorization: DPoP (RFC 9449 §7.1)
)

var kindWords = [...]string{"none", "bearer", "basic", "key", "dpop"}

// String returns the word used in logs, metrics and on the command line.
func (k Kind) String() string { return kindWords[k] }

// Credential is the one thing the caller presented to say who they are.
type Credential struct {
	Kind   Kind
	User   string // Basic only: the user-id, not proven
	Secret Secret // the token, the key or the password

	// Notes is where providers leave what they have read off the credential,
	// so that it is taken apart once; nil: nothing is left anywhere.
	Notes *Notes
}

// Notes is what was read off one credential in the course of one decision.
// Nothing in it is proven, and it ends with the decision.
type Notes struct{ Value any }

// extract finds the one credential of a request. With a Reason the request is
// not to be answered by any provider: no credential (ReasonNoCredential), one
// that we do not take (ReasonUnsupportedScheme), or a request with more than
// one or a broken one, which is malformed (RFC 6750 §3.1 invalid_request).
//
// The bytes of a token are not looked at yet: see wellFormed.
func (p *Policy) extract(q *Request) (Credential, Reason) {
	header, lines := q.Header("authorization")
	key, keys := "", 0
	if p.KeyHeader != "" {
		key, keys = q.Header(p.KeyHeader)
	}
	header, key = trimOWS(header), trimOWS(key)
	switch {
	case lines > 1 || keys > 1 || header != "" && key != "":
		// Never "take the first" or "the last": whoever forwards it may take
		// the other one.
		return Credential{}, ReasonAmbiguousCredential
	case key != "":
		return Credential{Kind: APIKey, Secret: Secret{key}}, NoReason
	case header == "":
		return Credential{}, ReasonNoCredential
	}
	return p.readAuthorization(header)
}

// readAuthorization reads "scheme 1*SP token68" (RFC 9110 §11.4). The scheme is
// compared without case.
func (p *Policy) readAuthorization(header string) (Credential, Reason) {
	scheme, rest, _ := strings.Cut(header, " ")
	value := strings.TrimLeft(rest, " ")
	var kind Kind
	switch {
	case strings.EqualFold(scheme, "bearer"):
		kind = Bearer
	case strings.EqualFold(scheme, "basic"):
		kind = Basic
	case p.Prover != nil && strings.EqualFold(scheme, "dpop"):
		kind = DPoP
	default:
		return Credential{}, otherScheme(scheme)
	}
	switch {
	case value == "":
		return Credential{}, ReasonNoCredential
	case kind == Basic && !p.AllowBasic:
		return Credential{}, ReasonUnsupportedScheme
	case kind == Basic:
		return readBasic(value)
	}
	return Credential{Kind: kind, Secret: Secret{value}}, NoReason
}

// otherScheme tells a scheme that we do not take from text that is none.
func otherScheme(scheme string) Reason {
	if isToken(scheme) {
		return ReasonUnsupportedScheme
	}
	return ReasonMalformedCredential
}

// maxBasic bounds the decoded user-id and password of Basic together.
const maxBasic = 8 << 10

// readBasic decodes user-id and password as RFC 7617 §2 has them: padded
// standard base64 of UTF-8 text, split at the first colon, no control
// characters. The user-id must not be empty, nor the password.
func readBasic(value string) (Credential, Reason) {
	if len(value) > base64.StdEncoding.EncodedLen(maxBasic) {
		return Credential{}, ReasonMalformedCredential
	}
	text, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl) {
		return Credential{}, ReasonMalformedCredential
	}
	user, password, ok := strings.Cut(string(text), ":")
	if !ok || user == "" || password == "" {
		return Credential{}, ReasonMalformedCredential
	}
	return Credential{Kind: Basic, User: user, Secret: Secret{password}}, NoReason
}

// wellFormed reports whether the token or key has no byte that none may have,
// so that two header lines joined by a comma never pass for one. Nothing that
// is remembered as good can be ill-formed, so this waits until a look-up failed:
// it costs more than all the rest of a cached decision.
func (c *Credential) wellFormed() bool { return c.Kind == Basic || isToken68(c.Secret.text) }

// isToken68 reports whether s is 1*( ALPHA / DIGIT / "-._~+/" ) *"=", the form
// of a bearer token (RFC 6750 §2.1) and of a token68 (RFC 9110 §11.2).
func isToken68(s string) bool {
	n := len(s)
	for n > 0 && s[n-1] == '=' {
		n--
	}
	if n == 0 {
		return false
	}
	for i := 0; i < n; i++ {
		if !token68[s[i]] {
			return false
		}
	}
	return true
}

var token68 = func() (t [256]bool) {
	for c := range t {
		t[c] = isAlphanumeric(byte(c)) || strings.IndexByte("-._~+/", byte(c)) >= 0
	}
	return t
}()

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// trimOWS removes the optional white space that HTTP allows around a value
// (RFC 9110 §5.6.3).
func trimOWS(s string) string { return strings.Trim(s, " \t") }
