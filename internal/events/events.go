package events

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers"
)

// The routes; the name of a provider follows.
const (
	LogoutPath = "/backchannel-logout/"
	SignalPath = "/ssf/"
)

// maxBody bounds a body in bytes: a token of 64 KiB, in a form.
const maxBody = 72 << 10

// What became of an event, in metrics.
const (
	Obeyed        = "obeyed"
	Acknowledged  = "acknowledged" // it asks for nothing
	NotUnderstood = "not_understood"
	Replayed      = "replayed"
	Refused       = "refused"
	Failed        = "failed" // it could not be told whether it is good
)

// A Record is an event that was obeyed: who said what about whom.
type Record struct {
	Provider, Kind, ID string
	Session, Subject   string
	Dropped            int // identities that were remembered
}

// Options are what the routes work on.
type Options struct {
	// Receiver returns what takes the events of a provider. known is false for
	// a name that no provider has; the receiver may be nil.
	Receiver func(provider string) (r *providers.Receiver, known bool)
	Revoke   func(authz.Revocation) (dropped int)
	Obeyed   func(Record)
	Count    func(provider, kind, result string)
	Now      func() time.Time
	Log      *slog.Logger
}

type routes struct {
	Options
	sparing sparing
}

// New returns the handler of both routes.
func New(o Options) http.Handler {
	e := &routes{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+LogoutPath+"{provider}", e.logout)
	mux.HandleFunc("POST "+SignalPath+"{provider}", e.signal)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// logout is the back-channel logout endpoint (OpenID Connect Back-Channel
// Logout 1.0 §2.5 and §2.8).
func (e *routes) logout(w http.ResponseWriter, r *http.Request) {
	name, receiver, ok := e.find(w, r)
	if !ok {
		return
	}
	token, err := logoutToken(w, r)
	var event providers.Event
	if err == nil {
		event, err = receiver.Logout(r.Context(), token)
	}
	if err != nil {
		e.fail(w, name, "logout", err, func(status int, code, text string) {
			answer(w, status, map[string]string{"error": "invalid_request", "error_description": text})
		})
		return
	}
	e.obey(name, event)
	w.WriteHeader(http.StatusOK)
}

// signal is the endpoint of a Shared Signals receiver (RFC 8935 §2).
func (e *routes) signal(w http.ResponseWriter, r *http.Request) {
	name, receiver, ok := e.find(w, r)
	if !ok {
		return
	}
	var event providers.Event
	token, err := "", receiver.Authorized(r.Header.Get("Authorization"))
	if err == nil {
		token, err = signalToken(w, r)
	}
	if err == nil {
		event, err = receiver.Signal(r.Context(), token)
	}
	if errors.Is(err, providers.ErrReplayed) {
		// It was delivered: to say so again ends the sender's attempts.
		e.Count(name, "signal", Replayed)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if err != nil {
		e.fail(w, name, "signal", err, func(status int, code, text string) {
			w.Header().Set("Content-Language", "en")
			answer(w, status, map[string]string{"err": code, "description": text})
		})
		return
	}
	e.obey(name, event)
	w.WriteHeader(http.StatusAccepted)
}

// find returns who takes the events of the provider that the path names.
func (e *routes) find(w http.ResponseWriter, r *http.Request) (name string, receiver *providers.Receiver, ok bool) {
	name = r.PathValue("provider")
	receiver, ok = e.Receiver(name)
	if !ok {
		http.Error(w, "there is no such provider", http.StatusNotFound)
	}
	return name, receiver, ok
}

// obey does what an event asks for, and tells of it.
func (e *routes) obey(provider string, event providers.Event) {
	for _, n := range event.Notices {
		switch n.Effect {
		case providers.Obey:
			dropped := 0
			for _, r := range n.Revoke {
				dropped += e.Revoke(r)
			}
			e.Count(provider, n.Kind, Obeyed)
			e.Obeyed(Record{provider, n.Kind, event.ID, n.Session, n.Subject, dropped})
		case providers.Acknowledge:
			e.Count(provider, n.Kind, Acknowledged)
			e.Log.Info("security event", "provider", provider, "kind", n.Kind, "event_id", event.ID)
		default:
			// Who sent it believes that it was heeded: somebody should know better.
			e.Count(provider, n.Kind, NotUnderstood)
			e.Log.Error("a security event is not understood, and nothing was revoked", "provider", provider, "kind", n.Kind,
				"event_id", event.ID, "problem", n.Problem)
		}
	}
}

// fail answers an event that is not obeyed. tell writes the answer: its status,
// the code of RFC 8935 §2.4, and a text.
func (e *routes) fail(w http.ResponseWriter, provider, kind string, err error, tell func(status int, code, text string)) {
	var refusal *authz.Rejection
	var down *authz.Unavailable
	result, status, code, text := Refused, http.StatusBadRequest, "invalid_request", err.Error()
	switch {
	case errors.Is(err, providers.ErrNoReceiver):
		status, text = http.StatusNotFound, "this provider has no keys to prove that with; see its setting events"
	case errors.Is(err, providers.ErrSender):
		status, code = http.StatusUnauthorized, "authentication_failed"
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatelodge events"`)
	case errors.Is(err, providers.ErrReplayed):
		result = Replayed
	case errors.As(err, &refusal):
		code, text = codeOf(refusal.Reason), refusal.Detail
	case errors.As(err, &down):
		result, status, text = Failed, http.StatusServiceUnavailable, "it cannot be told now whether the token is good"
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(down.RetryAfter.Seconds())))))
	}
	e.Count(provider, kind, result)
	if e.sparing.allows(e.Now()) {
		e.Log.Warn("an event is not obeyed", "provider", provider, "kind", kind, "result", result, "error", err.Error(), "untold", e.sparing.untold())
	}
	tell(status, code, text)
}

func codeOf(r authz.Reason) string {
	switch r {
	case authz.ReasonIssuer:
		return "invalid_issuer"
	case authz.ReasonAudience:
		return "invalid_audience"
	case authz.ReasonUnknownKey, authz.ReasonSignature, authz.ReasonAlgorithm:
		return "invalid_key"
	}
	return "invalid_request"
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// badBody is the error of a request that holds no token.
type badBody string

func (b badBody) Error() string { return string(b) }

// logoutToken takes the token out of a form: of its body alone, since an address
// is written down on the way.
func logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if mediaType(r) != "application/x-www-form-urlencoded" {
		return "", badBody("the content type is to be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return "", badBody("the body is not a form, or is larger than a token can be")
	}
	if list := r.PostForm["logout_token"]; len(list) == 1 && list[0] != "" {
		return list[0], nil
	}
	return "", badBody("the form is to have logout_token, once")
}

// signalToken is the whole body.
func signalToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if mediaType(r) != "application/secevent+jwt" {
		return "", badBody("the content type is to be application/secevent+jwt")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", badBody("the body cannot be read, or is larger than a token can be")
	}
	return strings.TrimSpace(string(b)), nil
}

func mediaType(r *http.Request) string {
	t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return t
}
