package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// A storm of changes, a third of them files that cannot be served by: every
// decision that falls into it is made under one configuration, whole, and the
// gate is open at no moment to whom each of them refuses.
func TestStormOfChanges(t *testing.T) {
	i := providertest.NewIssuer(t)
	texts := make([]string, 3)
	for n := range 2 {
		texts[n] = fmt.Sprintf(`
headers: {user: x-user-%d, email: '', groups: ''}
providers:
  - {name: sso-0, type: oidc, issuer: %[2]q, audiences: api, username: preferred_username}
  - {name: sso-1, type: oidc, issuer: %[2]q, audiences: api, username: email}
  - {name: comes-and-goes, type: oidc, issuer: "http://127.0.0.1:1/%[1]d", audiences: api}
rules:
  - {name: rule-%[1]d, match: {paths: /rest/**}, providers: sso-%[1]d}
  - {name: open-%[1]d, match: {paths: "/open-%[1]d"}, access: public}
  - {name: shut, match: {paths: /shut}, access: deny}
  - {name: others, match: {paths: /**}, providers: sso-%[1]d}
`, n, i.URL)
	}
	texts[2] = texts[0] + "  - {name: bad, access: everybody}\n"
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	parse := func(n int) (*config.Config, error) {
		c, _, err := config.Parse("g.yaml", []byte(texts[n]), func(string) (string, bool) { return "", false })
		return c, err
	}
	first, err := parse(0)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(first, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()

	stop := make(chan struct{})
	var asked atomic.Int64
	var callers sync.WaitGroup
	good := i.Token("alice", nil)
	ask := func(path, token string) authz.Decision {
		asked.Add(1)
		q := authz.Request{Method: "GET", Host: "api", Path: path}
		if token != "" {
			q.Headers = []authz.Header{{Name: "authorization", Value: "Bearer " + token}}
		}
		return g.Decide(context.Background(), q)
	}
	for range 4 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				d := ask("/rest/x", good)
				whole := [4]string{d.Rule.Name, d.Provider, d.Policy.Headers.User, userOf(&d)}
				if d.Outcome != authz.Allowed || whole != [4]string{"rule-0", "sso-0", "x-user-0", "alice"} && whole != [4]string{"rule-1", "sso-1", "x-user-1", "alice@example.com"} {
					t.Errorf("a good token: %v, %v %s: %q", d.Outcome, d.Reason, d.Detail, whole)
					return
				}
				for _, d := range []authz.Decision{ask("/rest/x", ""), ask("/rest/x", good+"A"), ask("/shut", good), ask("/open-2", "")} {
					if d.Outcome == authz.Allowed {
						t.Errorf("let through: %v %v", d.Reason, d.Rule)
						return
					}
				}
			}
		})
	}
	changes, refused := realtest.Scale(300, 5000), 0
	for n := range changes {
		c, err := parse(n % 3)
		if err != nil {
			refused++
			continue
		}
		if err := g.Change(c); err != nil {
			t.Errorf("change %d: %v", n, err)
		}
	}
	close(stop)
	callers.Wait()
	realtest.Measured(t, "%d changes, %d of them refused, under %d decisions: none of two configurations, none let through", changes, refused, asked.Load())
}

func userOf(d *authz.Decision) string {
	if d.Identity == nil {
		return ""
	}
	return d.Identity.User
}
