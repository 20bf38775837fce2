package envoy

import (
	"strings"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/authz"
)

// write appends the wire form of the CheckResponse for a decision. Whatever
// the decision is, the answer is one that Envoy takes for it: OK only for
// Allowed, and only with a user that can stand in a header.
func (r *rendered) write(b []byte, q *authz.Request, d *authz.Decision) []byte {
	if d.Outcome == authz.Allowed {
		user, ok := r.userValue(d.Identity)
		if ok {
			return r.allow(b, d, user)
		}
		refused := *d
		refused.Outcome, refused.Reason, refused.Identity = authz.Unauthenticated, authz.ReasonUsername, nil
		return r.deny(b, q, &refused)
	}
	return r.deny(b, q, d)
}

// rendered is what of every answer depends on the policy alone, made once.
type rendered struct {
	policy  *authz.Policy
	aliases []byte // removal of every other spelling of an identity header
	removal [headerCount][]byte
	secrets []byte // removal of the caller's credential
	realm   string

	// challenges by reason, where nothing else in them depends on the rule but
	// whether they name Basic.
	challenges, withBasic [authz.Reasons]string
}

// The identity headers, in the order of HeaderNames.
const (
	userHeader = iota
	emailHeader
	groupsHeader
	providerHeader
	subjectHeader
	headerCount
)

func headerNames(h *authz.HeaderNames) [headerCount]string {
	return [headerCount]string{h.User, h.Email, h.Groups, h.Provider, h.Subject}
}

const (
	okHeaders         = 2 // OkHttpResponse.headers
	okHeadersToRemove = 5 // OkHttpResponse.headers_to_remove
)

func render(p *authz.Policy) *rendered {
	r := &rendered{policy: p, realm: quote(p.Realm)}
	for i, name := range headerNames(&p.Headers) {
		if name == "" {
			continue
		}
		r.removal[i] = appendText(nil, okHeadersToRemove, name)
		for _, alias := range spellings(name) {
			r.aliases = appendText(r.aliases, okHeadersToRemove, alias)
		}
	}
	r.secrets = appendText(nil, okHeadersToRemove, "authorization")
	if p.KeyHeader != "" {
		r.secrets = appendText(r.secrets, okHeadersToRemove, p.KeyHeader)
	}
	if p.Prover != nil {
		r.secrets = appendText(r.secrets, okHeadersToRemove, "dpop")
	}
	for i := range r.challenges {
		c := unauthenticated(authz.Reason(i))
		r.challenges[i] = r.challenge(authz.Reason(i), nil, c)
		r.withBasic[i] = r.challenges[i] + r.basic()
	}
	return r
}

// maxDashes bounds the spellings of one header: 2^5. The configuration refuses
// names with more.
const maxDashes = 5

// spellings are the other ways to write a header name that an upstream may
// take for it: many map "_" and "-" to one (CGI, WSGI). The name itself is not
// among them: Envoy removes after it sets, so it would go too.
func spellings(name string) (list []string) {
	dashes := strings.Count(name, "-")
	for pick := 1; pick < 1<<min(dashes, maxDashes); pick++ {
		b, bit := []byte(name), 0
		for i, c := range b {
			if c == '-' {
				if pick>>bit&1 == 1 {
					b[i] = '_'
				}
				bit++
			}
		}
		list = append(list, string(b))
	}
	return list
}

// userValue is the user as it goes into the header. It reports false for one
// that cannot stand there. No identity is no user, which is fine.
func (r *rendered) userValue(id *authz.Identity) (string, bool) {
	if id == nil {
		return "", true
	}
	return r.headerValue(id.User)
}

// headerValue returns s as a header value, or "" and false where it is none: empty,
// with control characters, with white space at an edge, or not ASCII without
// the setting that percent-encodes.
func (r *rendered) headerValue(s string) (string, bool) {
	if s == "" || s[0] == ' ' || s[len(s)-1] == ' ' {
		return "", false
	}
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return "", false
		}
		ascii = ascii && s[i] < 0x80
	}
	if r.policy.NonASCII == authz.PercentEncode {
		if !ascii || strings.IndexByte(s, '%') >= 0 {
			return percentEncode(s), true
		}
		return s, true
	}
	if !ascii {
		return "", false
	}
	return s, true
}

func percentEncode(s string) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x80 || c == '%' {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// allow appends an OK: the one place where one is built. Each identity header
// is either set, over whatever the caller sent, or removed.
func (r *rendered) allow(b []byte, d *authz.Decision, user string) []byte {
	b = append(b, tag(1), 0) // Status{code: OK}
	b, ok := begin(b, 3)     // OkHttpResponse
	id := d.Identity
	if id == nil {
		id = &nobody
	}
	names := &r.policy.Headers
	b = r.identityHeader(b, userHeader, names.User, user)
	b = r.identityHeader(b, emailHeader, names.Email, r.value(id.Email))
	b = r.groupsHeader(b, names.Groups, id.Groups)
	if id != &nobody {
		b = r.identityHeader(b, providerHeader, names.Provider, r.value(d.Provider))
	} else {
		b = append(b, r.removal[providerHeader]...)
	}
	b = r.identityHeader(b, subjectHeader, names.Subject, r.value(id.Subject))
	b = append(b, r.aliases...)
	if !d.KeepCredential && !r.policy.ForwardCredential {
		b = append(b, r.secrets...)
	}
	return appendMetadata(end(b, ok), d)
}

var nobody authz.Identity

// identityHeader sets one of the identity headers to a value that can stand
// there, or has it removed where that is "".
func (r *rendered) identityHeader(b []byte, which int, name, value string) []byte {
	if name == "" {
		return b
	}
	if value != "" {
		return appendHeader(b, okHeaders, name, value)
	}
	return append(b, r.removal[which]...)
}

// value is headerValue for what is only left out where it is none.
func (r *rendered) value(s string) string {
	s, _ = r.headerValue(s)
	return s
}

// groupsHeader sets the header of the groups, joined by commas. A name that has
// a comma, or cannot stand in a header, is left out: it would read as groups
// that the user is not in.
func (r *rendered) groupsHeader(b []byte, name string, list []string) []byte {
	if name == "" {
		return b
	}
	before := len(b)
	b, at := beginHeader(b, okHeaders, name)
	empty := len(b)
	for _, g := range list {
		value, ok := r.headerValue(g)
		if !ok || strings.IndexByte(g, ',') >= 0 {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(b, value...)
	}
	if len(b) == empty {
		return append(b[:before], r.removal[groupsHeader]...)
	}
	return endHeader(b, at)
}

// appendMetadata appends the dynamic metadata, for Envoy's access log, RBAC and
// rate limits. Nothing secret is in it. Envoy copies each entry several times: they
// are a good part of what an answer costs there.
func appendMetadata(b []byte, d *authz.Decision) []byte {
	var id [24]byte
	hexID, _ := d.ID.AppendText(id[:0])
	b, metadata := begin(b, 4)
	b = appendStructField(b, "decision_id", hexID)
	if d.Reason != authz.ReasonVerified { // then there is a user, which says as much
		b = appendStructField(b, "reason", d.Reason.String())
	}
	b = appendKnown(b, "provider", d.Provider)
	if d.Rule != nil {
		b = appendKnown(b, "rule", d.Rule.Name)
	}
	if d.Identity != nil {
		b = appendKnown(b, "user", d.Identity.User)
		b = appendKnown(b, "client", d.Identity.Client)
		b = appendKnown(b, "token_id", d.Identity.TokenID)
	}
	return end(b, metadata)
}

// appendKnown appends an entry of the metadata, unless it says nothing. Protobuf
// text is UTF-8: with anything else Envoy would not read the answer.
func appendKnown(b []byte, name, value string) []byte {
	if value == "" || !utf8.ValidString(value) {
		return b
	}
	return appendStructField(b, name, value)
}
