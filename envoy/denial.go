package envoy

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/gatelodge/gatelodge/authz"
)

const deniedHeaders = 2 // DeniedHttpResponse.headers

// deny appends an answer that is not OK. It tells the caller a class and the
// decision id, never the cause.
func (r *rendered) deny(b []byte, q *authz.Request, d *authz.Decision) []byte {
	var id [24]byte
	hexID, _ := d.ID.AppendText(id[:0])
	c := classOf(d)
	accept, _ := q.Header("accept")
	plain := d.Outcome != authz.Answered && prefersText(accept)

	b, at := begin(b, 1) // Status
	b = end(appendVarint(b, 1, uint64(c.code)), at)
	b, denied := begin(b, 2) // DeniedHttpResponse
	b, at = begin(b, 1)      // HttpStatus
	if c.status != 0 {
		b = appendVarint(b, 1, uint64(c.status))
	}
	b = end(b, at)
	if plain {
		b = appendHeader(b, deniedHeaders, "content-type", "text/plain; charset=utf-8")
	} else {
		b = appendHeader(b, deniedHeaders, "content-type", "application/json")
	}
	if d.Outcome == authz.Answered {
		// Anybody may read it, pages of other sites too (RFC 9728 §3.2).
		b = appendHeader(b, deniedHeaders, "cache-control", "public, max-age=300")
		b = appendHeader(b, deniedHeaders, "access-control-allow-origin", "*")
		b = appendHeader(b, deniedHeaders, "access-control-allow-headers", "*")
	} else {
		b = appendHeader(b, deniedHeaders, "cache-control", "no-store")
	}
	b = appendHeader(b, deniedHeaders, "x-gatelodge-decision", text(hexID))
	if c.status == http.StatusUnauthorized || c.err != "" && c.status < http.StatusInternalServerError {
		b = appendHeader(b, deniedHeaders, "www-authenticate", r.challengeOf(d, c))
	}
	if c.status == http.StatusServiceUnavailable {
		b = appendHeader(b, deniedHeaders, "retry-after", retryAfter(d))
	}
	if d.ProofNonce != "" {
		b = appendHeader(b, deniedHeaders, "dpop-nonce", d.ProofNonce)
	}
	b, at = begin(b, 3)
	b = end(c.body(b, d, hexID, plain), at)
	return appendMetadata(end(b, denied), d)
}

// retryAfter is in whole seconds, at least one (RFC 9110 §10.2.3).
func retryAfter(d *authz.Decision) string {
	return strconv.Itoa(int(max(d.RetryAfter+time.Second-1, time.Second) / time.Second))
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

// body appends the text of a denial.
func (c class) body(b []byte, d *authz.Decision, id []byte, plain bool) []byte {
	if d.Outcome == authz.Answered {
		return append(b, d.Document...)
	}
	if plain {
		b = append(b, c.message...)
		b = append(b, "\nDecision: "...)
		b = append(b, id...)
		return append(b, '\n')
	}
	b = append(b, `{"error":"`...)
	b = append(b, c.word()...)
	b = append(b, `","message":"`...)
	b = append(b, c.message...)
	b = append(b, `","decision":"`...)
	b = append(b, id...)
	return append(b, "\"}\n"...)
}

// word names the class in a body.
func (c class) word() string {
	switch {
	case c.err != "":
		return c.err
	case c.status == http.StatusForbidden:
		return "forbidden"
	case c.status == http.StatusServiceUnavailable:
		return "temporarily_unavailable"
	}
	return "unauthorized"
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

// challengeOf is the value of WWW-Authenticate for a decision.
func (r *rendered) challengeOf(d *authz.Decision, c class) string {
	basic := c.status == http.StatusUnauthorized && r.policy.ChallengesBasic(d.Rule)
	if d.Outcome == authz.Unauthenticated && d.Reason != authz.ReasonStepUp {
		if basic {
			return r.withBasic[d.Reason]
		}
		return r.challenges[d.Reason]
	}
	text := r.challenge(d.Reason, d.Rule, c)
	if basic {
		text += r.basic()
	}
	return text
}

// basic is what a challenge goes on with where Basic is a way in (RFC 7617 §2).
func (r *rendered) basic() string { return `, Basic realm="` + r.realm + `", charset="UTF-8"` }

// challenge makes a WWW-Authenticate: nothing in it comes from the request or
// its token.
func (r *rendered) challenge(reason authz.Reason, rule *authz.Rule, c class) string {
	var b strings.Builder
	parameters := func(scheme string) {
		b.WriteString(scheme + ` realm="` + r.realm + `"`)
		if c.err != "" && (scheme == "DPoP" || !strings.Contains(c.err, "dpop")) {
			b.WriteString(`, error="` + c.err + `"`)
		}
		switch reason {
		case authz.ReasonExpired:
			b.WriteString(`, error_description="The access token expired"`)
		case authz.ReasonScope:
			if rule != nil && len(rule.Allow.Scopes) > 0 {
				b.WriteString(`, scope="` + quote(strings.Join(rule.Allow.Scopes, " ")) + `"`)
			}
		case authz.ReasonStepUp:
			b.WriteString(stepUp(rule))
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
