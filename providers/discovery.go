package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// discovery reads the metadata of an issuer (OpenID Connect Discovery §4, or RFC
// 8414 §3 where there is none) and keeps it for a while.
type discovery struct {
	client *client
	issuer string   // that the metadata must name, byte for byte
	places []string // where it is looked for, in order
	now    func() time.Time

	mu   sync.Mutex
	last map[string]any
	at   time.Time
}

// metadataLife is how long metadata is kept.
const metadataLife = time.Hour

// newDiscovery makes a discovery at place, or at the issuer's well-known place.
func newDiscovery(c *client, env Env, issuer, place string) *discovery {
	places := []string{place}
	if place == "" {
		places = wellKnown(issuer)
	}
	return &discovery{client: c, issuer: issuer, places: places, now: env.Now}
}

// wellKnown are the places of an issuer's metadata: OpenID Connect puts the name
// behind the issuer's path, RFC 8414 before it.
func wellKnown(issuer string) []string {
	places := []string{strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"}
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return places
	}
	return append(places, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+strings.TrimSuffix(u.EscapedPath(), "/"))
}

// endpoint returns a URL of the metadata. Every URL is checked like one of the
// configuration: metadata may not lead us to plain http.
func (d *discovery) endpoint(ctx context.Context, name string) (string, error) {
	m, err := d.metadata(ctx)
	if err != nil {
		return "", err
	}
	address := textAt(m, name)
	if address == "" {
		return "", &authz.Unavailable{Misconfigured: true, Cause: fmt.Errorf("the metadata of %s has no %s", d.issuer, name)}
	}
	if err := checkURL(address, d.client.allowHTTP); err != nil {
		return "", &authz.Unavailable{Misconfigured: true, Cause: fmt.Errorf("%s in the metadata of %s %w", name, d.issuer, err)}
	}
	return address, nil
}

func (d *discovery) metadata(ctx context.Context) (map[string]any, error) {
	d.mu.Lock()
	last, fresh := d.last, d.now().Sub(d.at) < metadataLife
	d.mu.Unlock()
	if last != nil && fresh {
		return last, nil
	}
	m, err := d.fetch(ctx)
	if err != nil {
		if last != nil {
			return last, nil // what was good an hour ago is better than nothing
		}
		return nil, err
	}
	d.mu.Lock()
	d.last, d.at = m, d.now()
	d.mu.Unlock()
	return m, nil
}

func (d *discovery) fetch(ctx context.Context) (map[string]any, error) {
	var r *reply
	for _, place := range d.places {
		var err error
		if r, err = d.client.get(ctx, place, http.Header{"Accept": {"application/json"}}); err != nil {
			return nil, err
		}
		if r.Status != http.StatusNotFound {
			break
		}
	}
	if err := r.document("the metadata of "+d.issuer, d.now()); err != nil {
		return nil, err
	}
	m, err := parseObject(r.Body)
	if err != nil {
		return nil, fmt.Errorf("the metadata of %s: %w", d.issuer, err)
	}
	if got := textAt(m, "issuer"); got != d.issuer {
		return nil, &authz.Unavailable{Misconfigured: true, Cause: fmt.Errorf("the metadata names the issuer %q, the configuration %q; they must be equal to the letter", shorten(got), d.issuer)}
	}
	return m, nil
}
