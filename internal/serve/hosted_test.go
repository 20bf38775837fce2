package serve

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// hosts are the hosted providers, under their own names. Loopback is reached
// without the proxy, so that the other tests know nothing of it.
var hosts *providertest.Hosts

func TestMain(m *testing.M) {
	var err error
	if hosts, err = providertest.NewHosts(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Setenv("HTTPS_PROXY", hosts.URL); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	hosts.Close()
	os.Exit(code)
}

// A neighbour is a provider among the others: its settings name no endpoint
// that its type can find by itself.
type neighbour struct {
	name, settings string
	recorded       string // folder of its cases
	hosts          []string
	keys           []string // paths of its keys
	opaque         bool     // its tokens have no form of their own
}

const entraTenant = "/11111111-2222-3333-4444-555555555555"

const gitlabApp = "5f1c0a7e5f1c0a7e5f1c0a7e5f1c0a7e5f1c0a7e5f1c0a7e5f1c0a7e5f1c0a7e"

var street = []neighbour{
	{
		name: "entra", settings: "type: entra, tenant_id: 11111111-2222-3333-4444-555555555555, client_id: aaaaaaaa-0000-0000-0000-000000000001",
		recorded: "entra", hosts: []string{"login.microsoftonline.com"}, keys: []string{entraTenant + "/discovery/v2.0/keys", entraTenant + "/discovery/keys"},
	},
	{
		name:     "keycloak",
		settings: "type: keycloak, base_url: https://inner.example.com, realm: corp, issuer: https://sso.example.com/realms/corp, client_id: jira-api, client_secret: kc-secret, audiences: jira-api, validation: introspection",
		recorded: "keycloak/introspection", hosts: []string{"inner.example.com"},
	},
	{
		name: "okta", settings: "type: okta, domain: dev-123456.okta.com, authorization_server: default, allowed_clients: 0oa1a2b3c4d5e6f7g8h9",
		recorded: "okta", hosts: []string{"dev-123456.okta.com"}, keys: []string{"/oauth2/default/v1/keys"},
	},
	{
		name: "okta-org", settings: "type: okta, domain: org.okta.com, issuer: https://dev-123456.okta.com, client_id: 0oa1a2b3c4d5e6f7g8h9, client_secret: okta-secret, endpoints: {introspection: https://org.okta.com/oauth2/v1/introspect}",
		recorded: "okta/org", hosts: []string{"org.okta.com"}, opaque: true,
	},
	{
		name: "cognito", settings: "type: cognito, user_pool_id: eu-west-1_AbCdEf123, client_id: 4kdcmi1example",
		recorded: "cognito", hosts: []string{"cognito-idp.eu-west-1.amazonaws.com"}, keys: []string{"/eu-west-1_AbCdEf123/.well-known/jwks.json"},
	},
	{
		name: "google", settings: "type: google, client_id: 1234567890-abc123.apps.googleusercontent.com",
		recorded: "google", hosts: []string{"oauth2.googleapis.com"},
	},
	{
		name: "github", settings: "type: github, client_id: Iv1.0123456789abcdef, client_secret: gh-secret",
		recorded: "github", hosts: []string{"api.github.com"},
	},
	{
		name: "slack", settings: "type: slack, allowed_teams: [T12345678, E12345678]",
		recorded: "slack", hosts: []string{"slack.com"},
	},
	{
		name: "gitlab", settings: "type: gitlab, client_id: " + gitlabApp, recorded: "gitlab", hosts: []string{"gitlab.com"}, opaque: true,
	},
	{
		name: "facebook", settings: `type: facebook, client_id: "1234567890", client_secret: fb-secret`,
		recorded: "facebook", hosts: []string{"graph.facebook.com"}, opaque: true,
	},
	{
		name: "oidc", settings: "type: oidc, issuer: https://sso.example.com, audiences: https://api.example.com",
		recorded: "oidc", hosts: []string{"sso.example.com"}, keys: []string{"/jwks"},
	},
	{
		name:     "oauth2",
		settings: `type: oauth2, client_id: "api:1", client_secret: "s:cret /", audiences: https://api.example.com, endpoints: {introspection: https://login.example.com/introspect}`,
		recorded: "oauth2", hosts: []string{"login.example.com"}, opaque: true,
	},
}

// resident is a neighbour at home.
type resident struct {
	neighbour
	server *providertest.Server
	good   *providertest.Case
}

func (r *resident) recordedCase(t *testing.T, name string) *providertest.Case {
	t.Helper()
	return providertest.ReadCase(t, "../../providers/testdata/"+r.recorded+"/"+name+".txtar", r.server)
}

// moveIn brings every neighbour's servers up, each with its good case.
func moveIn(t *testing.T) (list []*resident) {
	t.Helper()
	for _, n := range street {
		r := &resident{neighbour: n, server: hosts.Server(t, n.hosts...)}
		r.server.ServeKeys(n.keys...)
		r.good = r.recordedCase(t, "good")
		r.server.Play(r.good)
		if n.name == "okta" || n.name == "oidc" {
			issuer := map[string]string{"okta": "https://dev-123456.okta.com/oauth2/default", "oidc": "https://sso.example.com"}[n.name]
			at := strings.TrimPrefix(issuer, "https://"+n.hosts[0]) + "/.well-known/openid-configuration"
			r.server.Answer("GET "+at, 200, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, "https://"+n.hosts[0]+n.keys[0]))
		}
		list = append(list, r)
	}
	return list
}

// asked is how often the resident was asked about a token.
func (r *resident) asked() (n int) {
	for _, c := range r.server.Calls() {
		if !strings.Contains(c.Target, "/.well-known/") {
			n++
		}
	}
	return n
}

// streetConfig has a rule for each provider alone, and one for each of those
// whose tokens have no form of their own together with all that can be told.
func streetConfig(more string) string {
	var b strings.Builder
	b.WriteString("listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {drain_delay: 1ms}\nproviders:\n")
	var told []string
	for _, n := range street {
		fmt.Fprintf(&b, "  - {name: %s, %s, ca_file: %q}\n", n.name, n.settings, hosts.CAFile)
		if !n.opaque {
			told = append(told, n.name)
		}
	}
	b.WriteString("rules:\n" + more)
	for _, n := range street {
		fmt.Fprintf(&b, "  - {match: {paths: [/alone/%s]}, providers: [%s]}\n", n.name, n.name)
		if n.opaque {
			fmt.Fprintf(&b, "  - {match: {paths: [/with/%s]}, providers: [%s, %s]}\n", n.name, n.name, strings.Join(told, ", "))
		}
	}
	b.WriteString("  - {access: deny}\n")
	return b.String()
}

// TestStreet has the types of providers in one configuration: each takes its
// own tokens, and no token is ever shown to another. All sign with one key here:
// a token is its issuer's alone.
func TestStreet(t *testing.T) {
	list := moveIn(t)
	l := start(t, streetConfig(""))
	for _, owner := range list {
		for _, at := range list {
			paths := []string{"/alone/" + at.name}
			if at.opaque {
				paths = append(paths, "/with/"+at.name)
			}
			if owner.opaque && at.opaque && owner != at {
				continue // nothing but the rule says whose such a token is
			}
			for _, path := range paths {
				before := map[*resident]int{}
				for _, r := range list {
					before[r] = r.asked()
				}
				mine := at == owner || strings.HasPrefix(path, "/with/") && !owner.opaque
				status, user := l.ask(path, owner.good.Token)
				if mine && (status != 200 || user != owner.good.Want.Value) || !mine && status != 401 {
					t.Errorf("a token of %s at %s: %d %q", owner.name, path, status, user)
				}
				for _, r := range list {
					if n := r.asked() - before[r]; n > 0 && (r != owner || !mine) {
						t.Errorf("a token of %s at %s was shown to %s", owner.name, path, r.name)
					}
				}
			}
		}
	}
	if strays := hosts.Strays(); len(strays) > 0 {
		t.Errorf("asked hosts that are nobody's: %v", strays)
	}
}

// TestNobodyOwnsTwice: of the providers of a rule that the configuration admits,
// no two own one token, whatever it looks like; those it does not admit are the
// ones whose tokens have no form.
func TestNobodyOwnsTwice(t *testing.T) {
	list := moveIn(t)
	random := rand.New(rand.NewPCG(1, 2))
	tokens := []string{"", "ey", "eyJ", "gl_x", "ghp_x", "glpat-x", "xapp-x", "xoxe-1-x", "ya29", "EAAx"}
	for _, r := range list {
		token := r.good.Token
		tokens = append(tokens, token, token[:len(token)/2], strings.ToUpper(token), token+"x", "x"+token)
		for range 20 {
			bent := []byte(token)
			bent[random.IntN(len(bent))] ^= byte(1 << random.IntN(7))
			tokens = append(tokens, string(bent))
		}
	}
	for range 100 {
		var names, providers strings.Builder
		var chosen []*resident
		opaque := 0
		for _, i := range random.Perm(len(list))[:1+random.IntN(6)] {
			r := list[i]
			chosen = append(chosen, r)
			fmt.Fprintf(&providers, "  - {name: %s, %s, ca_file: %q}\n", r.name, r.settings, hosts.CAFile)
			names.WriteString(r.name + ", ")
			if r.opaque {
				opaque++
			}
		}
		text := "providers:\n" + providers.String() + "rules:\n  - {match: {paths: [/x]}, providers: [" + names.String() + "]}\n  - {access: deny}\n"
		c, _, err := config.Parse("x.yaml", []byte(text), func(string) (string, bool) { return "", false })
		if (err != nil) != (opaque > 1) || err != nil && strings.Count(err.Error(), "both take every opaque token") != opaque-1 {
			t.Fatalf("%s: %v", &names, err)
		}
		if err != nil {
			continue
		}
		gate, err := Open(c, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range tokens {
			var owners []string
			for _, r := range chosen {
				p, err := gate.Provider(r.name)
				if err != nil {
					t.Fatal(err)
				}
				if p.Owns(authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}) {
					owners = append(owners, r.name)
				}
			}
			if len(owners) > 1 {
				t.Errorf("%q is owned by %v", token, owners)
			}
		}
		gate.Close()
	}
}

// TestOneCallForMany: however many wait for the answer about a token, and
// however many come after, its provider is asked once.
func TestOneCallForMany(t *testing.T) {
	list := asksAbout(moveIn(t))
	l := start(t, streetConfig(""))
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			var crowd sync.WaitGroup
			for range 100 {
				crowd.Go(func() {
					m, err := l.check.Check(t.Context(), checkRequest("/alone/"+r.name, r.good.Token))
					if err != nil || m.GetOkResponse() == nil {
						t.Errorf("%v %v", m, err)
					}
				})
			}
			crowd.Wait()
			questions := map[string]int{}
			for _, c := range r.server.Calls() {
				questions[c.Method+" "+c.Target]++
			}
			for question, n := range questions {
				if n != 1 {
					t.Errorf("%s was asked %d times", question, n)
				}
			}
			if len(questions) == 0 {
				t.Error("it was not asked at all")
			}
		})
	}
}

// TestOtherDoors: the other ways of the types find their addresses by themselves
// too.
func TestOtherDoors(t *testing.T) {
	const (
		entra   = "type: entra, client_id: aaaaaaaa-0000-0000-0000-000000000001, "
		tenant  = "tenant_id: 11111111-2222-3333-4444-555555555555"
		okta    = "type: okta, domain: dev-123456.okta.com, client_id: 0oa1a2b3c4d5e6f7g8h9, client_secret: okta-secret"
		pool    = "type: cognito, allowed_clients: 4kdcmi1example, user_pool_id: eu-west-1_AbCdEf123"
		google  = "type: google, client_id: 1234567890-abc123.apps.googleusercontent.com"
		github  = "type: github, client_id: Iv1.0123456789abcdef, client_secret: gh-secret"
		slack   = "type: slack, allowed_teams: [T12345678, E12345678]"
		gitlab  = "type: gitlab, client_id: " + gitlabApp
		realm   = "type: keycloak, base_url: https://sso.example.com/, realm: corp, audiences: jira-api"
		poolKey = "/eu-west-1_AbCdEf123/.well-known/jwks.json"
	)
	for name, c := range map[string]struct {
		settings, recorded, host, keysHost, keys string
		issuer                                   string // in the metadata of realms
	}{
		"entra, organizations": {
			entra + "tenant_id: organizations, allowed_tenants: [11111111-2222-3333-4444-555555555555, 22222222-3333-4444-5555-666666666666]",
			"entra/many-tenants", "login.microsoftonline.com", "", "/organizations/discovery/v2.0/keys /organizations/discovery/keys", "",
		},
		"entra, US government": {
			entra + tenant + ", cloud: usgov", "entra/usgov", "login.microsoftonline.us", "", entraTenant + "/discovery/v2.0/keys " + entraTenant + "/discovery/keys", "",
		},
		"entra, China": {
			entra + tenant + ", cloud: china", "entra/china-v1", "login.partner.microsoftonline.cn", "", entraTenant + "/discovery/v2.0/keys " + entraTenant + "/discovery/keys", "",
		},
		"entra, Graph":         {"type: entra, validation: profile, client_id: bbbbbbbb-0000-0000-0000-000000000002, " + tenant, "entra/graph/good", "graph.microsoft.com", "", "", ""},
		"entra, Graph, groups": {"type: entra, validation: profile, client_id: bbbbbbbb-0000-0000-0000-000000000002, groups: groups, " + tenant, "entra/graph/good-groups", "graph.microsoft.com", "", "", ""},
		"keycloak":             {realm, "keycloak/good", "sso.example.com", "", "/certs", "https://sso.example.com/realms/corp"},
		"keycloak, inner address": {
			"type: keycloak, base_url: https://inner.example.com, realm: corp, issuer: https://sso.example.com/realms/corp, audiences: jira-api", "keycloak/good",
			"inner.example.com", "", "/certs", "https://sso.example.com/realms/corp",
		},
		"okta, org":             {okta, "okta/org/good", "dev-123456.okta.com", "", "", ""},
		"cognito, userInfo":     {pool + ", validation: profile, domain: corp.auth.eu-west-1.amazoncognito.com", "cognito/profile/good", "corp.auth.eu-west-1.amazoncognito.com", "cognito-idp.eu-west-1.amazonaws.com", poolKey, ""},
		"cognito, other issuer": {pool, "cognito/good-updated-issuer", "cognito-idp.eu-west-1.amazonaws.com", "", poolKey, ""},
		"cognito, China": {
			"type: cognito, allowed_clients: 4kdcmi1example, user_pool_id: cn-north-1_AbCdEf123", "cognito/good-china", "cognito-idp.cn-north-1.amazonaws.com.cn", "", "/cn-north-1_AbCdEf123/.well-known/jwks.json", "",
		},
		"google, domain":       {google + ", hosted_domains: example.com", "google/good-domain", "oauth2.googleapis.com openidconnect.googleapis.com", "", "", ""},
		"google, ID tokens":    {google + ", validation: jwt, hosted_domains: example.com", "google/id/good", "www.googleapis.com", "", "/oauth2/v3/certs", ""},
		"github, groups":       {github + ", groups: [organizations, teams]", "github/good-organizations", "api.github.com", "", "", ""},
		"github, e-mail":       {github + ", username: email", "github/good-email", "api.github.com", "", "", ""},
		"github, ghe.com":      {github + ", base_url: https://corp.ghe.com", "github/good", "api.corp.ghe.com", "", "", ""},
		"slack, userInfo":      {slack + ", validation: profile", "slack/profile/good", "slack.com", "", "", ""},
		"slack, bot":           {slack + ", allow_bots: true, allowed_clients: A12345678, service_accounts: {A12345678: robot}", "slack/bot", "slack.com", "", "", ""},
		"slack, government":    {slack + ", endpoints: {api: https://slack-gov.com/api}", "slack/good", "slack-gov.com", "", "", ""},
		"gitlab, introspected": {gitlab + ", client_secret: gloas-secret, validation: introspection", "gitlab/introspection/good", "gitlab.com", "", "", ""},
		"gitlab, API":          {gitlab, "gitlab/good-api", "gitlab.com", "", "", ""},
		"gitlab, own":          {gitlab + ", base_url: https://git.example.com/", "gitlab/good", "git.example.com", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := hosts.Server(t, strings.Fields(c.host)...)
			// Read once: a token that is signed again in the next second is another.
			good := providertest.ReadCase(t, "../../providers/testdata/"+c.recorded+".txtar", s)
			s.Play(good)
			signer := s
			if c.keysHost != "" {
				signer = hosts.Server(t, c.keysHost)
			}
			signer.ServeKeys(strings.Fields(c.keys + " /nowhere")...)
			if c.issuer != "" {
				s.Answer("GET /realms/corp/.well-known/openid-configuration", 200, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, c.issuer, "https://"+c.host+c.keys))
			}
			l := start(t, fmt.Sprintf("listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {drain_delay: 1ms}\nproviders:\n  - {name: p, %s, ca_file: %q}\n", c.settings, hosts.CAFile))
			if status, user := l.ask("/", good.Token); status != 200 || user != good.Want.Value {
				t.Errorf("%d %q, want %q\n%s", status, user, good.Want.Value, l.log)
			}
		})
	}
	if strays := hosts.Strays(); len(strays) > 0 {
		t.Errorf("asked hosts that are nobody's: %v", strays)
	}
}

// asksAbout are the residents that are asked about each token.
func asksAbout(list []*resident) []*resident {
	return slices.DeleteFunc(list, func(r *resident) bool { return r.keys != nil })
}

// denial returns status and Retry-After of the answer to a token.
func (l *lodge) denial(path, token string) (int, string) {
	l.t.Helper()
	m, err := l.check.Check(l.t.Context(), checkRequest(path, token))
	if err != nil {
		l.t.Fatal(err)
	}
	wait := ""
	for _, h := range m.GetDeniedResponse().GetHeaders() {
		if strings.EqualFold(h.GetHeader().GetKey(), "retry-after") {
			wait = h.GetHeader().GetValue()
		}
	}
	return int(m.GetDeniedResponse().GetStatus().GetCode()), wait
}

func checkRequest(path, token string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: path, Host: "api", Headers: map[string]string{"authorization": "Bearer " + token},
		}},
	}}
}

// TestMisconfiguredIsSaidAtOnce: a fault of ours shows within one request, in
// the log, the metrics and /readyz, and never as 401 to the caller.
func TestMisconfiguredIsSaidAtOnce(t *testing.T) {
	list := asksAbout(moveIn(t))
	l := start(t, streetConfig(""))
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			c := r.recordedCase(t, "misconfigured")
			r.server.Play(c)
			l.t = t
			l.saysMisconfigured(t, r.name, c.Token)
		})
	}
}

// TestWrongAddressIsSaidAtOnce: so it is where a token is checked with keys that
// are not where the settings say.
func TestWrongAddressIsSaidAtOnce(t *testing.T) {
	var list []*resident
	for _, r := range moveIn(t) {
		if r.keys == nil {
			continue
		}
		list = append(list, r)
		r.server.ServeKeys("/nowhere")
		for _, path := range r.keys {
			status := http.StatusNotFound
			if r.name == "entra" {
				status = http.StatusBadRequest // a tenant that does not exist
			}
			r.server.Answer("GET "+path, status, `{}`)
		}
	}
	l := start(t, streetConfig(""))
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			l.t = t
			l.saysMisconfigured(t, r.name, r.good.Token)
		})
	}
}

// saysMisconfigured asks about one token at /alone/NAME.
func (l *lodge) saysMisconfigured(t *testing.T, name, token string) {
	t.Helper()
	metric := `gatelodge_provider_misconfigured{provider="` + name + `"} `
	if status, wait := l.denial("/alone/"+name, token); status != 503 || wait == "" {
		t.Errorf("%d, Retry-After %q", status, wait)
	}
	if _, body := l.get("/metrics"); !strings.Contains(body, metric+"1") {
		t.Error("the metrics do not say it")
	}
	if _, body := l.get("/readyz"); !regexp.MustCompile(`"name": "` + name + `",\s+"ready": false,\s+"misconfigured": true,\s+"detail": "[^"]{10,}`).MatchString(body) {
		t.Errorf("/readyz does not say it: %s", body)
	}
	if !slices.ContainsFunc(strings.Split(l.log.String(), "\n"), func(line string) bool {
		return strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, `"provider":"`+name+`"`)
	}) {
		t.Errorf("the log does not say it:\n%s", l.log)
	}
	if strings.Contains(l.log.String(), token) {
		t.Error("the token stands in the log")
	}
}

// TestThrottledIsPassedOn: the caller is told to wait as long as the provider
// says, and the provider is left alone for so long.
func TestThrottledIsPassedOn(t *testing.T) {
	list := asksAbout(moveIn(t))
	l := start(t, streetConfig(""))
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			l.t = t
			c := r.recordedCase(t, "throttled")
			r.server.Play(c)
			status, wait := l.denial("/alone/"+r.name, c.Token)
			seconds, err := time.ParseDuration(wait + "s")
			if status != 503 || err != nil || seconds < time.Second || seconds > 5*time.Minute {
				t.Fatalf("%d, Retry-After %q", status, wait)
			}
			if told, err := time.ParseDuration(c.Want.Value); err == nil && (seconds-told).Abs() > 5*time.Second {
				t.Errorf("told to wait %v, the provider says %v", seconds, told)
			}
			asked := r.asked()
			for range 3 {
				if status, _ := l.denial("/alone/"+r.name, c.Token); status != 503 {
					t.Errorf("%d while it is left alone", status)
				}
			}
			if n := r.asked(); n != asked {
				t.Errorf("asked %d times while throttled", n-asked)
			}
		})
	}
}

// TestGroupsUnknown: who may be in more groups than the token tells is neither
// refused nor let in where groups decide.
func TestGroupsUnknown(t *testing.T) {
	list := moveIn(t)
	l := start(t, streetConfig(`
  - {match: {paths: [/eng]}, providers: [entra], allow: {groups: [g-1]}}
  - {match: {paths: [/read-only]}, providers: [entra], read_only_groups: [g-2]}
  - {match: {paths: [/not-in]}, providers: [entra], when: '!("banned" in identity.groups)'}
`))
	cut := list[0].recordedCase(t, "overage").Token
	for path, want := range map[string]int{"/eng": 503, "/not-in": 503, "/alone/entra": 200} {
		if status, _ := l.ask(path, cut); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if status, user := l.ask("/eng", list[0].good.Token); status != 200 || user != "alice@example.com" {
		t.Errorf("with groups: %d %q", status, user)
	}
}

// TestSlowNeighbour: a provider that hangs, with more callers than it may have,
// holds up nobody else's tokens. None of its own calls ends before those do.
func TestSlowNeighbour(t *testing.T) {
	list := moveIn(t)
	// It has an address of its own: some of the crowd's calls come when this test
	// has ended, and no other test is to find them at its door.
	var calls atomic.Int32
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		<-release
	}))
	t.Cleanup(func() {
		_ = hanging.Listener.Close()
		close(release)
		hanging.Close()
	})
	l := start(t, strings.Replace(streetConfig(""), "type: gitlab,", fmt.Sprintf("type: gitlab, base_url: %q, timeout: 1m,", hanging.URL), 1))

	const crowd = 1200 // more than may be under way or wait
	ctx, leave := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var turnedAway atomic.Int32
	for i := range crowd {
		callers.Go(func() {
			m, err := l.check.Check(ctx, checkRequest("/alone/gitlab", fmt.Sprintf("opaque-%d", i)))
			switch {
			case err != nil: // left
			case m.GetDeniedResponse().GetStatus().GetCode() != 503:
				t.Errorf("while it hangs: %v", m)
			default:
				turnedAway.Add(1)
			}
		})
	}
	defer callers.Wait()
	defer leave()
	l.eventually("the crowd is there", func() bool { return calls.Load() >= 64 && turnedAway.Load() >= crowd-64-1024 })
	before := turnedAway.Load()
	for _, r := range list {
		if r.name == "gitlab" {
			continue
		}
		if status, user := l.ask("/alone/"+r.name, r.good.Token); status != 200 || user != r.good.Want.Value {
			t.Errorf("%s: %d %q", r.name, status, user)
		}
	}
	signer := list[slices.IndexFunc(list, func(r *resident) bool { return r.name == "oidc" })]
	for i := range 200 {
		token := signer.server.Sign(nil, map[string]any{
			"iss": "https://sso.example.com", "aud": "https://api.example.com", "sub": "x", "preferred_username": "alice", "jti": i,
			"exp": time.Now().Add(time.Minute).Unix(),
		})
		if status, user := l.ask("/alone/oidc", token); status != 200 || user != "alice" {
			t.Fatalf("token %d: %d %q", i, status, user)
		}
	}
	if after := turnedAway.Load(); after != before || calls.Load() != 64 {
		t.Errorf("%d of the crowd were answered meanwhile, %d calls", after-before, calls.Load())
	}
}
