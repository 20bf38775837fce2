package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// Where the names of events begin: Shared Signals Framework, CAEP, RISC, and
// what RISC says of OAuth tokens.
const (
	ssfEvent   = "https://schemas.openid.net/secevent/ssf/event-type/"
	caepEvent  = "https://schemas.openid.net/secevent/caep/event-type/"
	riscEvent  = "https://schemas.openid.net/secevent/risc/event-type/"
	oauthEvent = "https://schemas.openid.net/secevent/oauth/event-type/"
)

// aftermath is what becomes of those that a signal is about.
type aftermath uint8

const (
	nothing  aftermath = iota
	lookAnew           // what is remembered may be wrong by now: it is dropped
	signOut            // what was issued before is refused
)

// signals are the events that are understood. The last part of each name is its
// kind in logs and metrics.
var signals = map[string]aftermath{
	ssfEvent + "verification":                        nothing,
	ssfEvent + "stream-updated":                      nothing,
	riscEvent + "verification":                       nothing,
	caepEvent + "session-revoked":                    signOut,
	caepEvent + "token-claims-change":                lookAnew,
	caepEvent + "credential-change":                  lookAnew,
	riscEvent + "account-disabled":                   signOut,
	riscEvent + "account-purged":                     signOut,
	riscEvent + "sessions-revoked":                   signOut,
	riscEvent + "credential-compromise":              signOut,
	riscEvent + "account-credential-change-required": lookAnew,
	oauthEvent + "tokens-revoked":                    signOut,
}

var signalType = typed("security event", "secevent+jwt")

// ErrSender is the error of a sender that does not know the bearer token.
var ErrSender = fmt.Errorf("the sender does not know what it is to know (events.bearer)")

// Authorized says whether a sender of security events may send them at all: by
// the value of its Authorization header (RFC 8935 §3).
func (r *Receiver) Authorized(authorization string) error {
	if r == nil || r.bearer.IsZero() {
		return nil
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(r.bearer.Reveal()))
	if !strings.EqualFold(scheme, "bearer") || !hmac.Equal(got[:], want[:]) {
		return ErrSender
	}
	return nil
}

// Signal takes a security event token (RFC 8417, as the Shared Signals Framework
// has it). The error is a rejection, an authz.Unavailable, ErrReplayed or
// ErrNoReceiver.
func (r *Receiver) Signal(ctx context.Context, token string) (Event, error) {
	if r == nil || r.signals == nil {
		return Event{}, ErrNoReceiver
	}
	claims, err := r.verify(ctx, r.signals, token)
	if err != nil {
		return Event{}, err
	}
	if !r.seen.first(textAt(claims, "iss"), textAt(claims, "jti")) {
		return Event{}, ErrReplayed
	}
	return r.signalOf(claims), nil
}

// checkSignal is what a security event token must have beside issuer and audience.
func checkSignal(_ *signedToken, claims map[string]any) error {
	events, err := checkEvent(claims)
	if err != nil {
		return err
	}
	for _, e := range events {
		if _, ok := e.(map[string]any); !ok {
			return authz.Reject(authz.ReasonClaims, "an event is not an object")
		}
	}
	return nil
}

// signalOf reads proven claims, in the order of the events' names.
func (r *Receiver) signalOf(claims map[string]any) Event {
	event := Event{ID: textAt(claims, "jti")}
	events, _ := claims["events"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(events)) {
		members, _ := events[name].(map[string]any)
		event.Notices = append(event.Notices, r.notice(name, members, claims))
	}
	return event
}

func (r *Receiver) notice(name string, members, claims map[string]any) Notice {
	after, known := signals[name]
	if !known {
		return Notice{Kind: "other", Problem: "the event " + name[:min(len(name), 200)] + " is not known"}
	}
	n := Notice{Kind: name[strings.LastIndexByte(name, '/')+1:]}
	if after == nothing {
		n.Effect = Acknowledge
		return n
	}
	about, there := claims["sub_id"]
	if !there {
		about = members["subject"] // as before the final specifications
	}
	meant, err := r.meant(about, 0)
	if err != nil {
		n.Problem = err.Error()
		return n
	}
	at, _, _ := timeOf(claims, "iat")
	if !slices.Contains(r.vouched, textAt(claims, "iss")) {
		at = at.Add(r.signals.rules.leeway) // by another clock than the tokens'
	}
	n.Effect = Obey
	for _, m := range meant {
		m.Issuers = r.vouched
		if after == signOut {
			m.At = at
		}
		n.Revoke = append(n.Revoke, m)
		n.Session, n.Subject = m.Session, firstOf(m.Subject, m.Email)
	}
	return n
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maxAliases bounds how many names one subject may have.
const maxAliases = 16

// meant reads a subject identifier (RFC 9493, and the complex ones of the Shared
// Signals Framework): who is meant, by each name. More may be signed out than was
// meant, such as a user on all devices, and never less.
func (r *Receiver) meant(about any, depth int) ([]authz.Revocation, error) {
	id, ok := about.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no subject is named")
	}
	format := textAt(id, "format")
	if format == "" {
		format = strings.ReplaceAll(textAt(id, "subject_type"), "-", "_") // as before RFC 9493
	}
	_, session := id["session"]
	_, user := id["user"]
	switch {
	case format == "complex" || format == "" && (session || user):
		return r.complex(id)
	case format == "iss_sub" || format == "email":
		user, err := r.user(id)
		return []authz.Revocation{user}, err
	case format == "opaque" && textAt(id, "id") != "":
		// Of a session or of a user: that depends on who sends it.
		return []authz.Revocation{{Session: textAt(id, "id")}, {Subject: textAt(id, "id")}}, nil
	case format == "aliases" && depth == 0:
		list, _ := id["identifiers"].([]any)
		var all []authz.Revocation
		var problem error = fmt.Errorf("a subject of no names")
		for _, one := range list[:min(len(list), maxAliases)] {
			some, err := r.meant(one, depth+1)
			if err != nil {
				problem = err
				continue
			}
			all = append(all, some...)
		}
		if len(all) > 0 {
			return all, nil
		}
		return nil, problem
	}
	return nil, fmt.Errorf("a subject of the format %q is not understood", shorten(format))
}

// complex reads a subject of several members, of which session and user are
// understood. The others would only narrow it.
func (r *Receiver) complex(id map[string]any) ([]authz.Revocation, error) {
	var found authz.Revocation
	problem := fmt.Errorf("a subject without session and user is not understood")
	if members, ok := id["user"].(map[string]any); ok {
		var err error
		if found, err = r.user(members); err != nil {
			problem = err
		}
	}
	if members, ok := id["session"].(map[string]any); ok {
		switch textAt(members, "format") {
		case "opaque":
			found.Session = textAt(members, "id")
		case "iss_sub":
			if slices.Contains(r.names, textAt(members, "iss")) {
				found.Session = textAt(members, "sub")
			}
		}
		if found.Session == "" {
			problem = fmt.Errorf("the session is named in a way that is not understood")
		}
	}
	if found.Session == "" && found.Subject == "" && found.Email == "" {
		return nil, problem
	}
	return []authz.Revocation{found}, nil
}

// user reads who a user is.
func (r *Receiver) user(id map[string]any) (u authz.Revocation, err error) {
	switch format := textAt(id, "format"); {
	case format == "email" || textAt(id, "subject_type") == "email":
		u.Email = textAt(id, "email")
	case format == "opaque":
		u.Subject = textAt(id, "id")
	case !slices.Contains(r.names, textAt(id, "iss")):
		return u, fmt.Errorf("a user of %q, which is not this provider's issuer", shorten(textAt(id, "iss")))
	default:
		u.Subject = textAt(id, "sub")
	}
	if u.Subject == "" && u.Email == "" {
		return u, fmt.Errorf("a user without a name")
	}
	return u, nil
}
