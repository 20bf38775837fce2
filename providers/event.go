package providers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/gatelodge/gatelodge/authz"
)

// An Event is what an identity provider tells by itself, proven to be from it.
type Event struct {
	ID      string // jti
	Notices []Notice
}

// A Notice is one thing of an event, and what is to be done about it.
type Notice struct {
	Kind    string // a word for logs and metrics; there are only a few
	Effect  Effect
	Revoke  []authz.Revocation // with Obey
	Session string             // whom it is about, for the log
	Subject string
	Problem string // with NotUnderstood
}

// Effect is what a notice asks for.
type Effect uint8

// The effects.
const (
	NotUnderstood Effect = iota // nothing could be done about it: somebody should know
	Obey                        // revoke
	Acknowledge                 // it asks for nothing
)

// ErrReplayed is the error of an event that came before, and was obeyed then.
var ErrReplayed = errors.New("the event was received before")

// A Receiver takes the events of one provider: logouts (logout.go) and security
// events (signal.go). Both are signed tokens, checked by the JWT block. They can
// only take access away, and whoever sends one twice changes nothing: what a
// revocation means depends on when it was issued.
type Receiver struct {
	logouts *sender // nil: nobody can tell
	signals *sender
	bearer  authz.Secret // that whoever sends security events must know; zero: nothing

	vouched  []string // issuers of the identities that the provider makes
	names    []string // of them in subjects: vouched, and what else means the same
	subject  func(claims map[string]any) string
	now      func() time.Time
	client   *client // of keys that are fetched for events alone
	seen     eventsSeen
	fetching chan struct{}
}

// sender is who may send events of a kind: its tokens must satisfy the rules.
type sender struct {
	rules *jwtRules
	keys  *keySet
	own   bool // the keys are fetched for events alone
}

const (
	// maxFetching bounds how many events wait for a key that is not known. Others
	// are answered by the keys at hand: junk must not keep a logout waiting.
	maxFetching = 8
	// maxEvents is how many events are remembered, not to be obeyed twice.
	maxEvents = 10_000
	// maxEventID bounds jti in bytes.
	maxEventID = 1024
)

// knowsItself is a provider that can say whose identities it makes.
type knowsItself interface {
	vouches() (issuers, names []string, subject func(map[string]any) string)
}

// hasKeys is a provider that has the keys of its issuer.
type hasKeys interface{ signingKeys() *keySet }

// NewReceiver makes the receiver of the events of p, a provider made of c; nil:
// there is nobody who could prove that an event is its own.
func NewReceiver(c Config, p Provider, env Env) (*Receiver, error) {
	c = Prepare(c)
	self, ok := p.(knowsItself)
	settings := c.Events
	if settings == nil {
		settings = &Events{}
	}
	audiences := eventAudiences(c)
	if !ok || len(audiences) == 0 {
		return nil, nil
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	env.Log = env.Log.With("provider", c.Name)
	r := &Receiver{bearer: settings.Bearer, now: env.Now, client: client, fetching: make(chan struct{}, maxFetching)}
	r.vouched, r.names, r.subject = self.vouches()
	if err := r.seen.init(); err != nil {
		return nil, err
	}
	if keys, own := r.ownKeys(c, p, env); keys != nil {
		r.logouts = &sender{eventRules(c, audiences, r.names), keys, own}
		r.logouts.rules.typ, r.logouts.rules.extra = logoutType, r.checkLogout
		r.signals = &sender{eventRules(c, audiences, r.names), keys, false}
	}
	if settings.Issuer != "" {
		r.names = append(slices.Clone(r.names), settings.Issuer) // it speaks of its own users
		if settings.JWKS != "" {
			locate := func(context.Context) (string, error) { return settings.JWKS, nil }
			r.signals = &sender{eventRules(c, audiences, nil), newKeySet(client, env, locate), true}
		}
		if r.signals != nil {
			r.signals.rules.issuers = []string{settings.Issuer}
		}
	}
	if r.signals != nil {
		r.signals.rules.typ, r.signals.rules.extra = signalType, checkSignal
	}
	if r.signals == nil && r.logouts == nil {
		client.close()
		return nil, nil
	}
	return r, nil
}

// ownKeys are the keys of the provider itself: those that its tokens are checked
// with or, where it is asked about tokens and events are set up, ones to fetch.
func (r *Receiver) ownKeys(c Config, p Provider, env Env) (keys *keySet, own bool) {
	if has, ok := p.(hasKeys); ok {
		return has.signingKeys(), false
	}
	issuer := issuerOf(c)
	if c.Events == nil || issuer == "" || c.Endpoints.JWKS == "" && !discoverable(c) {
		return nil, false
	}
	locate := func(context.Context) (string, error) { return c.Endpoints.JWKS, nil }
	if c.Endpoints.JWKS == "" {
		d := newDiscovery(r.client, env, issuer, c.Endpoints.Discovery)
		locate = func(ctx context.Context) (string, error) { return d.endpoint(ctx, "jwks_uri") }
	}
	return newKeySet(r.client, env, locate), true
}

// discoverable reports whether the provider's issuer publishes its keys.
func discoverable(c Config) bool {
	return c.Type == "oidc" || c.Type == "keycloak" || c.Type == "okta" || c.Endpoints.Discovery != ""
}

// eventAudiences are what an event may be for: a logout is told to the client
// that the user signed in at, which need not be the API.
func eventAudiences(c Config) []string {
	if c.Events != nil && len(c.Events.Audiences) > 0 {
		return c.Events.Audiences
	}
	list := slices.Concat(c.AllowedClients, c.Audiences)
	if c.ClientID != "" {
		list = append(list, c.ClientID)
	}
	return list
}

func eventRules(c Config, audiences, issuers []string) *jwtRules {
	c.Audiences, c.AllowedClients, c.ClientID = audiences, nil, ""
	r := newJWTRules(c, issuers...)
	r.endless = true
	return r
}

// eventFaults checks the settings of events.
func eventFaults(c Config) (faults []authz.Fault) {
	e := c.Events
	if e == nil {
		return nil
	}
	add := func(key, problem string) {
		faults = append(faults, authz.Fault{Key: "events." + key, Problem: problem})
	}
	own := issuerOf(c)
	signed := c.Type == "cognito" || own != "" && (discoverable(c) || c.Endpoints.JWKS != "")
	switch {
	case e.Issuer == "" && e.JWKS != "":
		add("issuer", "is missing: keys without an issuer; it is the iss of the security events")
	case e.Issuer != "" && e.Issuer != own && e.JWKS == "":
		add("jwks", "is missing: the URL of the keys that "+e.Issuer+" signs its security events with, jwks_uri in its metadata (/.well-known/ssf-configuration)")
	case e.Issuer == "" && !signed:
		add("issuer", "is missing: this provider has no keys of its own to prove events with; give issuer and jwks of who sends them")
	}
	if len(eventAudiences(c)) == 0 {
		add("audiences", "is missing; without it, or client_id, an event for anybody else would be obeyed")
	}
	if c.Type == "oauth2" && own == "" {
		add("issuer", "needs the provider's endpoints.issuer beside it: a subject is told by its issuer")
	}
	return append(faults, urlFault("events.jwks", e.JWKS, c.AllowHTTP)...)
}

// verify proves a token to be from a sender.
func (r *Receiver) verify(ctx context.Context, s *sender, token string) (map[string]any, error) {
	c := authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token), Notes: new(authz.Notes)}
	claims, err := s.rules.verify(ctx, c, s.keys.findNow, r.now())
	if !errors.Is(err, errNotAtHand) {
		return claims, err
	}
	select {
	case r.fetching <- struct{}{}:
	default:
		return nil, &authz.Unavailable{Cause: errBusy, RetryAfter: time.Second}
	}
	defer func() { <-r.fetching }()
	return s.rules.verify(ctx, c, s.keys.find, r.now())
}

// checkEvent looks at what all events have (RFC 8417 §2.2).
func checkEvent(claims map[string]any) (events map[string]any, err error) {
	if id := textAt(claims, "jti"); id == "" || len(id) > maxEventID {
		return nil, authz.Reject(authz.ReasonClaims, "jti is missing, or is not a plain id")
	}
	if _, there := claims["iat"]; !there {
		return nil, authz.Reject(authz.ReasonClaims, "iat is missing: when it happened cannot be told")
	}
	events, ok := claims["events"].(map[string]any)
	if !ok || len(events) == 0 {
		return nil, authz.Reject(authz.ReasonTokenType, "no events in it")
	}
	return events, nil
}

// typed makes a check of typ (RFC 8725 §3.11): one of the types, without case.
func typed(what string, types ...string) func(*signedToken) error {
	return func(t *signedToken) error {
		v, there := t.header["typ"]
		typ, ok := v.(string)
		typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
		if there && (!ok || typ == "") || !slices.Contains(types, typ) {
			return authz.Reject(authz.ReasonTokenType, "typ is not that of a %s", what)
		}
		return nil
	}
}

// Trouble says why events cannot be proven now; "": they can, as far as that has
// to do with keys that are fetched for them alone.
func (r *Receiver) Trouble() string {
	if r == nil {
		return ""
	}
	for _, s := range []*sender{r.logouts, r.signals} {
		if s != nil && s.own {
			if st := s.keys.status(); !st.Ready {
				return st.Detail
			}
		}
	}
	return ""
}

// Close ends what the receiver does in the background.
func (r *Receiver) Close() {
	for _, s := range []*sender{r.logouts, r.signals} {
		if s != nil && s.own {
			s.keys.close()
		}
	}
	r.client.close()
}

// eventsSeen remembers the events that were obeyed. At the bound the oldest
// goes: to obey an event again does no harm.
type eventsSeen struct {
	mu  sync.Mutex
	ids *simplelru.LRU[[16]byte, struct{}]
}

func (s *eventsSeen) init() (err error) {
	s.ids, err = simplelru.NewLRU[[16]byte, struct{}](maxEvents, nil)
	return err
}

// first reports whether the event of an issuer is new, and notes it.
func (s *eventsSeen) first(issuer, id string) bool {
	key := digest16(fmt.Sprintf("%d %s %s", len(issuer), issuer, id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids.Contains(key) {
		return false
	}
	s.ids.Add(key, struct{}{})
	return true
}
