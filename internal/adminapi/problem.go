package adminapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// problem is an error with the answer that it gets (RFC 9457 §3).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{http.StatusText(status), status, detail}
}

func bad(detail string) error    { return newProblem(http.StatusBadRequest, detail) }
func denied(detail string) error { return newProblem(http.StatusForbidden, detail) }

// unavailable: it cannot be told now who is asking.
type unavailable struct{ after time.Duration }

func (*unavailable) Error() string { return "the identity provider cannot be asked" }

var (
	errNoRoute       = newProblem(http.StatusNotFound, "there is no such path; see "+Root+"openapi.json")
	errMethod        = newProblem(http.StatusMethodNotAllowed, "see the header Allow")
	errUnknownCaller = newProblem(http.StatusUnauthorized, "send the admin token, or an access token of one of admin.providers, as Authorization: Bearer")
	errNoTokens      = newProblem(http.StatusNotFound, "the configuration has no api_tokens")
	errTooLarge      = newProblem(http.StatusRequestEntityTooLarge, "the body has more than "+strconv.Itoa(maxBody>>20)+" MiB")
	errNotJSON       = newProblem(http.StatusUnsupportedMediaType, "send Content-Type: application/json")
	errNotText       = newProblem(http.StatusUnsupportedMediaType, "send Content-Type: text/plain")
)

// fail answers an error. What a store or a provider said of itself is for the
// log; the caller is told what it means.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	h := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="gatelodge admin"`)
	case http.StatusServiceUnavailable:
		after := 5 * time.Second
		if u := (*unavailable)(nil); errors.As(err, &u) && u.after > 0 {
			after = u.after
		}
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
		a.Log.Error("admin API: cannot answer", "method", r.Method, "error", err)
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func problemOf(err error) *problem {
	var p *problem
	var u *unavailable
	text := err.Error()
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &u):
		return newProblem(http.StatusServiceUnavailable, text)
	case errors.Is(err, tokenstore.ErrInvalid):
		return newProblem(http.StatusBadRequest, strings.Replace(text, tokenstore.ErrInvalid.Error()+": ", "", 1))
	case errors.Is(err, tokenstore.ErrNotFound):
		return newProblem(http.StatusNotFound, tokenstore.ErrNotFound.Error())
	case errors.Is(err, tokenstore.ErrTooMany), errors.Is(err, tokenstore.ErrEnded), errors.Is(err, tokenstore.ErrExists):
		return newProblem(http.StatusConflict, text)
	case errors.Is(err, tokenstore.ErrUncertain):
		return newProblem(http.StatusServiceUnavailable, tokenstore.ErrUncertain.Error()+": look before you try again")
	}
	return newProblem(http.StatusServiceUnavailable, "the token store cannot be used now; nothing was changed")
}
