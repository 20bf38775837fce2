package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// routesConfig has rules by what Envoy's routes say of themselves.
const routesConfig = `
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q], groups: [groups]}
rules:
  - {name: open, match: {context: {app: [open]}}, access: public}
  - {name: ops, match: {context: {app: [billing], stage: []}}, allow: {groups: [ops]}}
  - {name: admins, match: {context: {app: [billing]}}, allow: {groups: [admins]}}
  - {name: asked, match: {paths: [/asked/**]}, when: 'request.context.app == "wiki" && identity.user == "alice"'}
`

// routes are the routes of Envoy: what each says stands in its own settings of
// the filter, where no caller has a say.
var routes = map[string]string{
	"/open/": "{app: open}", "/billing/staged/": "{app: billing, stage: test}", "/billing/": "{app: billing}",
	"/asked/wiki/": "{app: wiki}", "/asked/other/": "{app: other}", "/rest/": "{}",
}

// TestRoutes gives each route of Envoy settings of its own (context_extensions)
// and has rules go by them.
func TestRoutes(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serve(t, fmt.Sprintf(routesConfig, i.url, audience))
	g.awaitReady(t)
	u := newUpstream(t)
	const plain = `              - {match: {prefix: ""}, route: {cluster: upstream, timeout: 15s}}` + "\n"
	var list strings.Builder
	for _, prefix := range []string{"/open/", "/billing/staged/", "/billing/", "/asked/wiki/", "/asked/other/", "/rest/"} {
		fmt.Fprintf(&list, `              - match: {prefix: %s}
                route: {cluster: upstream}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    check_settings: {context_extensions: %s}
`, prefix, routes[prefix])
	}
	bootstrap := bootstrap(u.address, g.grpc)
	if !strings.Contains(bootstrap, plain) {
		t.Fatal("the bootstrap has another route")
	}
	f := &front{upstream: u, envoy: realtest.Envoy(t, strings.ReplaceAll(bootstrap, plain, list.String()+plain))}
	alice := bearer(i.token("alice")) // in the groups eng and ops
	root := bearer(i.sign(i.claims("root").with(claims{"groups": []string{"admins"}})))
	claimed := field{"app", "open"}
	for _, c := range []struct {
		name, target string
		headers      []field
		status       int
		user         string
	}{
		{"public by its route", "/open/x", []field{claimed}, 0, ""},
		{"not public by what the caller says", "/rest/x", []field{claimed, {"context", "app=open"}, {"x-envoy-context-extensions", "app=open"}}, 401, ""},
		{"nor by the query", "/rest/x?app=open", []field{claimed}, 401, ""},
		{"in the group", "/billing/staged/x", []field{alice}, 0, "alice"},
		{"the route does not say it", "/billing/x", []field{alice}, 403, ""},
		{"in that one's group", "/billing/x", []field{root}, 0, "root"},
		{"not in the group", "/billing/staged/x", []field{root}, 403, ""},
		{"no credential", "/billing/x", []field{claimed}, 401, ""},
		{"an expression", "/asked/wiki/x", []field{alice}, 0, "alice"},
		{"an expression, another user", "/asked/wiki/x", []field{root}, 403, ""},
		{"an expression, another route", "/asked/other/x", []field{alice, {"app", "wiki"}}, 403, ""},
		{"an expression, a route that says nothing", "/asked/x", []field{alice, {"app", "wiki"}}, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				q := request{target: c.target, headers: c.headers}
				r, seen := f.send(t, p, v, q)
				if c.status == 0 {
					passes(t, q, r, seen, c.user)
				} else {
					refused(t, q, r, seen, c.status)
				}
			})
		})
	}
}
