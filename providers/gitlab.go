package providers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// gitlab asks a GitLab server whose application a token was issued to
// (/oauth/token/info, or introspection), and then for the user's profile, which
// the first answer does not have (https://docs.gitlab.com/api/oauth2/).
var gitlab = Kind{
	Type: "gitlab",
	Keys: []string{"base_url", "allow_personal_tokens"},
	Defaults: func(c *Config) {
		setDefault(&c.BaseURL, "https://gitlab.com")
		c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
		setDefault(&c.Endpoints.API, c.BaseURL+"/api/v4")
		setDefault(&c.Endpoints.Userinfo, c.BaseURL+"/oauth/userinfo")
		setDefault(&c.Endpoints.Introspection, c.BaseURL+"/oauth/introspect")
	},
	Check: checkGitLab,
	Places: map[string]string{
		"client_id":       "under User settings (or Admin) → Applications → the application, as Application ID",
		"client_secret":   "under User settings (or Admin) → Applications → the application, as Secret",
		"allowed_clients": "under User settings (or Admin) → Applications → each application, as Application ID",
	},
	Warn: func(c Config) []authz.Fault {
		if !c.AllowPersonalTokens {
			return nil
		}
		return []authz.Fault{{Key: "allow_personal_tokens", Problem: "a personal access token was made for some other purpose, is bound to no application, and opens all its scopes at GitLab to whoever sees it here"}}
	},
	Shape:  gitlabShape,
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: c.BaseURL} },
	New:    newGitLab,
}

// personalGitLab starts a personal access token, of a person, project or group.
const personalGitLab = "glpat-"

// gitlabShape: OAuth tokens of GitLab have no form of their own.
func gitlabShape(c Config) Shape {
	s := Shape{CatchAll: true}
	if c.AllowPersonalTokens {
		s.Prefixes = []string{personalGitLab}
	}
	return s
}

func checkGitLab(c Config) []authz.Fault {
	_, mapping := newMapper(c, "")
	faults := append(endpointFaults(c), mapping...)
	if len(gitlabClients(c)) == 0 {
		faults = append(faults, authz.Fault{Key: "client_id", Problem: "is missing: without it tokens of any application would be taken"})
	}
	switch c.Validation {
	case "", "profile":
	case "introspection":
		faults = append(faults, clientAuthFaults(c)...)
	default:
		faults = append(faults, validationFault(c, "profile (token/info)", "introspection"))
	}
	return faults
}

// gitlabClients are the applications whose tokens are taken.
func gitlabClients(c Config) []string {
	if len(c.AllowedClients) == 0 && c.ClientID != "" {
		return []string{c.ClientID}
	}
	return c.AllowedClients
}

func newGitLab(c Config, env Env) (Provider, error) {
	m, _ := newMapper(c, c.BaseURL, "preferred_username", "username")
	p, err := newAsked(c, env, gitlabShape(c), m)
	if err != nil {
		return nil, err
	}
	g := &gitlabServer{
		client: p.client, now: env.Now, base: c.BaseURL, clients: gitlabClients(c),
		userinfo: &profile{client: p.client, now: env.Now, url: c.Endpoints.Userinfo, scope: "openid"},
		user:     &profile{client: p.client, now: env.Now, url: c.Endpoints.API + "/user", scope: "read_user"},
	}
	g.bind = g.info
	if c.Validation == "introspection" {
		auth, err := newClientAuth(c, env, "")
		if err != nil {
			return nil, fmt.Errorf("client_key: %w", err)
		}
		rules := newJWTRules(Config{AllowedClients: g.clients})
		rules.endless = true
		i := &introspector{client: p.client, auth: auth, rules: rules, now: env.Now}
		i.locate = func(context.Context) (string, error) { return c.Endpoints.Introspection, nil }
		g.bind = func(ctx context.Context, token string) (*proof, error) { return i.prove(ctx, token, nil) }
		p.never = "GitLab shows an application its own tokens alone; client_id is to be the one that the users' tokens were issued to"
	}
	p.prove = g.prove
	return p, nil
}

type gitlabServer struct {
	client         *client
	now            func() time.Time
	base           string
	clients        []string
	bind           func(ctx context.Context, token string) (*proof, error) // proves whose application's a token is
	userinfo, user *profile
}

func (g *gitlabServer) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	if strings.HasPrefix(token, personalGitLab) {
		found := &proof{attrs: map[string]any{}}
		return found, g.askUser(ctx, token, found)
	}
	found, err := g.bind(ctx, token)
	if err != nil || found.app {
		return found, err
	}
	granted := scopes(found.attrs)
	if slices.Contains(granted, "openid") {
		return found, g.askUserinfo(ctx, token, found)
	}
	if slices.ContainsFunc([]string{"api", "read_api", "read_user"}, func(s string) bool { return slices.Contains(granted, s) }) {
		return found, g.askUser(ctx, token, found)
	}
	return nil, authz.Reject(authz.ReasonClaims, "the token may not read its user's profile; it needs the scope openid or read_user")
}

// info asks token/info, which shows a token to whoever holds it.
func (g *gitlabServer) info(ctx context.Context, token string) (*proof, error) {
	r, err := g.client.getAs(ctx, g.base+"/oauth/token/info", token, nil)
	if err != nil {
		return nil, err
	}
	if err := r.trouble(g.now()); err != nil {
		return nil, err
	}
	switch r.Status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized: // by the server's version
		return nil, authz.Reject(authz.ReasonInactive, "GitLab does not know the token, or no longer")
	case http.StatusNotFound:
		return nil, misconfigured("token/info was answered with status 404: is base_url right?")
	default:
		return nil, r.unexpected()
	}
	answer, err := r.object()
	if err != nil {
		return nil, err
	}
	app, _ := answer["application"].(map[string]any)
	found := &proof{attrs: map[string]any{"scope": answer["scope"]}, client: textAt(app, "uid")}
	if !slices.Contains(g.clients, found.client) {
		return nil, authz.Reject(authz.ReasonClient, "issued to application %q, which is not among the allowed ones", shorten(found.client))
	}
	if seconds, ok := number(answer["expires_in"]); ok {
		found.expires = g.now().Add(time.Duration(min(max(seconds, 0), 86400*366)) * time.Second)
	}
	switch owner := answer["resource_owner_id"].(type) {
	case int64:
		found.subject = strconv.FormatInt(owner, 10)
	case nil:
		found.app = true // of client credentials
	default:
		return nil, &authz.Unavailable{Cause: errors.New("token/info has an owner that is not a number")}
	}
	return found, nil
}

// askUserinfo adds the OpenID profile, with the user's groups.
func (g *gitlabServer) askUserinfo(ctx context.Context, token string, found *proof) error {
	attrs, err := g.userinfo.get(ctx, token)
	if err != nil {
		return err
	}
	return found.addGitLab(attrs, textAt(attrs, "sub"))
}

// askUser adds the API's profile, which has no groups.
func (g *gitlabServer) askUser(ctx context.Context, token string, found *proof) error {
	attrs, err := g.user.get(ctx, token)
	if err != nil {
		return err
	}
	id, ok := attrs["id"].(int64)
	if !ok {
		return &authz.Unavailable{Cause: errors.New("the profile has no id")}
	}
	found.groupsUnknown = true
	found.app = attrs["bot"] == true // of a project's or a group's own token
	attrs["id"] = strconv.FormatInt(id, 10)
	return found.addGitLab(attrs, textAt(attrs, "id"))
}

func (f *proof) addGitLab(attrs map[string]any, user string) error {
	if user == "" {
		return &authz.Unavailable{Cause: errors.New("the profile does not say whose it is")}
	}
	if err := sameSubject(f.subject, user); err != nil {
		return err
	}
	f.subject = user
	maps.Copy(attrs, f.attrs)
	f.attrs = attrs
	return nil
}
