package envoy

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

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
	names := headerNames(&r.policy.Headers)
	values := r.values(d, user)
	size := len(r.aliases)
	for i, name := range names {
		switch {
		case name == "":
		case values[i] != "":
			size += sizeMessage(sizeHeaderOption(name, len(values[i])))
		default:
			size += len(r.removal[i])
		}
	}
	removeSecrets := !d.KeepCredential && !r.policy.ForwardCredential
	if removeSecrets {
		size += len(r.secrets)
	}

	b = appendMessage(b, 1, 0)    // Status{code: OK}
	b = appendMessage(b, 3, size) // OkHttpResponse
	for i, name := range names {
		if name != "" && values[i] != "" {
			b = appendHeaderOption(b, okHeaders, name, values[i])
		}
	}
	for i, name := range names {
		if name != "" && values[i] == "" {
			b = append(b, r.removal[i]...)
		}
	}
	b = append(b, r.aliases...)
	if removeSecrets {
		b = append(b, r.secrets...)
	}
	return appendMetadata(b, d)
}

// values are those of the identity headers; "" where there is none.
func (r *rendered) values(d *authz.Decision, user string) (v [headerCount]string) {
	id := d.Identity
	if id == nil {
		return v
	}
	v[userHeader] = user
	names := &r.policy.Headers
	if names.Email != "" {
		v[emailHeader], _ = r.headerValue(id.Email)
	}
	if names.Groups != "" {
		v[groupsHeader] = r.groups(id.Groups)
	}
	if names.Provider != "" {
		v[providerHeader], _ = r.headerValue(d.Provider)
	}
	if names.Subject != "" {
		v[subjectHeader], _ = r.headerValue(id.Subject)
	}
	return v
}

// groups joins group names by commas. A name that has a comma, or cannot stand
// in a header, is left out: it would read as groups that the user is not in.
func (r *rendered) groups(list []string) string {
	kept := make([]string, 0, len(list))
	for _, g := range list {
		if value, ok := r.headerValue(g); ok && strings.IndexByte(g, ',') < 0 {
			kept = append(kept, value)
		}
	}
	return strings.Join(kept, ",")
}

// appendMetadata appends the dynamic metadata, for Envoy's access log, RBAC and
// rate limits. Nothing secret is in it.
func appendMetadata(b []byte, d *authz.Decision) []byte {
	var id [24]byte
	hexID, _ := d.ID.AppendText(id[:0])
	names := [...]string{"decision_id", "reason", "provider", "rule", "user", "client", "token_id"}
	values := [len(names)]string{1: d.Reason.String(), 2: d.Provider}
	if d.Rule != nil {
		values[3] = d.Rule.Name
	}
	if d.Identity != nil {
		values[4], values[5], values[6] = d.Identity.User, d.Identity.Client, d.Identity.TokenID
	}
	for i, v := range values {
		if !utf8.ValidString(v) {
			values[i] = "" // protobuf text is UTF-8: Envoy would not read the answer
		}
	}
	size := sizeMessage(sizeStructField(names[0], len(hexID)))
	for i := 1; i < len(names); i++ {
		if values[i] != "" {
			size += sizeMessage(sizeStructField(names[i], len(values[i])))
		}
	}
	b = appendMessage(b, 4, size)
	b = appendMessage(b, 1, sizeStructField(names[0], len(hexID)))
	b = appendText(b, 1, names[0])
	b = appendMessage(b, 2, sizeText(len(hexID)))
	b = appendText(b, 3, text(hexID))
	for i := 1; i < len(names); i++ {
		if values[i] != "" {
			b = appendStructField(b, names[i], values[i])
		}
	}
	return b
}

// deny appends an answer that is not OK. It tells the caller a class and the
// decision id, never the cause.
func (r *rendered) deny(b []byte, q *authz.Request, d *authz.Decision) []byte {
	var id [24]byte
	hexID, _ := d.ID.AppendText(id[:0])
	c := classOf(d)
	body, contentType := c.body(q, d, text(hexID))

	var challenge string
	if c.status == http.StatusUnauthorized || c.err != "" && c.status < http.StatusInternalServerError {
		challenge = r.challenge(d, c)
	}
	retry := ""
	if c.status == http.StatusServiceUnavailable {
		retry = strconv.Itoa(int(max(d.RetryAfter+time.Second-1, time.Second) / time.Second))
	}
	headers := [...]struct{ name, value string }{
		{"content-type", contentType},
		{"cache-control", "no-store"},
		{"x-gatelodge-decision", text(hexID)},
		{"www-authenticate", challenge},
		{"retry-after", retry},
		{"dpop-nonce", d.ProofNonce},
	}

	httpStatus := 0
	if c.status != 0 {
		httpStatus = sizeVarintField(uint64(c.status))
	}
	size := sizeMessage(httpStatus) + sizeText(len(body))
	for _, h := range headers {
		if h.value != "" {
			size += sizeMessage(sizeHeaderOption(h.name, len(h.value)))
		}
	}
	b = appendMessage(b, 1, 2) // Status{code}
	b = appendVarint(b, 1, uint64(c.code))
	b = appendMessage(b, 2, size) // DeniedHttpResponse
	b = appendMessage(b, 1, httpStatus)
	b = appendVarint(b, 1, uint64(c.status))
	for _, h := range headers {
		if h.value != "" {
			b = appendHeaderOption(b, 2, h.name, h.value)
		}
	}
	b = appendText(b, 3, body)
	return appendMetadata(b, d)
}

func sizeVarintField(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return 1 + n
}

// A class is what the caller learns of a denial.
type class struct {
	code    codes.Code // never OK
	status  int        // HTTP
	err     string     // RFC 6750 §3.1; "" where none is to be given
	message string
}

func classOf(d *authz.Decision) class {
	switch d.Outcome {
	case authz.Unauthenticated:
		return unauthenticated(d.Reason)
	case authz.Malformed:
		return class{
			codes.InvalidArgument, http.StatusBadRequest, "invalid_request",
			"The request is malformed, repeats a credential or can be read in more than one way.",
		}
	case authz.Forbidden:
		if d.Reason == authz.ReasonScope {
			return class{
				codes.PermissionDenied, http.StatusForbidden, "insufficient_scope",
				"The credential does not allow this request.",
			}
		}
		return class{codes.PermissionDenied, http.StatusForbidden, "", "You are not allowed to make this request."}
	case authz.Answered:
		// Not OK for Envoy, which would pass the request on; 200 for the client.
		return class{codes.PermissionDenied, http.StatusOK, "", ""}
	}
	return class{
		codes.Unavailable, http.StatusServiceUnavailable, "",
		"The credential cannot be checked at the moment.",
	}
}

func unauthenticated(reason authz.Reason) class {
	c := class{codes.Unauthenticated, http.StatusUnauthorized, "invalid_token", "The credential is not valid."}
	switch reason {
	case authz.ReasonNoCredential, authz.ReasonUnsupportedScheme:
		// RFC 6750 §3.1: no error code where no credential was given.
		c.err, c.message = "", "This request needs a credential."
	case authz.ReasonExpired:
		c.message = "The access token expired."
	case authz.ReasonStepUp:
		c.err, c.message = "insufficient_user_authentication", "A more recent or stronger login is needed."
	case authz.ReasonProof:
		c.err, c.message = "invalid_dpop_proof", "The DPoP proof is not valid."
	case authz.ReasonProofNonce:
		c.err, c.message = "use_dpop_nonce", "The DPoP proof needs the nonce of the dpop-nonce header."
	}
	return c
}

// body returns the text of a denial in the form that the caller likes better,
// and its media type.
func (c class) body(q *authz.Request, d *authz.Decision, id string) (string, string) {
	if d.Outcome == authz.Answered {
		return string(d.Document), "application/json"
	}
	word := c.err
	if word == "" {
		word = "unauthorized"
		switch c.status {
		case http.StatusForbidden:
			word = "forbidden"
		case http.StatusServiceUnavailable:
			word = "temporarily_unavailable"
		}
	}
	accept, _ := q.Header("accept")
	if prefersText(accept) {
		return c.message + "\nDecision: " + id + "\n", "text/plain; charset=utf-8"
	}
	return `{"error":"` + word + `","message":"` + c.message + `","decision":"` + id + `"}` + "\n", "application/json"
}

// prefersText reports whether an Accept header names a text type before JSON.
func prefersText(accept string) bool {
	at := strings.Index(accept, "text/")
	if at < 0 {
		return false
	}
	json := strings.Index(accept, "json")
	return json < 0 || at < json
}

// challenge is the value of WWW-Authenticate: nothing in it comes from the
// request or its token.
func (r *rendered) challenge(d *authz.Decision, c class) string {
	var b strings.Builder
	parameters := func(scheme string) {
		b.WriteString(scheme + ` realm="` + r.realm + `"`)
		if c.err != "" && (scheme == "DPoP" || !strings.Contains(c.err, "dpop")) {
			b.WriteString(`, error="` + c.err + `"`)
		}
		switch d.Reason {
		case authz.ReasonExpired:
			b.WriteString(`, error_description="The access token expired"`)
		case authz.ReasonScope:
			if d.Rule != nil && len(d.Rule.Allow.Scopes) > 0 {
				b.WriteString(`, scope="` + quote(strings.Join(d.Rule.Allow.Scopes, " ")) + `"`)
			}
		case authz.ReasonStepUp:
			b.WriteString(stepUp(d.Rule))
		}
		if r.policy.ResourceMetadata != "" {
			b.WriteString(`, resource_metadata="` + quote(r.policy.ResourceMetadata) + `"`)
		}
	}
	parameters("Bearer")
	if r.policy.Prover != nil {
		b.WriteString(", ")
		parameters("DPoP")
		b.WriteString(`, algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"`)
	}
	if r.policy.AllowBasic && c.status == http.StatusUnauthorized {
		b.WriteString(`, Basic realm="` + r.realm + `", charset="UTF-8"`)
	}
	return b.String()
}

// stepUp is what RFC 9470 §3 adds to a challenge.
func stepUp(rule *authz.Rule) string {
	if rule == nil {
		return ""
	}
	out := ""
	if len(rule.Allow.ACR) > 0 {
		out += `, acr_values="` + quote(strings.Join(rule.Allow.ACR, " ")) + `"`
	}
	if rule.Allow.MaxAge > 0 {
		out += `, max_age="` + strconv.Itoa(int(rule.Allow.MaxAge/time.Second)) + `"`
	}
	return out
}

// quote makes configured text safe inside a quoted-string (RFC 9110 §5.6.4).
func quote(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return -1
		}
		return c
	}, s)
}
