package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// facebook asks debug_token whether a token was issued to our app, and then for
// the profile, with a proof that only our app can make. The profile alone would
// be shown for the token of any site
// (https://developers.facebook.com/docs/graph-api/reference/debug_token/).
var facebook = Kind{
	Type: "facebook",
	Keys: []string{"api_version"},
	Defaults: func(c *Config) {
		setDefault(&c.APIVersion, "v23.0")
		setDefault(&c.Endpoints.Graph, "https://graph.facebook.com")
	},
	Check: checkFacebook,
	Places: map[string]string{
		"client_id":     "in the App Dashboard under App settings → Basic, as App ID",
		"client_secret": "in the App Dashboard under App settings → Basic, as App secret",
		"api_version":   "in the App Dashboard under App settings → Advanced, as API version",
	},
	Shape: func(Config) Shape { return Shape{CatchAll: true} },
	SignIn: func(c Config) Endpoints {
		return Endpoints{
			Authorization: "https://www.facebook.com/" + c.APIVersion + "/dialog/oauth",
			Token:         c.Endpoints.Graph + "/" + c.APIVersion + "/oauth/access_token",
		}
	},
	New: newFacebook,
}

var (
	facebookApp     = regexp.MustCompile(`^[0-9]{5,20}$`)
	facebookVersion = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]$`)
)

func checkFacebook(c Config) []authz.Fault {
	_, mapping := newMapper(c, "")
	faults := append(endpointFaults(c), mapping...)
	if !facebookApp.MatchString(c.ClientID) {
		faults = append(faults, authz.Fault{Key: "client_id", Problem: fmt.Sprintf("%q is not an app id, which is a number", c.ClientID)})
	}
	if c.ClientSecret.IsZero() {
		faults = append(faults, authz.Fault{Key: "client_secret", Problem: "is missing: debug_token answers the app itself alone"})
	}
	if !facebookVersion.MatchString(c.APIVersion) {
		faults = append(faults, authz.Fault{Key: "api_version", Problem: fmt.Sprintf("%q is not a version, as v23.0", c.APIVersion)})
	}
	if c.Validation != "" && c.Validation != "introspection" {
		faults = append(faults, validationFault(c, "introspection (debug_token)"))
	}
	return faults
}

func newFacebook(c Config, env Env) (Provider, error) {
	m, _ := newMapper(c, "https://www.facebook.com", "email", "id")
	p, err := newAsked(c, env, Shape{CatchAll: true}, m)
	if err != nil {
		return nil, err
	}
	f := &facebookGraph{client: p.client, now: env.Now, base: strings.TrimSuffix(c.Endpoints.Graph, "/") + "/" + c.APIVersion, app: c.ClientID, secret: c.ClientSecret}
	p.prove = f.prove
	return p, nil
}

type facebookGraph struct {
	client *client
	now    func() time.Time
	base   string
	app    string
	secret authz.Secret
}

func (f *facebookGraph) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	found, err := f.debug(ctx, token)
	if err != nil || found.app {
		return found, err
	}
	mac := hmac.New(sha256.New, []byte(f.secret.Reveal()))
	mac.Write([]byte(token))
	query := url.Values{"fields": {"id,name,email"}, "appsecret_proof": {hex.EncodeToString(mac.Sum(nil))}}
	me, err := f.get(ctx, token, "/me?"+query.Encode(), false)
	if err != nil {
		return nil, err
	}
	if textAt(me, "id") == "" {
		return nil, &authz.Unavailable{Cause: errors.New("the profile has no id")}
	}
	me["scope"] = found.attrs["scopes"]
	found.attrs = me
	return found, sameSubject(found.subject, textAt(me, "id"))
}

// debug asks about a token in our app's name. The one place for it is the query:
// that address goes into no error, log or trace.
func (f *facebookGraph) debug(ctx context.Context, token string) (*proof, error) {
	answer, err := f.get(ctx, f.app+"|"+f.secret.Reveal(), "/debug_token?"+url.Values{"input_token": {token}}.Encode(), true)
	if err != nil {
		return nil, err
	}
	data, ok := answer["data"].(map[string]any)
	valid, known := data["is_valid"].(bool)
	switch {
	case !ok || !known:
		return nil, &authz.Unavailable{Cause: errors.New("the answer of debug_token has no is_valid")}
	case !valid:
		fault, _ := data["error"].(map[string]any)
		return nil, facebookInvalid(fault)
	}
	app := idText(data["app_id"])
	if app != f.app {
		return nil, authz.Reject(authz.ReasonClient, "issued to app %q, which is not ours", shorten(app))
	}
	found := &proof{attrs: data, subject: idText(data["user_id"]), client: app}
	switch kind := textAt(data, "type"); {
	case kind == "APP" || found.subject == "" || found.subject == "0":
		found.app, found.subject = true, app
	case kind != "" && kind != "USER":
		return nil, authz.Reject(authz.ReasonTokenType, "a token of the type %q, not a user's", shorten(kind))
	}
	// Zero is a token without an end.
	if end, ok := numberOrText(data["expires_at"]); ok && end > 0 {
		if found.expires = time.Unix(end, 0); !f.now().Before(found.expires) {
			return nil, authz.Reject(authz.ReasonExpired, "expires_at is over")
		}
	}
	return found, nil
}

// get makes a call. ours says that it is authorized by our app: an error about
// the token is then about us.
func (f *facebookGraph) get(ctx context.Context, token, path string, ours bool) (map[string]any, error) {
	r, err := f.client.getAs(ctx, f.base+path, token, nil)
	if err != nil {
		return nil, err
	}
	answer, broken := r.object()
	fault, _ := answer["error"].(map[string]any)
	code, told := fault["code"].(int64)
	if !told {
		if err := r.trouble(f.now()); err != nil {
			return nil, err
		}
		if r.Status != http.StatusOK {
			return nil, r.unexpected()
		}
		return answer, broken
	}
	// The code tells; the status is 400 for nearly everything.
	switch {
	case fault["is_transient"] == true:
		return nil, &authz.Unavailable{RetryAfter: retryAfter(r.Header, f.now()), Cause: fmt.Errorf("no answer from Facebook for a while (%d)", code)}
	case code == 4 || code == 17 || code == 32 || code == 341 || code == 613:
		return nil, &authz.Unavailable{Throttled: true, RetryAfter: retryAfter(r.Header, f.now()), Cause: fmt.Errorf("throttled by Facebook (%d)", code)}
	case (code == 190 || code == 102) && ours:
		return nil, misconfigured("Facebook refuses our app (%d): are client_id and client_secret right?", code)
	case code == 190 || code == 102:
		return nil, facebookInvalid(fault)
	case code == 100 || code == 12 || code == 2500 || code == 2635:
		return nil, withSome(misconfigured("Facebook does not take the question (%d): is client_secret right, and api_version still served?", code))
	case code == 10 || code >= 200 && code < 300:
		return nil, authz.Reject(authz.ReasonClaims, "the token may not read its user's profile (%d)", code)
	}
	return nil, &authz.Unavailable{Cause: fmt.Errorf("no answer about the token from Facebook (%d)", code)}
}

// facebookInvalid tells why a token is not good, by the subcode
// (https://developers.facebook.com/docs/graph-api/guides/error-handling/).
func facebookInvalid(fault map[string]any) error {
	subcode, ok := fault["error_subcode"].(int64)
	if !ok {
		subcode, _ = fault["subcode"].(int64)
	}
	switch subcode {
	case 463:
		return authz.Reject(authz.ReasonExpired, "Facebook: the token is expired")
	case 458, 459, 460, 464, 467:
		return authz.Reject(authz.ReasonRevoked, "Facebook: the token is no longer good (%d)", subcode)
	}
	return authz.Reject(authz.ReasonInactive, "Facebook: the token is not good")
}
