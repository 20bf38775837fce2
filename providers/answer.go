package providers

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// trouble says what is wrong with an answer whose status tells nothing of the
// credential: the provider throttles us, is down, or sends us elsewhere; nil
// for every other status. It is never a refusal.
func (r *reply) trouble(now time.Time) error {
	wait := retryAfter(r.Header, now)
	switch {
	case r.Status == http.StatusTooManyRequests:
		return &authz.Unavailable{Throttled: true, RetryAfter: wait, Cause: errors.New("the provider throttles us (429)")}
	case r.Status >= 500:
		return &authz.Unavailable{RetryAfter: wait, Cause: fmt.Errorf("the provider answers with status %d", r.Status)}
	case r.Status >= 300 && r.Status < 400:
		return misconfigured("the provider answers with a redirect (%d), which is never followed; is the address right?", r.Status)
	}
	return nil
}

// document says what is wrong with the answer to a question for a public
// document, as metadata or keys. One that is not there, or that we may not have,
// is asked for at a wrong address.
func (r *reply) document(what string, now time.Time) error {
	if err := r.trouble(now); err != nil {
		down := *unavailable(err)
		down.Cause = fmt.Errorf("%s: %w", what, down.Cause)
		return &down
	}
	switch {
	case r.Status == http.StatusOK:
		return nil
	case r.Status >= 400 && r.Status != http.StatusRequestTimeout:
		return misconfigured("%s was answered with status %d: is its address right?", what, r.Status)
	}
	return fmt.Errorf("%s was answered with status %d", what, r.Status)
}

// object reads the JSON object of an answer.
func (r *reply) object() (map[string]any, error) { return read(r, parseObject) }

// list reads the JSON array of an answer.
func (r *reply) list() ([]any, error) { return read(r, parseList) }

func read[T any](r *reply, parse func([]byte) (T, error)) (T, error) {
	if !r.mayBeJSON() {
		var nothing T
		return nothing, &authz.Unavailable{Cause: fmt.Errorf("the provider's answer (status %d) is said to be %q, not JSON", r.Status, shorten(r.Header.Get("Content-Type")))}
	}
	found, err := parse(r.Body)
	if err != nil {
		err = &authz.Unavailable{Cause: fmt.Errorf("the provider's answer (status %d): %w", r.Status, err)}
	}
	return found, err
}

// mayBeJSON reports whether an answer may be taken for JSON. What is said to be
// a page or a document is none, whatever it looks like: it can be of somebody
// who may put pages on that host. Some servers name no type, or a plain one.
func (r *reply) mayBeJSON() bool {
	said := r.Header.Get("Content-Type")
	if said == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(said)
	if err != nil {
		return false
	}
	switch kind {
	case "application/json", "text/json", "text/plain", "text/javascript", "application/javascript": // as Facebook did
		return true
	}
	return strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// errorCode returns the error of an answer (RFC 6749 §5.2), "" where there is
// none that is plain enough for a log.
func (r *reply) errorCode() string {
	m, err := r.object()
	if err != nil {
		return ""
	}
	return plainCode(textAt(m, "error"))
}

func plainCode(s string) string {
	if len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ") != "" {
		return ""
	}
	return s
}

// misconfigured is the error of a fault that is ours.
func misconfigured(format string, args ...any) error {
	return &authz.Unavailable{Misconfigured: true, Cause: fmt.Errorf(format, args...)}
}

// unexpected is the error of an answer that no provider's documentation has. It
// may have to do with the credential, of which anybody can make a strange one.
func (r *reply) unexpected() error {
	return withSome(&authz.Unavailable{Cause: fmt.Errorf("the provider answers with status %d %s", r.Status, r.errorCode())})
}

// retryAfter reads Retry-After (RFC 9110 §10.2.3), or where it is missing, the
// time at which a rate limit that is used up begins anew, as GitHub, Okta and
// GitLab tell it. Zero: the provider does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if v := h.Get("Retry-After"); v != "" {
		if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
			return time.Duration(min(max(seconds, 1), int64(maxBackOff/time.Second))) * time.Second
		}
		if at, err := http.ParseTime(v); err == nil {
			return until(at, now)
		}
		return 0
	}
	for _, name := range []string{"X-Ratelimit-", "X-Rate-Limit-", "Ratelimit-"} {
		if h.Get(name+"Remaining") != "0" {
			continue
		}
		if seconds, err := strconv.ParseInt(h.Get(name+"Reset"), 10, 64); err == nil && seconds > 0 {
			if seconds < longAgo {
				return until(now.Add(time.Duration(seconds)*time.Second), now)
			}
			return until(time.Unix(min(seconds, lastSecond), 0), now)
		}
	}
	return 0
}

// longAgo tells the two ways of writing when a limit begins anew apart: so many
// seconds from now, and the time of day (GitLab, GitHub, Okta).
const longAgo = 1_000_000_000

func until(at, now time.Time) time.Duration {
	return min(max(at.Sub(now), time.Second), maxBackOff)
}
