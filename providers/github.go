package providers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// github has GitHub check that a token was issued to our app: the profile that
// any token gets proves nothing of the kind
// (https://docs.github.com/en/rest/apps/oauth-applications#check-a-token).
var github = Kind{
	Type: "github",
	Keys: []string{"base_url", "allow_personal_tokens"},
	Defaults: func(c *Config) {
		setDefault(&c.BaseURL, "https://github.com")
		c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
		setDefault(&c.Endpoints.API, githubAPI(c.BaseURL))
	},
	Places: map[string]string{
		"client_id":     "under Settings → Developer settings → OAuth Apps (or GitHub Apps) → the app, as Client ID",
		"client_secret": "under Settings → Developer settings → OAuth Apps (or GitHub Apps) → the app → Client secrets",
	},
	Check: func(c Config) []authz.Fault {
		_, mapping := newMapper(c, "")
		faults := append(endpointFaults(c), mapping...)
		if c.ClientID == "" || strings.ContainsAny(c.ClientID, "/:?# ") {
			faults = append(faults, authz.Fault{Key: "client_id", Problem: fmt.Sprintf("%q is not a client id, as Iv1.0123456789abcdef or 20 hexadecimal digits", c.ClientID)})
		}
		if c.ClientSecret.IsZero() {
			faults = append(faults, authz.Fault{Key: "client_secret", Problem: "is missing: GitHub tells only the app itself whether a token is the app's"})
		}
		if c.Validation != "" && c.Validation != "introspection" {
			faults = append(faults, validationFault(c, "introspection (check-token)"))
		}
		return faults
	},
	Warn: func(c Config) []authz.Fault {
		if !c.AllowPersonalTokens {
			return nil
		}
		return []authz.Fault{{Key: "allow_personal_tokens", Problem: "a personal access token was made for some other purpose, is bound to no app, and opens all its scopes at GitHub to whoever sees it here"}}
	},
	Shape: githubShape,
	SignIn: func(c Config) Endpoints {
		login := c.BaseURL + "/login/"
		return Endpoints{Authorization: login + "oauth/authorize", Token: login + "oauth/access_token", DeviceAuthorization: login + "device/code"}
	},
	New: newGitHub,
}

// githubAPI is where the API of a server is: github.com, Enterprise Cloud with
// data residency (ghe.com), or Enterprise Server.
func githubAPI(base string) string {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "":
		return ""
	case u.Host == "github.com", strings.HasSuffix(u.Host, ".ghe.com"):
		return u.Scheme + "://api." + u.Host
	}
	return base + "/api/v3"
}

// githubShape: user tokens of OAuth apps and of GitHub apps. Refresh and
// installation tokens speak for nobody.
func githubShape(c Config) Shape {
	s := Shape{Prefixes: []string{"gho_", "ghu_"}}
	if c.AllowPersonalTokens {
		s.Prefixes = append(s.Prefixes, "ghp_", "github_pat_")
	}
	return s
}

func newGitHub(c Config, env Env) (Provider, error) {
	m, _ := newMapper(c, c.BaseURL, "login")
	p, err := newAsked(c, env, githubShape(c), m)
	if err != nil {
		return nil, err
	}
	g := &githubApp{client: p.client, now: env.Now, api: c.Endpoints.API, id: c.ClientID, secret: c.ClientSecret, groups: c.Groups}
	g.email = slices.Contains(c.Email, "email") || slices.Contains(c.Username, "email")
	p.screen, p.prove = githubScreen, g.prove
	p.never = "client_id and client_secret are to be those of the app that the users' tokens were issued to"
	return p, nil
}

// githubToken is how GitHub writes tokens. Others are not asked about: after
// some bad ones it refuses good ones too, and a strange one looks like spam.
var githubToken = regexp.MustCompile(`^(gh[oup]_|github_pat_)[A-Za-z0-9_]{4,251}$`)

func githubScreen(_ context.Context, token string) (*proof, error) {
	if !githubToken.MatchString(token) {
		return nil, authz.Reject(authz.ReasonMalformedToken, "not how GitHub writes tokens")
	}
	return nil, nil
}

// githubApp is our app at GitHub.
type githubApp struct {
	client *client
	now    func() time.Time
	api    string
	id     string
	secret authz.Secret
	groups []string // paths: organizations and teams cost a call each
	email  bool     // so does the user's address
}

func (g *githubApp) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	found := &proof{attrs: map[string]any{}}
	if strings.HasPrefix(token, "gho_") || strings.HasPrefix(token, "ghu_") {
		if err := g.check(ctx, token, found); err != nil {
			return nil, err
		}
	}
	if textAt(found.attrs, "login") == "" {
		user, err := g.get(ctx, token, "/user")
		if err != nil {
			return nil, err
		}
		if found.attrs, err = user.object(); err != nil {
			return nil, err
		}
	}
	id, ok := found.attrs["id"].(int64)
	if !ok {
		return nil, &authz.Unavailable{Cause: errors.New("GitHub's answer has no id of the user")}
	}
	found.subject = strconv.FormatInt(id, 10)
	found.attrs["id"] = found.subject // a login can be renamed, and then be another's
	found.app = textAt(found.attrs, "type") == "Bot"
	if err := g.address(ctx, token, found); err != nil {
		return nil, err
	}
	return found, g.memberships(ctx, token, found)
}

// check asks whether a token is our app's, and fills in whose it is. The answer
// echoes the token, which goes no further.
func (g *githubApp) check(ctx context.Context, token string, found *proof) error {
	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, g.api+"/applications/"+g.id+"/token", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header = g.header()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(g.id+":"+g.secret.Reveal())))
	markReplayable(req)
	r, err := g.client.do(ctx, req)
	if err != nil {
		return err
	}
	if err := g.trouble(r); err != nil {
		return err
	}
	switch r.Status {
	case http.StatusOK:
	case http.StatusNotFound:
		return authz.Reject(authz.ReasonInactive, "not a token of our app, or no longer good")
	case http.StatusUnauthorized, http.StatusUnprocessableEntity:
		return misconfigured("GitHub refuses our app (%d): are client_id and client_secret right?", r.Status)
	case http.StatusBadRequest:
		return misconfigured("GitHub does not take the question (400): does the server know version %s of the API?", githubVersion)
	default:
		return r.unexpected()
	}
	answer, err := r.object()
	if err != nil {
		return err
	}
	app, _ := answer["app"].(map[string]any)
	if found.client = textAt(app, "client_id"); found.client != g.id {
		return authz.Reject(authz.ReasonClient, "issued to client %q, which is not ours", shorten(found.client))
	}
	if user, ok := answer["user"].(map[string]any); ok {
		found.attrs = user
	}
	if list := textsAt(answer, "scopes"); list != nil {
		found.attrs["scope"] = strings.Join(list, " ")
	}
	if at, err := time.Parse(time.RFC3339, textAt(answer, "expires_at")); err == nil {
		found.expires = at
	}
	return nil
}

// trouble knows GitHub's way of throttling: 403, also of good tokens after
// somebody sent several bad ones.
func (g *githubApp) trouble(r *reply) error {
	if r.Status != http.StatusForbidden {
		return r.trouble(g.now())
	}
	wait := retryAfter(r.Header, g.now())
	if wait == 0 {
		wait = time.Minute // what its documentation asks for
	}
	return &authz.Unavailable{Throttled: true, RetryAfter: wait, Cause: errors.New("GitHub throttles us (403)")}
}

// githubVersion is the version of the API whose answers are read here.
const githubVersion = "2022-11-28"

func (g *githubApp) header() http.Header {
	return http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {githubVersion}}
}
