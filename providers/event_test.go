package providers

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// newReceiver makes the receiver of a provider whose tokens are for "api" and
// are issued to the client "app".
func newReceiver(t testing.TB, i *providertest.Issuer, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{Name: "sso", Type: "oidc", Issuer: i.URL, Audiences: []string{"api"}, AllowedClients: []string{"app"}}
	if change != nil {
		change(&c)
	}
	if faults := Check(c); len(faults) > 0 {
		t.Fatal(faults)
	}
	p, err := New(c, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r, err := NewReceiver(c, p, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	if r != nil {
		t.Cleanup(r.Close)
	}
	return r
}

// told makes the claims of an event, each with an id of its own; a change to nil
// takes a claim out.
func told(i *providertest.Issuer, base, changes object) object {
	now := time.Now().Unix()
	c := object{"iss": i.URL, "aud": "app", "iat": now, "jti": fmt.Sprint("event-", nextEvent())}
	maps.Copy(c, base)
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

var nextEvent = func() func() int {
	n := 0
	return func() int { n++; return n }
}()

func signedAs(i *providertest.Issuer, typ any, claims object) string {
	header := object{"alg": "RS256", "kid": "rsa-1"}
	if typ != nil {
		header["typ"] = typ
	}
	return i.Key("rsa-1").Sign(header, claims)
}

var ofLogout = object{"sub": "id-of-alice", "sid": "s1", "events": object{logoutEvent: object{}}}

func TestLogout(t *testing.T) {
	i := providertest.NewIssuer(t)
	r := newReceiver(t, i, nil)
	now := time.Now().Unix()
	logout := func(changes object) string { return signedAs(i, "logout+jwt", told(i, ofLogout, changes)) }
	for name, c := range map[string]struct {
		token string
		want  authz.Reason
	}{
		"good":                   {logout(object{"exp": now + 120}), authz.ReasonVerified},
		"no exp":                 {logout(nil), authz.ReasonVerified},
		"typ JWT":                {signedAs(i, "JWT", told(i, ofLogout, nil)), authz.ReasonVerified},
		"no typ":                 {signedAs(i, nil, told(i, ofLogout, nil)), authz.ReasonVerified},
		"session alone":          {logout(object{"sub": nil}), authz.ReasonVerified},
		"user alone":             {logout(object{"sid": nil}), authz.ReasonVerified},
		"for the API":            {logout(object{"aud": []any{"other", "api"}}), authz.ReasonVerified},
		"more events":            {logout(object{"events": object{logoutEvent: object{}, "revoke_offline_access": true}}), authz.ReasonVerified},
		"other typ":              {signedAs(i, "at+jwt", told(i, ofLogout, nil)), authz.ReasonTokenType},
		"a security event":       {signedAs(i, "secevent+jwt", told(i, ofLogout, nil)), authz.ReasonTokenType},
		"typ is empty":           {signedAs(i, "", told(i, ofLogout, nil)), authz.ReasonTokenType},
		"typ is a number":        {signedAs(i, 7, told(i, ofLogout, nil)), authz.ReasonTokenType},
		"an access token":        {i.Token("alice", nil), authz.ReasonTokenType},
		"an ID token":            {signedAs(i, "JWT", i.Claims("alice", object{"aud": "app", "nonce": "n"})), authz.ReasonTokenType},
		"nonce":                  {logout(object{"nonce": "n"}), authz.ReasonTokenType},
		"no events":              {logout(object{"events": nil}), authz.ReasonTokenType},
		"events is a list":       {logout(object{"events": []any{logoutEvent}}), authz.ReasonTokenType},
		"another event":          {logout(object{"events": object{caepEvent + "session-revoked": object{}}}), authz.ReasonTokenType},
		"event is no object":     {logout(object{"events": object{logoutEvent: true}}), authz.ReasonTokenType},
		"nobody":                 {logout(object{"sub": nil, "sid": nil}), authz.ReasonClaims},
		"sid is empty":           {logout(object{"sid": ""}), authz.ReasonClaims},
		"sub is a number":        {logout(object{"sub": 7}), authz.ReasonClaims},
		"issuer":                 {logout(object{"iss": i.URL + "/"}), authz.ReasonIssuer},
		"audience":               {logout(object{"aud": "other"}), authz.ReasonAudience},
		"no audience":            {logout(object{"aud": nil}), authz.ReasonAudience},
		"no iat":                 {logout(object{"iat": nil}), authz.ReasonClaims},
		"iat is text":            {logout(object{"iat": "now"}), authz.ReasonClaims},
		"iat to come":            {logout(object{"iat": now + 300}), authz.ReasonNotYetValid},
		"iat long ago":           {logout(object{"iat": now - 3600}), authz.ReasonExpired},
		"iat long ago, with exp": {logout(object{"iat": now - 3600, "exp": now + 60}), authz.ReasonVerified},
		"expired":                {logout(object{"exp": now - 60}), authz.ReasonExpired},
		"exp is text":            {logout(object{"exp": "never"}), authz.ReasonClaims},
		"no jti":                 {logout(object{"jti": nil}), authz.ReasonClaims},
		"jti is huge":            {logout(object{"jti": strings.Repeat("x", 2000)}), authz.ReasonClaims},
		"forged":                 {providertest.NewKey(t, "rsa-1", "RS256").Sign(object{"alg": "RS256", "kid": "rsa-1"}, told(i, ofLogout, nil)), authz.ReasonSignature},
		"unknown key":            {providertest.NewKey(t, "x", "RS256").Sign(object{"alg": "RS256", "kid": "x"}, told(i, ofLogout, nil)), authz.ReasonUnknownKey},
		"alg none":               {i.Key("rsa-1").Sign(object{"alg": "none"}, told(i, ofLogout, nil)), authz.ReasonAlgorithm},
		"HS256":                  {i.Key("rsa-1").Sign(object{"alg": "HS256", "kid": "rsa-1"}, told(i, ofLogout, nil)), authz.ReasonAlgorithm},
		"a claim twice":          {i.Key("rsa-1").SignRaw([]byte(`{"alg":"RS256","kid":"rsa-1"}`), []byte(`{"sub":"a","sub":"b"}`), "RS256"), authz.ReasonMalformedToken},
		"no token":               {"x", authz.ReasonMalformedToken},
	} {
		event, err := r.Logout(t.Context(), c.token)
		if got := reasonOf(err); got != c.want {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
		if (err == nil) != (len(event.Notices) == 1) {
			t.Errorf("%s: %+v with %v", name, event, err)
		}
	}
}

func TestLogoutSaysWhom(t *testing.T) {
	i := providertest.NewIssuer(t)
	r := newReceiver(t, i, nil)
	at := time.Unix(time.Now().Unix()-5, 0)
	claims := told(i, ofLogout, object{"iat": at.Unix(), "jti": "one"})
	event, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", claims))
	want := Event{ID: "one", Notices: []Notice{{
		Kind: "logout", Effect: Obey, Session: "s1", Subject: "id-of-alice",
		Revoke: []authz.Revocation{{Issuers: []string{i.URL}, Session: "s1", Subject: "id-of-alice", At: at}},
	}}}
	if diff := cmp.Diff(want, event); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", claims)); !errors.Is(err, ErrReplayed) {
		t.Errorf("a second time: %v", err)
	}
	bad := told(i, ofLogout, object{"jti": "two", "aud": "other"})
	if _, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", bad)); reasonOf(err) != authz.ReasonAudience {
		t.Error(err)
	}
	bad["aud"] = "app"
	if _, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", bad)); err != nil {
		t.Errorf("an event that was refused is taken for one that was obeyed: %v", err)
	}
}

// The identity that a provider makes of a token is the one that its logout token
// is about, in every kind: both must name the user by the same key.
func TestLogoutIsOfTheIdentity(t *testing.T) {
	i := providertest.NewIssuer(t)
	for name, c := range map[string]struct {
		config Config
		claims object
	}{
		"oidc":     {Config{Type: "oidc", Issuer: i.URL}, nil},
		"keycloak": {Config{Type: "keycloak", Issuer: i.URL}, object{"typ": "Bearer"}},
		"okta":     {Config{Type: "okta", Issuer: i.URL + "/oauth2/default", Endpoints: Endpoints{JWKS: i.URL + "/keys"}}, object{"cid": "app", "uid": "id-of-alice", "sub": "alice@example.com"}},
		"cognito":  {Config{Type: "cognito", Issuer: i.URL, UserPoolID: "eu-west-1_Abc", Endpoints: Endpoints{JWKS: i.URL + "/keys"}}, object{"token_use": "access", "username": "alice"}},
	} {
		cfg := c.config
		cfg.Name, cfg.Audiences, cfg.AllowedClients = name, []string{"api"}, []string{"app"}
		if cfg.Type == "cognito" {
			cfg.Audiences = nil
		}
		p, err := New(cfg, testEnv())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		r, err := NewReceiver(cfg, p, testEnv())
		if err != nil || r == nil {
			t.Fatal(r, err)
		}
		t.Cleanup(r.Close)
		claims := object{"sid": "s1", "iss": cfg.Issuer}
		maps.Copy(claims, c.claims)
		id, err := p.Verify(t.Context(), bearer(i.Token("alice", claims)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		whom := object{"iss": cfg.Issuer}
		if name == "okta" { // where a login may stand in sub, here as in tokens
			whom["uid"], whom["sub"] = claims["uid"], claims["sub"]
		}
		event, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", told(i, ofLogout, whom)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v := event.Notices[0].Revoke[0]
		if v.Session != id.Session || v.Subject != id.Subject || len(v.Issuers) == 0 || v.Issuers[0] != id.Issuer || id.Issued.IsZero() {
			t.Errorf("%s: a logout of %+v for the identity of %s, %s, %s, issued %v", name, v, id.Issuer, id.Subject, id.Session, id.Issued)
		}
	}
}

func TestSignal(t *testing.T) {
	i := providertest.NewIssuer(t)
	r := newReceiver(t, i, nil)
	user := object{"format": "iss_sub", "iss": i.URL, "sub": "id-of-alice"}
	revoked := func(subject any) object {
		return object{"sub_id": subject, "events": object{caepEvent + "session-revoked": object{"event_timestamp": 1615304991}}}
	}
	signal := func(base, changes object) string { return signedAs(i, "secevent+jwt", told(i, base, changes)) }
	good := revoked(user)
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		token string
		want  authz.Reason
	}{
		"good":               {signal(good, nil), authz.ReasonVerified},
		"long name of typ":   {signedAs(i, "application/SECEVENT+jwt", told(i, good, nil)), authz.ReasonVerified},
		"delivered late":     {signal(good, object{"iat": now - 86400}), authz.ReasonVerified},
		"typ JWT":            {signedAs(i, "JWT", told(i, good, nil)), authz.ReasonTokenType},
		"no typ":             {signedAs(i, nil, told(i, good, nil)), authz.ReasonTokenType},
		"a logout token":     {signedAs(i, "logout+jwt", told(i, ofLogout, nil)), authz.ReasonTokenType},
		"issuer":             {signal(good, object{"iss": "https://other"}), authz.ReasonIssuer},
		"audience":           {signal(good, object{"aud": "other"}), authz.ReasonAudience},
		"no audience":        {signal(good, object{"aud": nil}), authz.ReasonAudience},
		"no iat":             {signal(good, object{"iat": nil}), authz.ReasonClaims},
		"iat to come":        {signal(good, object{"iat": now + 300}), authz.ReasonNotYetValid},
		"no jti":             {signal(good, object{"jti": nil}), authz.ReasonClaims},
		"expired":            {signal(good, object{"exp": now - 60}), authz.ReasonExpired},
		"no events":          {signal(good, object{"events": object{}}), authz.ReasonTokenType},
		"event is no object": {signal(good, object{"events": object{caepEvent + "session-revoked": "now"}}), authz.ReasonClaims},
		"forged":             {providertest.NewKey(t, "rsa-1", "RS256").Sign(object{"alg": "RS256", "kid": "rsa-1", "typ": "secevent+jwt"}, told(i, good, nil)), authz.ReasonSignature},
	} {
		event, err := r.Signal(t.Context(), c.token)
		if got := reasonOf(err); got != c.want {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
		if (err == nil) != (len(event.Notices) == 1) {
			t.Errorf("%s: %+v with %v", name, event, err)
		}
	}
}

func TestSignalSaysWhom(t *testing.T) {
	const issuer = "https://sso.example.com"
	at := time.Unix(1_800_000_000, 0)
	r := &Receiver{vouched: []string{issuer}, names: []string{issuer, "https://hub.example.com"}}
	r.signals = &sender{rules: &jwtRules{leeway: 30 * time.Second}}
	issSub := func(iss, sub string) object { return object{"format": "iss_sub", "iss": iss, "sub": sub} }
	opaque := func(id string) object { return object{"format": "opaque", "id": id} }
	alice := issSub(issuer, "7")
	of := func(list ...authz.Revocation) []authz.Revocation { return list }
	for name, c := range map[string]struct {
		subject any
		want    []authz.Revocation // nil: not understood
	}{
		"iss_sub":                        {alice, of(authz.Revocation{Subject: "7"})},
		"the sender's own":               {issSub("https://hub.example.com", "7"), of(authz.Revocation{Subject: "7"})},
		"before RFC 9493":                {object{"subject_type": "iss-sub", "iss": issuer, "sub": "7"}, of(authz.Revocation{Subject: "7"})},
		"email":                          {object{"format": "email", "email": "a@b.c"}, of(authz.Revocation{Email: "a@b.c"})},
		"opaque":                         {opaque("x"), of(authz.Revocation{Session: "x"}, authz.Revocation{Subject: "x"})},
		"user":                           {object{"format": "complex", "user": alice}, of(authz.Revocation{Subject: "7"})},
		"user, without format":           {object{"user": alice}, of(authz.Revocation{Subject: "7"})},
		"user by an opaque id":           {object{"format": "complex", "user": opaque("7")}, of(authz.Revocation{Subject: "7"})},
		"session":                        {object{"format": "complex", "session": opaque("s")}, of(authz.Revocation{Session: "s"})},
		"session of the issuer":          {object{"format": "complex", "session": issSub(issuer, "s")}, of(authz.Revocation{Session: "s"})},
		"session and user":               {object{"format": "complex", "session": opaque("s"), "user": alice}, of(authz.Revocation{Session: "s", Subject: "7"})},
		"session and e-mail":             {object{"format": "complex", "session": opaque("s"), "user": object{"format": "email", "email": "a@b.c"}}, of(authz.Revocation{Session: "s", Email: "a@b.c"})},
		"user on a device":               {object{"format": "complex", "user": alice, "device": opaque("d")}, of(authz.Revocation{Subject: "7"})},
		"session that is not understood": {object{"format": "complex", "session": object{"format": "uri", "uri": "u"}, "user": alice}, of(authz.Revocation{Subject: "7"})},
		"aliases":                        {object{"format": "aliases", "identifiers": []any{object{"format": "phone_number"}, alice, object{"format": "email", "email": "a@b.c"}}}, of(authz.Revocation{Subject: "7"}, authz.Revocation{Email: "a@b.c"})},
		"of another issuer":              {issSub("https://other.example.com", "7"), nil},
		"iss is missing":                 {object{"format": "iss_sub", "sub": "7"}, nil},
		"sub is empty":                   {issSub(issuer, ""), nil},
		"sub is a number":                {object{"format": "iss_sub", "iss": issuer, "sub": 7}, nil},
		"session of another issuer":      {object{"format": "complex", "session": issSub("https://other.example.com", "s")}, nil},
		"device":                         {object{"format": "complex", "device": opaque("d")}, nil},
		"phone number":                   {object{"format": "phone_number", "phone_number": "+1"}, nil},
		"no format":                      {object{"id": "x"}, nil},
		"aliases in aliases":             {object{"format": "aliases", "identifiers": []any{object{"format": "aliases", "identifiers": []any{alice}}}}, nil},
		"text":                           {"7", nil},
		"nobody":                         {nil, nil},
	} {
		for event, after := range map[string]aftermath{caepEvent + "session-revoked": signOut, caepEvent + "token-claims-change": lookAnew, riscEvent + "account-disabled": signOut} {
			claims := object{"iss": issuer, "jti": "j", "iat": at.Unix(), "sub_id": c.subject, "events": object{event: object{}}}
			if strings.HasPrefix(event, riscEvent) { // as before the final specifications
				delete(claims, "sub_id")
				claims["events"] = object{event: object{"subject": c.subject}}
			}
			n := r.signalOf(claims).Notices[0]
			if c.want == nil {
				if n.Effect != NotUnderstood || len(n.Revoke) > 0 || n.Problem == "" {
					t.Errorf("%s, %s: %+v", name, event, n)
				}
				continue
			}
			var want []authz.Revocation
			for _, v := range c.want {
				v.Issuers = r.vouched
				if after == signOut {
					v.At = at
				}
				want = append(want, v)
			}
			if diff := cmp.Diff(want, n.Revoke); n.Effect != Obey || diff != "" {
				t.Errorf("%s, %s: %v %s", name, event, n.Effect, diff)
			}
		}
	}
	hub := r.signalOf(object{"iss": "https://hub.example.com", "iat": at.Unix(), "sub_id": alice, "events": object{caepEvent + "session-revoked": object{}}})
	if got := hub.Notices[0].Revoke[0].At; !got.Equal(at.Add(30 * time.Second)) {
		t.Errorf("two clocks are taken for one: %v", got)
	}
	several := r.signalOf(object{"iss": issuer, "iat": at.Unix(), "sub_id": alice, "events": object{
		ssfEvent + "verification": object{"state": "x"}, caepEvent + "session-revoked": object{}, "https://example.com/event": object{},
	}})
	got := []string{}
	for _, n := range several.Notices {
		got = append(got, fmt.Sprint(n.Kind, n.Effect))
	}
	if diff := cmp.Diff([]string{"other0", "session-revoked1", "verification2"}, got); diff != "" {
		t.Error(diff)
	}
}

// A transmitter that is not the provider itself proves its events with its own
// keys, and can prove no logout token.
func TestForeignSender(t *testing.T) {
	i, hub := providertest.NewIssuer(t), providertest.NewIssuer(t)
	r := newReceiver(t, i, func(c *Config) {
		c.Events = &Events{Issuer: hub.URL, JWKS: hub.URL + "/keys", Audiences: []string{"gate"}, Bearer: authz.NewSecret("let me in")}
	})
	event := object{"aud": "gate", "sub_id": object{"format": "iss_sub", "iss": i.URL, "sub": "7"}, "events": object{caepEvent + "session-revoked": object{}}}
	for name, c := range map[string]struct {
		token string
		want  authz.Reason
	}{
		"good":             {signedAs(hub, "secevent+jwt", told(hub, event, nil)), authz.ReasonVerified},
		"default audience": {signedAs(hub, "secevent+jwt", told(hub, event, object{"aud": "app"})), authz.ReasonAudience},
		"of the provider":  {signedAs(i, "secevent+jwt", told(i, event, nil)), authz.ReasonIssuer},
		"as the provider":  {signedAs(hub, "secevent+jwt", told(i, event, nil)), authz.ReasonIssuer},
		"with its keys":    {signedAs(i, "secevent+jwt", told(hub, event, nil)), authz.ReasonSignature},
	} {
		if _, err := r.Signal(t.Context(), c.token); reasonOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := r.Logout(t.Context(), signedAs(hub, "logout+jwt", told(i, ofLogout, object{"aud": "gate"}))); reasonOf(err) != authz.ReasonSignature {
		t.Errorf("a logout by who sends security events: %v", err)
	}
	if _, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", told(i, ofLogout, object{"aud": "gate"}))); err != nil {
		t.Error(err)
	}
	for header, good := range map[string]bool{"Bearer let me in": true, "bearer let me in": true, "": false, "Bearer let me i": false, "Basic let me in": false, "let me in": false} {
		if err := r.Authorized(header); (err == nil) != good {
			t.Errorf("%q: %v", header, err)
		}
	}
}

// A provider that is asked about tokens has no keys until events are set up.
func TestAskedProviderTellsLogouts(t *testing.T) {
	i := providertest.NewIssuer(t)
	asked := func(c *Config) {
		c.Validation, c.ClientID, c.ClientSecret = "introspection", "app", authz.NewSecret("secret")
		c.Endpoints.Introspection = i.URL + "/introspect"
	}
	if r := newReceiver(t, i, asked); r != nil {
		t.Error("keys are fetched that nobody asked for")
	}
	if _, err := (*Receiver)(nil).Logout(t.Context(), "x"); !errors.Is(err, ErrNoReceiver) {
		t.Error(err)
	}
	if _, err := (*Receiver)(nil).Signal(t.Context(), "x"); !errors.Is(err, ErrNoReceiver) {
		t.Error(err)
	}
	r := newReceiver(t, i, func(c *Config) { asked(c); c.Events = &Events{} })
	if _, err := r.Logout(t.Context(), signedAs(i, "logout+jwt", told(i, ofLogout, nil))); err != nil {
		t.Error(err)
	}
}

// Without keys nothing can be told: that is no refusal, so that the sender tries
// again.
func TestEventsWhileKeysAreMissing(t *testing.T) {
	i := providertest.NewIssuer(t)
	i.Fail(providertest.Down)
	r := newReceiver(t, i, nil)
	token := signedAs(i, "logout+jwt", told(i, ofLogout, nil))
	if _, err := r.Logout(t.Context(), token); err == nil || errors.Is(err, authz.ErrRejected) {
		t.Error(err)
	}
	for range maxFetching {
		r.fetching <- struct{}{}
	}
	var busy *authz.Unavailable
	if _, err := r.Logout(t.Context(), token); !errors.As(err, &busy) {
		t.Errorf("all who may wait do: %v", err)
	}
}

func TestEventsSeenIsBounded(t *testing.T) {
	var s eventsSeen
	if err := s.init(); err != nil {
		t.Fatal(err)
	}
	for n := range maxEvents + 1 {
		if !s.first("a", fmt.Sprint(n)) {
			t.Fatal(n)
		}
	}
	if !s.first("a", "0") || s.first("a", fmt.Sprint(maxEvents)) || !s.first("a b", "c") || !s.first("a", "b c") {
		t.Error("the oldest is to go, and ids of two issuers are two")
	}
}

func TestEventFaults(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string // key of the fault; "": none
	}{
		"own keys":           {Config{Type: "oidc", Issuer: "https://a.example.com", Audiences: []string{"api"}, Events: &Events{}}, ""},
		"other sender":       {Config{Type: "oidc", Issuer: "https://a.example.com", Audiences: []string{"api"}, Events: &Events{Issuer: "https://b.example.com", JWKS: "https://b.example.com/keys"}}, ""},
		"other, no keys":     {Config{Type: "oidc", Issuer: "https://a.example.com", Audiences: []string{"api"}, Events: &Events{Issuer: "https://b.example.com"}}, "events.jwks"},
		"keys, no issuer":    {Config{Type: "oidc", Issuer: "https://a.example.com", Audiences: []string{"api"}, Events: &Events{JWKS: "https://b.example.com/keys"}}, "events.issuer"},
		"plain http":         {Config{Type: "oidc", Issuer: "https://a.example.com", Audiences: []string{"api"}, Events: &Events{Issuer: "https://b.example.com", JWKS: "http://b.example.com/keys"}}, "events.jwks"},
		"GitHub has no keys": {Config{Type: "github", ClientID: "a", ClientSecret: authz.NewSecret("s"), Events: &Events{}}, "events.issuer"},
		"GitHub by another":  {Config{Type: "github", ClientID: "a", ClientSecret: authz.NewSecret("s"), Events: &Events{Issuer: "https://b.example.com", JWKS: "https://b.example.com/keys"}}, ""},
		"for whom": {Config{
			Type: "oauth2", ClientID: "", AppBinding: "none", Endpoints: Endpoints{Userinfo: "https://a.example.com/me", Issuer: "https://a.example.com"},
			Events: &Events{Issuer: "https://b.example.com", JWKS: "https://b.example.com/keys"},
		}, "events.audiences"},
	} {
		c.config.Name = "p"
		got := ""
		for _, f := range Check(c.config) {
			if strings.HasPrefix(f.Key, "events") {
				got = f.Key
			} else {
				t.Errorf("%s: %v", name, f)
			}
		}
		if got != c.want {
			t.Errorf("%s: fault of %q, want %q", name, got, c.want)
		}
	}
}

// Whatever stands in a token that is signed: it is refused, or it says whom it
// means, or that this is not understood.
func FuzzEvent(f *testing.F) {
	i := providertest.NewIssuer(f)
	r := newReceiver(f, i, nil)
	key := i.Key("ec-1")
	for _, claims := range []object{
		told(i, ofLogout, nil),
		told(i, object{"sub_id": object{"format": "iss_sub", "iss": i.URL, "sub": "7"}, "events": object{caepEvent + "session-revoked": object{}}}, nil),
		told(i, object{"sub_id": object{"format": "complex", "user": object{"format": "email", "email": "a@b.c"}, "session": object{"format": "opaque", "id": "s"}}, "events": object{caepEvent + "credential-change": object{}}}, nil),
		told(i, object{"events": object{riscEvent + "account-disabled": object{"subject": object{"subject_type": "iss-sub", "iss": i.URL, "sub": "7"}}}}, nil),
		told(i, object{"sub_id": object{"format": "aliases", "identifiers": []any{object{"format": "opaque", "id": "s"}}}, "events": object{oauthEvent + "tokens-revoked": object{}, ssfEvent + "verification": object{}}}, nil),
	} {
		token := key.Sign(object{"alg": "ES256", "kid": "ec-1"}, claims)
		payload, err := decodePayload(token)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for typ, take := range map[string]func(string) (Event, error){
			"logout+jwt":   func(s string) (Event, error) { return r.Logout(t.Context(), s) },
			"secevent+jwt": func(s string) (Event, error) { return r.Signal(t.Context(), s) },
		} {
			event, err := take(key.SignRaw([]byte(`{"alg":"ES256","kid":"ec-1","typ":"`+typ+`"}`), payload, "ES256"))
			if err != nil {
				if !errors.Is(err, authz.ErrRejected) && !errors.Is(err, ErrReplayed) {
					t.Errorf("%s: neither refused nor taken: %v", typ, err)
				}
				continue
			}
			if event.ID == "" || len(event.Notices) == 0 {
				t.Errorf("%s: obeyed, and nothing to do: %+v", typ, event)
			}
			for _, n := range event.Notices {
				if n.Kind == "" || (n.Effect == NotUnderstood) == (n.Problem == "") || (n.Effect == Obey) != (len(n.Revoke) > 0) {
					t.Errorf("%s: %+v", typ, n)
				}
				for _, v := range n.Revoke {
					if v.Session+v.Subject+v.Email == "" || len(v.Issuers) != 1 || v.Issuers[0] != i.URL {
						t.Errorf("%s: nobody, or somebody else's: %+v", typ, v)
					}
				}
			}
		}
	})
}
