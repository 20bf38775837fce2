package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// graphTokens is Entra's other way: a token for Microsoft Graph, and Graph asked
// whose it is. Nobody but Graph can check such a token, and Graph takes those of
// any app in any directory. So the token is read first: its app must be ours and
// its directory allowed. What was read counts only because Graph then takes the
// very same bytes.
type graphTokens struct {
	client  *client
	now     func() time.Time
	graph   string
	tenants []string
	clients []string
	issuers []string
	takes   func(audience string) bool
	groups  bool // the user's groups are asked for
}

// graphID is the resource id of Microsoft Graph, which is the audience of some
// of its tokens.
const graphID = "00000003-0000-0000-c000-000000000000"

func graphAudience(c Config, audience string) bool {
	host := strings.TrimSuffix(audience, "/")
	return audience == graphID || host == entraClouds[c.Cloud].graph || host == strings.TrimSuffix(c.Endpoints.Graph, "/")
}

func newGraph(c Config, env Env) (Provider, error) {
	issuers := entraIssuers(c)
	m, _ := newMapper(c, issuers[0], "userPrincipalName")
	m.issuers = issuers
	if len(c.Email) == 0 {
		m.email = []string{"mail"}
	}
	p, err := newAsked(c, env, Shape{Issuers: issuers}, m)
	if err != nil {
		return nil, err
	}
	g := &graphTokens{
		client: p.client, now: env.Now, graph: strings.TrimSuffix(c.Endpoints.Graph, "/"), tenants: entraTenants(c), clients: c.AllowedClients, issuers: issuers,
		takes: func(audience string) bool { return graphAudience(c, audience) }, groups: slices.Contains(c.Groups, "groups"),
	}
	if len(g.clients) == 0 {
		g.clients = []string{c.ClientID}
	}
	p.screen, p.prove = g.screen, g.prove
	return p, nil
}

// screen reads the token, and refuses what is not of our app, before Graph is
// asked. Nothing in it is proven yet.
func (g *graphTokens) screen(_ context.Context, token string) (*proof, error) {
	read := readClaims(token)
	if read.err != nil {
		return nil, read.err // Microsoft may change the form: then nothing ties it to our app
	}
	claims := read.all
	audience, err := audienceOf(claims)
	if err != nil {
		return nil, err
	}
	client := firstText(claims, "appid", "azp")
	exp, there, err := timeOf(claims, "exp")
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(g.issuers, textAt(claims, "iss")):
		return nil, authz.Reject(authz.ReasonIssuer, "iss is not the provider's")
	case len(audience) != 1 || !g.takes(audience[0]):
		return nil, authz.Reject(authz.ReasonAudience, "aud is not Microsoft Graph")
	case !slices.Contains(g.tenants, textAt(claims, "tid")):
		return nil, authz.Reject(authz.ReasonTenant, "tid is not among the allowed tenants")
	case !slices.Contains(g.clients, client):
		return nil, authz.Reject(authz.ReasonClient, "issued to client %q, which is not among the allowed ones", shorten(client))
	case entraApp(claims):
		return nil, authz.Reject(authz.ReasonAppOnly, "a token without a user, which Graph shows no profile for; take tokens for an API of your own")
	case !there || !g.now().Before(exp):
		// Not ReasonExpired: nothing has proven that it ever was good.
		return nil, authz.Reject(authz.ReasonInactive, "exp is over")
	}
	return &proof{attrs: claims, client: client, expires: exp, groupsUnknown: true}, nil
}

// prove asks Graph whose the token is.
func (g *graphTokens) prove(ctx context.Context, token string, read *proof) (*proof, error) {
	r, err := g.client.getAs(ctx, g.graph+"/v1.0/me", token, nil)
	if err != nil {
		return nil, err
	}
	if err := g.refusal(r); err != nil {
		return nil, err
	}
	me, err := r.object()
	if err != nil {
		return nil, err
	}
	id, oid, tid := textAt(me, "id"), textAt(read.attrs, "oid"), textAt(read.attrs, "tid")
	if id == "" {
		return nil, &authz.Unavailable{Cause: errors.New("the profile has no id")}
	}
	if err := sameSubject(oid, id); err != nil {
		return nil, err
	}
	for _, name := range []string{"iss", "tid", "scp", "uti", "sid"} {
		if v, there := read.attrs[name]; there {
			me[name] = v
		}
	}
	found := &proof{attrs: me, subject: tid + ":" + id, client: read.client, expires: read.expires, groupsUnknown: true}
	if !g.groups {
		return found, nil
	}
	return found, g.memberships(ctx, token, found)
}

// refusal reads Graph's errors
// (https://learn.microsoft.com/graph/errors).
func (g *graphTokens) refusal(r *reply) error {
	if err := r.trouble(g.now()); err != nil {
		return err
	}
	answer, _ := r.object()
	fault, _ := answer["error"].(map[string]any)
	code := plainCode(textAt(fault, "code"))
	switch r.Status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return authz.Reject(authz.ReasonInactive, "Graph does not take the token (401 %s)", code)
	case http.StatusBadRequest:
		return authz.Reject(authz.ReasonAppOnly, "Graph shows no profile for the token (400 %s): it has no user", code)
	case http.StatusForbidden:
		return withSome(misconfigured("Graph does not show the user's profile (403 %s): the app needs the delegated permission User.Read (API permissions)", code))
	case http.StatusNotFound:
		return misconfigured("Graph answers with status 404 %s: is endpoints.graph right?", code)
	}
	return r.unexpected()
}

// maxGroupPages bounds how many pages of 100 groups are read: who is in more
// has a list that is not whole.
const maxGroupPages = 20

// memberships adds the ids of all groups that the user is in, also by way of
// another group. Where Graph does not show them they stay unknown.
func (g *graphTokens) memberships(ctx context.Context, token string, found *proof) error {
	groups := []any{}
	next := g.graph + "/v1.0/me/transitiveMemberOf?$select=id&$top=100"
	for range maxGroupPages {
		r, err := g.client.getAs(ctx, next, token, http.Header{"ConsistencyLevel": {"eventual"}})
		if err != nil {
			return err
		}
		if r.Status == http.StatusForbidden {
			authz.Record(ctx, "groups", authz.StepSkipped, "Graph does not show them; the app needs the permission GroupMember.Read.All")
			return nil
		}
		if err := g.refusal(r); err != nil {
			return err
		}
		page, err := r.object()
		if err != nil {
			return err
		}
		list, ok := page["value"].([]any)
		if !ok {
			return &authz.Unavailable{Cause: errors.New("a page of groups has no value")}
		}
		for _, e := range list {
			o, _ := e.(map[string]any)
			if kind := textAt(o, "@odata.type"); kind == "" || kind == "#microsoft.graph.group" {
				groups = append(groups, o["id"])
			}
		}
		next = textAt(page, "@odata.nextLink")
		if next == "" {
			found.attrs["groups"], found.groupsUnknown = groups, false
			return nil
		}
		if !strings.HasPrefix(next, g.graph+"/") {
			return &authz.Unavailable{Cause: fmt.Errorf("a page of groups goes on at another host, which the token is not shown")}
		}
	}
	return nil
}
