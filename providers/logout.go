package providers

import (
	"context"
	"errors"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutAge bounds how old a logout token may be that does not say when it
	// ends, as those of before the final specification.
	logoutAge = 10 * time.Minute
)

// ErrNoReceiver is the error where a provider cannot tell what is told here.
var ErrNoReceiver = errors.New("this provider does not tell that")

// logoutType: what was specified first had no type of its own.
var logoutType = typed("logout token", "logout+jwt", "jwt", "")

// Logout takes a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4 to
// 2.7). The error is a rejection, an authz.Unavailable, ErrReplayed or
// ErrNoReceiver.
func (r *Receiver) Logout(ctx context.Context, token string) (Event, error) {
	if r == nil || r.logouts == nil {
		return Event{}, ErrNoReceiver
	}
	claims, err := r.verify(ctx, r.logouts, token)
	if err != nil {
		return Event{}, err
	}
	if !r.seen.first(textAt(claims, "iss"), textAt(claims, "jti")) {
		return Event{}, ErrReplayed
	}
	return r.logoutOf(claims), nil
}

// logoutOf reads proven claims. Whoever has no session in their token has the
// subject alone, so both are told.
func (r *Receiver) logoutOf(claims map[string]any) Event {
	at, _, _ := timeOf(claims, "iat")
	revoke := authz.Revocation{Issuers: r.vouched, Session: textAt(claims, "sid"), Subject: textAt(claims, "sub"), At: at}
	if revoke.Subject != "" && r.subject != nil {
		revoke.Subject = r.subject(claims)
	}
	return Event{ID: textAt(claims, "jti"), Notices: []Notice{{
		Kind: "logout", Effect: Obey, Revoke: []authz.Revocation{revoke}, Session: revoke.Session, Subject: revoke.Subject,
	}}}
}

// checkLogout is what a logout token must have beside issuer and audience (§2.6).
func (r *Receiver) checkLogout(_ *signedToken, claims map[string]any) error {
	events, err := checkEvent(claims)
	if err != nil {
		return err
	}
	if _, ok := events[logoutEvent].(map[string]any); !ok {
		return authz.Reject(authz.ReasonTokenType, "events has no back-channel logout")
	}
	if _, there := claims["nonce"]; there {
		return authz.Reject(authz.ReasonTokenType, "a logout token has no nonce")
	}
	for _, name := range []string{"sid", "sub"} {
		if _, there := claims[name]; there && textAt(claims, name) == "" {
			return authz.Reject(authz.ReasonClaims, "%s is not text", name)
		}
	}
	if textAt(claims, "sid") == "" && textAt(claims, "sub") == "" {
		return authz.Reject(authz.ReasonClaims, "neither sid nor sub: nobody is meant")
	}
	if _, there := claims["exp"]; !there {
		at, _, err := timeOf(claims, "iat")
		if err != nil {
			return err
		}
		if r.now().Sub(at) > logoutAge {
			return authz.Reject(authz.ReasonExpired, "iat is long ago, and there is no exp")
		}
	}
	return nil
}
