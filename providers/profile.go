package providers

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// profile asks "who am I" with the caller's token: the third block that
// providers are made of. An answer proves somebody by the token of some app,
// never that the token is for us: it is used after a check that proves that,
// or where app_binding says in so many words that none is wanted.
type profile struct {
	client *client
	now    func() time.Time
	url    string
	locate func(ctx context.Context) (string, error) // where url is empty
	header http.Header                               // besides Authorization
	scope  string                                    // what a token needs for it, for the log
}

// get returns the profile. A token that the provider does not take is refused.
func (p *profile) get(ctx context.Context, token string) (map[string]any, error) {
	address := p.url
	if address == "" {
		var err error
		if address, err = p.locate(ctx); err != nil {
			return nil, err
		}
	}
	r, err := p.client.getAs(ctx, address, token, p.header)
	if err != nil {
		return nil, err
	}
	if err := r.trouble(p.now()); err != nil {
		return nil, err
	}
	switch r.Status {
	case http.StatusOK:
		return r.object()
	case http.StatusUnauthorized:
		return nil, authz.Reject(authz.ReasonInactive, "the provider does not take the token (401)")
	case http.StatusForbidden:
		return nil, authz.Reject(authz.ReasonClaims, "the token may not read its user's profile (403); it needs the scope %s", p.scope)
	case http.StatusNotFound:
		return nil, misconfigured("the profile was answered with status 404: is its address right?")
	}
	return nil, r.unexpected()
}

// add puts the profile beside what was proven of a token, which stands.
func (p *profile) add(ctx context.Context, token string, found *proof) (*proof, error) {
	attrs, err := p.get(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := sameSubject(textAt(found.attrs, "sub"), textAt(attrs, "sub")); err != nil {
		return nil, err
	}
	maps.Copy(attrs, found.attrs)
	found.attrs = attrs
	return found, nil
}

// getAs makes a GET with a token of the caller.
func (c *client) getAs(ctx context.Context, address, token string, header http.Header) (*reply, error) {
	h := header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if h.Get("Accept") == "" {
		h.Set("Accept", "application/json")
	}
	h.Set("Authorization", "Bearer "+token)
	return c.get(ctx, address, h)
}

// sameSubject makes sure that a profile is of the subject that was proven: two
// answers about two people are no identity (OpenID Connect Core §5.3.2). A check
// that names nobody leaves it to the profile, which the same token got.
func sameSubject(proven, shown string) error {
	if proven != "" && proven != shown {
		return authz.Reject(authz.ReasonClaims, "the profile is of somebody else than the token")
	}
	return nil
}
