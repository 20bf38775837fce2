package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// slack asks Slack whose a token is. Nothing that Slack answers about a user's
// token names the app that it was issued to: what is proven is the workspace,
// so those are listed, and settings warn of the rest
// (https://docs.slack.dev/reference/methods/auth.test).
var slack = Kind{
	Type:     "slack",
	Keys:     []string{"allowed_teams", "allow_bots"},
	Defaults: func(c *Config) { setDefault(&c.Endpoints.API, "https://slack.com/api") },
	Check:    checkSlack,
	Places: map[string]string{
		"allowed_teams":   "in the address of Slack in a browser, app.slack.com/client/T0123…, or under Organization settings → Organization ID, as E0123…",
		"allowed_clients": "at api.slack.com/apps → the app → Basic Information, as App ID",
	},
	Warn: func(c Config) []authz.Fault {
		warnings := []authz.Fault{{Key: "allowed_teams", Problem: "is all that binds a user's token of Slack: one of any app that is installed in these workspaces is accepted"}}
		if c.AllowBots && len(c.AllowedClients) == 0 {
			warnings = append(warnings, authz.Fault{Key: "allow_bots", Problem: "the bot of any app in these workspaces is accepted; name the apps (A0123…) in allowed_clients, and give them the scope users:read"})
		}
		return warnings
	},
	Shape: func(Config) Shape { return slackShape },
	SignIn: func(Config) Endpoints {
		return Endpoints{Authorization: "https://slack.com/openid/connect/authorize", Token: "https://slack.com/api/openid.connect.token"}
	},
	New: newSlack,
}

// slackShape: tokens of users and of bots, also those that end and are renewed.
// Refresh (xoxe-), app-level (xapp-) and browser tokens (xoxc-, xoxd-) speak for
// nobody here.
var slackShape = Shape{Prefixes: []string{"xoxp-", "xoxb-", "xoxe.xoxp-", "xoxe.xoxb-"}}

var (
	slackTeam = regexp.MustCompile(`^[TE][A-Z0-9]{2,}$`)
	slackApp  = regexp.MustCompile(`^A[A-Z0-9]{2,}$`)
)

func checkSlack(c Config) []authz.Fault {
	_, mapping := newMapper(c, "")
	faults := append(endpointFaults(c), mapping...)
	if len(c.AllowedTeams) == 0 {
		faults = append(faults, authz.Fault{Key: "allowed_teams", Problem: "is missing: without it a token of any workspace in the world would be taken"})
	}
	for i, t := range c.AllowedTeams {
		if !slackTeam.MatchString(t) {
			faults = append(faults, authz.Fault{Key: fmt.Sprintf("allowed_teams[%d]", i), Problem: fmt.Sprintf("%q is not the id of a workspace (T0123ABC) or an enterprise (E0123ABC)", t)})
		}
	}
	for i, a := range c.AllowedClients {
		if !slackApp.MatchString(a) || !c.AllowBots {
			faults = append(faults, authz.Fault{Key: fmt.Sprintf("allowed_clients[%d]", i), Problem: fmt.Sprintf("%q: with type slack these are ids of apps, as A0123ABC, and need allow_bots: true: only a bot's token can be told to be of an app", a)})
		}
	}
	if c.Validation != "" && c.Validation != "profile" {
		faults = append(faults, validationFault(c, "profile (openid.connect.userInfo)"))
	}
	return faults
}

func newSlack(c Config, env Env) (Provider, error) {
	username := "user"
	if c.Validation == "profile" {
		username = "email"
	}
	m, _ := newMapper(c, "https://slack.com", username)
	p, err := newAsked(c, env, slackShape, m)
	if err != nil {
		return nil, err
	}
	s := &slackAPI{client: p.client, now: env.Now, api: strings.TrimSuffix(c.Endpoints.API, "/"), teams: c.AllowedTeams, bots: c.AllowBots, apps: c.AllowedClients}
	p.screen, p.prove = s.screen, s.prove
	if c.Validation == "profile" {
		p.prove = s.proveProfile
	}
	return p, nil
}

type slackAPI struct {
	client *client
	now    func() time.Time
	api    string
	teams  []string
	bots   bool
	apps   []string // whose bots are taken; empty: of any
}

func isSlackBot(token string) bool {
	return strings.HasPrefix(strings.TrimPrefix(token, "xoxe."), "xoxb-")
}

func (s *slackAPI) screen(_ context.Context, token string) (*proof, error) {
	if isSlackBot(token) && !s.bots {
		return nil, authz.Reject(authz.ReasonAppOnly, "a bot's token, and allow_bots is not set")
	}
	return nil, nil
}

// prove asks auth.test, which every token may.
func (s *slackAPI) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	answer, err := s.call(ctx, token, "auth.test", nil)
	if err != nil {
		return nil, err
	}
	team, user := textAt(answer, "team_id"), textAt(answer, "user_id")
	if err := s.member(team, user, textAt(answer, "enterprise_id")); err != nil {
		return nil, err
	}
	found := &proof{attrs: answer, subject: team + ":" + user}
	bot := textAt(answer, "bot_id")
	if bot == "" && !isSlackBot(token) {
		return found, nil
	}
	if !s.bots || bot == "" {
		return nil, authz.Reject(authz.ReasonAppOnly, "a bot's token")
	}
	found.app, found.client = true, bot
	return found, s.bindBot(ctx, token, found)
}

// bindBot makes sure that a bot is of one of our apps, and names it by its app.
func (s *slackAPI) bindBot(ctx context.Context, token string, found *proof) error {
	if len(s.apps) == 0 {
		return nil
	}
	answer, err := s.call(ctx, token, "bots.info", url.Values{"bot": {found.client}})
	if err != nil {
		return err
	}
	bot, _ := answer["bot"].(map[string]any)
	app := textAt(bot, "app_id")
	if !slices.Contains(s.apps, app) || textAt(bot, "id") != found.client {
		return authz.Reject(authz.ReasonClient, "a bot of the app %q, which is not among the allowed ones", shorten(app))
	}
	found.client = app
	return nil
}

// proveProfile asks openid.connect.userInfo, which needs the scope openid and
// has the user's address.
func (s *slackAPI) proveProfile(ctx context.Context, token string, _ *proof) (*proof, error) {
	answer, err := s.call(ctx, token, "openid.connect.userInfo", nil)
	if err != nil {
		return nil, err
	}
	const claim = "https://slack.com/"
	team, user := textAt(answer, claim+"team_id"), textAt(answer, claim+"user_id")
	if err := s.member(team, user, textAt(answer, claim+"enterprise_id")); err != nil {
		return nil, err
	}
	dropUnverifiedEmail(answer)
	return &proof{attrs: answer, subject: team + ":" + user}, nil
}

func (s *slackAPI) member(team, user, enterprise string) error {
	switch {
	case team == "" || user == "":
		return &authz.Unavailable{Cause: errors.New("the answer of Slack has no team or user")}
	case slices.Contains(s.teams, team), enterprise != "" && slices.Contains(s.teams, enterprise):
		return nil
	}
	return authz.Reject(authz.ReasonTenant, "of the workspace %q, which is not among allowed_teams", shorten(team))
}

// call calls a method in the name of a token. All answers have status 200:
// whether they are good stands in ok.
func (s *slackAPI) call(ctx context.Context, token, method string, form url.Values) (map[string]any, error) {
	req, err := http.NewRequest(http.MethodPost, s.api+"/"+method, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	markReplayable(req)
	r, err := s.client.do(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := r.trouble(s.now()); err != nil {
		return nil, err
	}
	if r.Status == http.StatusNotFound {
		return nil, misconfigured("Slack answers with status 404: is endpoints.api right?")
	}
	answer, err := r.object()
	if err != nil {
		return nil, err
	}
	switch answer["ok"] {
	case true:
		return answer, nil
	case false:
		return nil, slackRefusal(plainCode(textAt(answer, "error")), retryAfter(r.Header, s.now()))
	}
	return nil, r.unexpected()
}

// slackRefusal tells the errors that are about the token from those that are
// not. One that is not known says nothing about the token.
func slackRefusal(code string, wait time.Duration) error {
	switch code {
	case "invalid_auth":
		return authz.Reject(authz.ReasonInactive, "Slack: %s", code)
	case "token_revoked", "account_inactive":
		return authz.Reject(authz.ReasonRevoked, "Slack: %s", code)
	case "token_expired":
		return authz.Reject(authz.ReasonExpired, "Slack: %s", code)
	case "not_allowed_token_type":
		return authz.Reject(authz.ReasonTokenType, "Slack: %s", code)
	case "missing_scope", "no_permission":
		return withSome(misconfigured("Slack: %s; the app is to ask for the scope openid for userInfo, users:read for bots.info (api.slack.com/apps → the app → OAuth & Permissions)", code))
	case "bot_not_found":
		return authz.Reject(authz.ReasonClient, "Slack: %s", code)
	case "ratelimited":
		return &authz.Unavailable{Throttled: true, RetryAfter: wait, Cause: errors.New("throttled by Slack")}
	case "not_authed":
		return misconfigured("Slack saw no token: does something on the way take the Authorization header out?")
	}
	return &authz.Unavailable{Cause: fmt.Errorf("no answer about the token from Slack: %s", code)}
}
