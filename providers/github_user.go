package providers

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/gatelodge/gatelodge/authz"
)

// get makes a call with the user's own token.
func (g *githubApp) get(ctx context.Context, token, path string) (*reply, error) {
	r, err := g.client.getAs(ctx, g.api+path, token, g.header())
	if err != nil {
		return nil, err
	}
	switch {
	case r.Status == http.StatusOK:
		return r, nil
	case r.Status == http.StatusUnauthorized:
		return nil, authz.Reject(authz.ReasonInactive, "GitHub does not take the token (401)")
	case r.Status == http.StatusForbidden && r.Header.Get("X-GitHub-SSO") != "":
		return nil, authz.Reject(authz.ReasonInactive, "the token is not authorized for the organization's single sign-on")
	}
	if err := g.trouble(r); err != nil {
		return nil, err
	}
	return nil, r.unexpected()
}

// githubPage is how many memberships are asked for; who has more has a list
// that is not whole.
const githubPage = 100

// memberships adds the organizations and teams of the user, where groups are
// made of them. A token without the scope for it shows only a part.
func (g *githubApp) memberships(ctx context.Context, token string, found *proof) error {
	for name, path := range map[string]string{"organizations": "/user/orgs", "teams": "/user/teams"} {
		if !slices.Contains(g.groups, name) || found.app {
			continue
		}
		granted := scopes(found.attrs)
		if !slices.ContainsFunc([]string{"read:org", "write:org", "admin:org"}, func(s string) bool { return slices.Contains(granted, s) }) {
			found.groupsUnknown = true
			continue
		}
		r, err := g.get(ctx, token, fmt.Sprintf("%s?per_page=%d", path, githubPage))
		if err != nil {
			return err
		}
		list, err := r.list()
		if err != nil {
			return err
		}
		found.groupsUnknown = found.groupsUnknown || len(list) >= githubPage
		found.attrs[name] = githubNames(list)
	}
	return nil
}

// githubNames are logins of organizations, or organization/team.
func githubNames(list []any) []any {
	names := []any{}
	for _, e := range list {
		o, _ := e.(map[string]any)
		name := textAt(o, "login")
		if org, ok := o["organization"].(map[string]any); ok {
			name = textAt(org, "login") + "/" + textAt(o, "slug")
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// address puts the user's own address in the place of the one that they show to
// everybody, or none: only one that is verified, and the first of them, is theirs.
func (g *githubApp) address(ctx context.Context, token string, found *proof) error {
	delete(found.attrs, "email")
	if !g.email || found.app {
		return nil
	}
	r, err := g.client.getAs(ctx, g.api+"/user/emails", token, g.header())
	if err != nil {
		return err
	}
	hidden := r.Status == http.StatusNotFound || r.Status == http.StatusForbidden && retryAfter(r.Header, g.now()) == 0
	if hidden {
		authz.Record(ctx, "e-mail", authz.StepSkipped, "GitHub does not show it; the token needs the scope user:email")
		return nil
	}
	if err := g.trouble(r); err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return r.unexpected()
	}
	list, err := r.list()
	if err != nil {
		return err
	}
	for _, e := range list {
		if o, _ := e.(map[string]any); o["primary"] == true && o["verified"] == true {
			found.attrs["email"] = textAt(o, "email")
		}
	}
	return nil
}
