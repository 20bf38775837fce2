package trial

import (
	"context"
	"net/http"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// A Decider decides and says why: an authz.Engine.
type Decider interface {
	Explain(ctx context.Context, q authz.Request) (authz.Decision, []authz.Step)
}

// A Report is what was decided on a request. Its JSON is kept stable.
type Report struct {
	Decision string `json:"decision"` // allow, deny or unavailable
	Status   int    `json:"status"`   // what the caller would be answered; 200 where let through
	Reason   string `json:"reason"`
	User     string `json:"user"`
	Provider string `json:"provider"`
	Rule     string `json:"rule"`
	Steps    []Step `json:"steps"`

	Identity *authz.Identity `json:"-"` // of a caller who was let through
	Detail   string          `json:"-"` // what the provider said of a refusal
	Advice   string          `json:"-"` // what may be done about it; "" where the reason says it all
}

// A Step is one thing that was looked at.
type Step struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"` // ok, failed or skipped
	Detail  string `json:"detail"`
}

// The decisions.
const (
	Allow       = "allow"
	Deny        = "deny"
	Unavailable = "unavailable"
)

// Test has a request decided on. While the answer is that it cannot be told,
// it asks again until ready says that waiting will not change that, or ctx
// ends: keys that are still being fetched are no result.
func Test(ctx context.Context, d Decider, q authz.Request, ready func() bool) Report {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		settled := ready()
		decision, steps := d.Explain(ctx, q)
		if decision.Outcome != authz.Undecided || settled {
			return report(decision, steps)
		}
		select {
		case <-ctx.Done():
			return report(decision, steps)
		case <-tick.C:
		}
	}
}

func report(d authz.Decision, steps []authz.Step) Report {
	r := Report{
		Decision: Deny,
		Status:   status(d.Outcome),
		Reason:   d.Reason.String(),
		Provider: d.Provider,
		Steps:    []Step{},
		Identity: d.Identity,
		Detail:   d.Detail,
		Advice:   advice[d.Reason],
	}
	switch d.Outcome {
	case authz.Allowed, authz.Answered:
		r.Decision = Allow
	case authz.Undecided:
		r.Decision = Unavailable
	}
	if d.Identity != nil {
		r.User = d.Identity.User
	}
	if d.Rule != nil {
		r.Rule = d.Rule.Name
	}
	for _, s := range steps {
		r.Steps = append(r.Steps, Step{s.Name, s.Outcome, s.Detail})
	}
	return r
}

// status is what the caller is answered.
func status(o authz.Outcome) int {
	switch o {
	case authz.Allowed, authz.Answered:
		return http.StatusOK
	case authz.Unauthenticated:
		return http.StatusUnauthorized
	case authz.Malformed:
		return http.StatusBadRequest
	case authz.Forbidden:
		return http.StatusForbidden
	}
	return http.StatusServiceUnavailable
}

// advice says in a sentence what an administrator may do about a denial.
var advice = map[authz.Reason]string{
	authz.ReasonNoOwner:          "no provider of this rule issues such credentials: compare the token's issuer with the providers' settings, and the rule's providers",
	authz.ReasonAudience:         "the token is meant for another API: request it for one of the provider's audiences, or add its audience there",
	authz.ReasonClient:           "the token was issued to another app: request it with client_id, or add its client to allowed_clients",
	authz.ReasonIssuer:           "the token was issued by somebody else than the provider's issuer",
	authz.ReasonExpired:          "fetch a new token, and compare this machine's clock with the provider's",
	authz.ReasonUnknownKey:       "the provider does not publish the key that the token names: it may be of another tenant or realm",
	authz.ReasonUsername:         "none of the attributes under username holds a usable name: run 'gatelodge attributes' with this token",
	authz.ReasonAppOnly:          "the token speaks for an app and has no user: map its client under service_accounts",
	authz.ReasonTenant:           "the token's tenant is not among allowed_tenants",
	authz.ReasonMisconfigured:    "the provider refuses our own client: check client_id and client_secret",
	authz.ReasonScope:            "the token lacks a scope that the rule's allow.scopes asks for",
	authz.ReasonGroupNotAllowed:  "the user is in none of the rule's allow.groups: run 'gatelodge attributes' to see the groups that the token has",
	authz.ReasonUserNotAllowed:   "the user is not among the rule's allow.users",
	authz.ReasonClientNotAllowed: "the client is not among the rule's allow.clients",
	authz.ReasonAmbiguousPath:    "the path can be read in more than one way; see the setting paths",
}
