package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/providers"
)

// Cases is a table of requests with the decisions that are expected of a
// configuration. No provider is asked: an issuer that is built in vouches for
// the claims that a case has, and the provider's settings, the rules and the
// rest of the configuration judge them for real.
type Cases struct {
	Cases []Case `yaml:"cases"`
}

// A Case is one request and what is expected.
type Case struct {
	Name    string      `yaml:"name"`
	Request CaseRequest `yaml:"request"`
	Token   *CaseToken  `yaml:"token"` // nil: the request brings no credential
	Expect  Expectation `yaml:"expect"`
}

// CaseRequest is a request; what is left out is GET / from nowhere.
type CaseRequest struct {
	Method  string            `yaml:"method"`
	Host    string            `yaml:"host"`
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Source  string            `yaml:"source"`
	Context map[string]string `yaml:"context"` // context_extensions of the route
}

// CaseToken is a credential that a provider vouches for.
type CaseToken struct {
	Provider string         `yaml:"provider"` // may be left out where there is one only
	Claims   map[string]any `yaml:"claims"`   // beside iss, aud, client_id, sub, iat, exp; null leaves one out

	// Of an API token.
	User     string   `yaml:"user"`
	Groups   []string `yaml:"groups"`
	ReadOnly bool     `yaml:"read_only"`
	Paths    []string `yaml:"paths"`
	Sources  []string `yaml:"sources"`
}

// Expectation is what must come out: everything given must hold.
type Expectation struct {
	Decision string  `yaml:"decision"` // allow, deny or unavailable
	Status   int     `yaml:"status"`
	User     *string `yaml:"user"`
	Provider *string `yaml:"provider"`
	Rule     *string `yaml:"rule"` // "": none matched
	Reason   string  `yaml:"reason"`
}

// A CaseResult is what came of a case. Its JSON is kept stable.
type CaseResult struct {
	Name     string   `json:"name"`
	Passed   bool     `json:"passed"`
	Problems []string `json:"problems,omitempty"` // "status: got 200, want 401"
	Report   Report   `json:"report"`
}

// maxCases bounds the file in bytes.
const maxCases = 4 << 20

// ReadCases reads a table of cases, strictly: a key that is not known is an
// error, as is a case that expects nothing.
func ReadCases(text []byte) (*Cases, error) {
	if len(text) > maxCases {
		return nil, fmt.Errorf("the file has %d bytes; %d are the most", len(text), maxCases)
	}
	var c Cases
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty; it needs a list under cases")
	} else if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(c.Cases) == 0 {
		return nil, errors.New("cases is empty")
	}
	names := map[string]int{}
	for i, one := range c.Cases {
		switch first, twice := names[one.Name]; {
		case one.Name == "":
			return nil, fmt.Errorf("cases[%d]: has no name", i)
		case twice:
			return nil, fmt.Errorf("cases[%d]: %q is the name of cases[%d] too", i, one.Name, first)
		case one.Expect == Expectation{}:
			return nil, fmt.Errorf("cases[%d] (%s): expects nothing; give decision, status, user, rule or reason", i, one.Name)
		case one.Expect.Decision != "" && !slices.Contains([]string{Allow, Deny, Unavailable}, one.Expect.Decision):
			return nil, fmt.Errorf("cases[%d] (%s): expect.decision %q is none of allow, deny, unavailable", i, one.Name, one.Expect.Decision)
		}
		names[one.Name] = i
	}
	return &c, nil
}

// Run decides every case under a configuration at the time now. The error says
// which case cannot be tried.
func (c *Cases) Run(ctx context.Context, settings *config.Config, now time.Time) ([]CaseResult, error) {
	world, err := newCaseWorld(settings, now)
	if err != nil {
		return nil, err
	}
	defer world.close()
	results := make([]CaseResult, 0, len(c.Cases))
	for i := range c.Cases {
		one := &c.Cases[i]
		q, err := world.request(one)
		if err != nil {
			return nil, fmt.Errorf("cases[%d] (%s): %w", i, one.Name, err)
		}
		d, steps := world.engine.Explain(ctx, q)
		r := report(d, steps)
		problems := one.Expect.compare(&r)
		results = append(results, CaseResult{one.Name, len(problems) == 0, problems, r})
	}
	return results, nil
}

func (e *Expectation) compare(r *Report) (problems []string) {
	differ := func(key, got, want string) {
		if got != want {
			problems = append(problems, fmt.Sprintf("%s: got %q, want %q", key, got, want))
		}
	}
	text := func(key, got string, want *string) {
		if want != nil {
			differ(key, got, *want)
		}
	}
	if e.Decision != "" {
		differ("decision", r.Decision, e.Decision)
	}
	if e.Status != 0 {
		differ("status", strconv.Itoa(r.Status), strconv.Itoa(e.Status))
	}
	if e.Reason != "" {
		differ("reason", r.Reason, e.Reason)
	}
	text("user", r.User, e.User)
	text("provider", r.Provider, e.Provider)
	text("rule", r.Rule, e.Rule)
	return problems
}

// caseWorld is a configuration with the built-in issuer in the place of every
// provider.
type caseWorld struct {
	engine    *authz.Engine
	policy    *authz.Policy
	providers map[string]*vouched
	names     []string
	now       time.Time
}

func newCaseWorld(c *config.Config, now time.Time) (*caseWorld, error) {
	w := &caseWorld{policy: c.Policy(), providers: map[string]*vouched{}, now: now}
	clock := func() time.Time { return now }
	for _, settings := range c.Providers {
		p, err := providers.New(settings, providers.Env{Now: clock, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", settings.Name, err)
		}
		p.Close() // it asks nobody; what it makes of claims needs no call
		w.add(&vouched{name: settings.Name, settings: providers.Prepare(settings), made: p})
	}
	if c.APITokens != nil {
		w.add(&vouched{name: authz.APITokens})
	}
	cache, err := authz.NewCache(authz.CacheLimits{Entries: 1, Bytes: 1 << 10, NegativeEntries: 1})
	if err != nil {
		return nil, err
	}
	w.engine, err = authz.New(w.policy, cache, clock)
	return w, err
}

func (w *caseWorld) add(v *vouched) {
	w.providers[v.name], w.names = v, append(w.names, v.name)
	w.policy.Providers = append(w.policy.Providers, authz.NamedProvider{Name: v.name, Provider: v})
}

func (w *caseWorld) close() {
	for _, v := range w.providers {
		v.tokens = nil
	}
}

// request makes the request of a case, with a credential that stands for its
// token.
func (w *caseWorld) request(c *Case) (authz.Request, error) {
	r := Request{Method: c.Request.Method, Host: c.Request.Host, Path: c.Request.Path}
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.Path == "" {
		r.Path = "/"
	}
	if c.Request.Source != "" {
		var err error
		if r.Source, err = netip.ParseAddr(c.Request.Source); err != nil {
			return authz.Request{}, fmt.Errorf("request.source: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.Headers)) {
		r.Headers = append(r.Headers, authz.Header{Name: strings.ToLower(name), Value: c.Request.Headers[name]})
	}
	var q authz.Request
	if c.Token == nil {
		q = r.bare()
	} else {
		v, err := w.owner(c.Token)
		if err != nil {
			return q, err
		}
		secret, err := v.issue(c.Token, w.now)
		if err != nil {
			return q, err
		}
		if q, err = r.With(Way{Kind: authz.Bearer}, secret); err != nil {
			return q, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.Context)) {
		q.Context = append(q.Context, authz.Header{Name: name, Value: c.Request.Context[name]})
	}
	return q, nil
}

func (w *caseWorld) owner(t *CaseToken) (*vouched, error) {
	if t.Provider == "" && len(w.names) == 1 {
		return w.providers[w.names[0]], nil
	}
	if v := w.providers[t.Provider]; v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("token.provider %q is none of %s", t.Provider, strings.Join(w.names, ", "))
}
