package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/expression"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
)

// validate finds what single values cannot show: names that are not there,
// addresses that are none, parts that contradict each other.
func validate(c *Config, d *decoder) {
	validateListen(c, d)
	validateHeaders(c, d)
	validateProviders(c, d)
	validateTokens(c, d)
	validateRules(c, d)
	validateResource(c, d)
	validateLog(c, d)
	validateAdmin(c, d)
	if !c.Enabled {
		d.warn("enabled", "protection is switched off: every request passes, without a user")
	}
	if c.Mode == authz.Shadow {
		d.warn("mode", "nothing is refused: decisions are only recorded")
	}
	for key, n := range map[string]int64{
		"cache.max_entries": int64(c.Cache.Entries), "cache.max_bytes": c.Cache.Bytes,
		"cache.negative_entries": int64(c.Cache.NegativeEntries), "cache.max_revocations": int64(c.Cache.Revocations), "limits.max_in_flight": int64(c.Limits.InFlight),
	} {
		if n < 1 {
			d.faultAt(key, "is %d; it is to be at least 1", n)
		}
	}
	if k := c.Cache.KeepRevocations; k < time.Minute || k > 90*24*time.Hour {
		d.faultAt("cache.keep_revocations", "is %s; it is to be from 1m to 90d", k)
	}
}

func validateListen(c *Config, d *decoder) {
	if socket, ok := strings.CutPrefix(c.Listen.GRPC, "unix:"); ok {
		if !strings.HasPrefix(socket, "/") {
			d.faultAt("listen.grpc", "%q: a socket's path is to be absolute, as unix:/run/gatelodge/authz.sock", c.Listen.GRPC)
		}
	} else if problem := addressFault(c.Listen.GRPC); problem != "" {
		d.faultAt("listen.grpc", "%s, or unix:/path", problem)
	}
	if c.Listen.Admin != "" {
		if problem := addressFault(c.Listen.Admin); problem != "" {
			d.faultAt("listen.admin", "%s", problem)
		} else if !loopback(c.Listen.Admin) {
			d.warn("listen.admin", "listens beyond this machine; health, metrics and the admin API are then reachable from there")
		}
	}
	if c.Listen.Events != "" {
		if problem := addressFault(c.Listen.Events); problem != "" {
			d.faultAt("listen.events", "%s", problem)
		}
	}
	t := c.Listen.TLS
	if t == nil {
		return
	}
	text := map[string][]byte{} // of the files that can be read
	for _, f := range []struct {
		key      string
		path     *string
		required bool
	}{
		{"cert_file", &t.CertFile, true}, {"key_file", &t.KeyFile, true}, {"client_ca_file", &t.ClientCAFile, false},
	} {
		key := "listen.tls." + f.key
		if *f.path == "" {
			if f.required {
				d.faultAt(key, "is missing; TLS needs cert_file and key_file")
			}
			continue
		}
		*f.path = d.input(*f.path)
		text[f.key], _ = d.content(key, *f.path)
	}
	if text["cert_file"] != nil && text["key_file"] != nil {
		if _, err := tls.X509KeyPair(text["cert_file"], text["key_file"]); err != nil {
			d.faultAt("listen.tls.cert_file", "does not go with key_file: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
	if pem := text["client_ca_file"]; pem != nil {
		d.certificates("listen.tls.client_ca_file", pem)
	}
}

// content returns what a file holds; false: it cannot be read, which is a fault.
func (d *decoder) content(key, path string) ([]byte, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		d.faultAt(key, "cannot be read: %v", err)
		return nil, false
	}
	return text, true
}

// certificates makes sure that a bundle to be trusted holds any.
func (d *decoder) certificates(key string, pem []byte) {
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		d.faultAt(key, "holds no PEM certificate")
	}
}

func addressFault(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Sprintf("%q is not host:port", address)
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && strings.ContainsAny(host, " /@") {
		return fmt.Sprintf("%q is not host:port", address)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n < 0 {
		return fmt.Sprintf("%q has no port that there is", address)
	}
	return ""
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// reservedHeaders must not be given to an identity: Envoy or HTTP own them.
var reservedHeaders = []string{
	"host", "content-length", "content-type", "content-encoding", "connection", "transfer-encoding", "te", "trailer", "upgrade",
	"keep-alive", "expect", "range", "accept", "accept-encoding", "origin", "date", "via", "proxy-connection", "authorization",
	"proxy-authorization", "www-authenticate", "cookie", "dpop", "forwarded", "x-forwarded-for", "x-forwarded-host",
	"x-forwarded-port", "x-forwarded-proto", "x-forwarded-client-cert", "x-request-id",
}

func validateHeaders(c *Config, d *decoder) {
	names := map[string]string{}
	for _, h := range []struct {
		key  string
		name *string
	}{
		{"user", &c.Headers.User},
		{"email", &c.Headers.Email},
		{"groups", &c.Headers.Groups},
		{"provider", &c.Headers.Provider},
		{"subject", &c.Headers.Subject},
	} {
		key := "headers." + h.key
		*h.name = strings.ToLower(*h.name)
		name := *h.name
		switch {
		case name == "" && h.key == "user":
			d.faultAt(key, "is empty; the upstream must be told the user")
		case name == "":
		case !headerName(name):
			d.faultAt(key, "%q is not a header name of letters, digits and dashes", name)
		case slices.Contains(reservedHeaders, name) || strings.HasPrefix(name, "x-envoy-"):
			d.faultAt(key, "%q has a meaning of its own; take another, as x-forwarded-user", name)
		case strings.Count(name, "-") > 5:
			d.faultAt(key, "%q has more than 5 dashes: each doubles the spellings that have to be removed", name)
		case names[name] != "":
			d.faultAt(key, "%q is the header of headers.%s already", name, names[name])
		case c.APITokens != nil && name == strings.ToLower(c.APITokens.Header):
			// It would be removed after it is set: the upstream would see no user.
			d.faultAt(key, "%q is the header that carries API tokens (api_tokens.header)", name)
		}
		names[name] = h.key
	}
}

func headerName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

func validateProviders(c *Config, d *decoder) {
	seen := map[string]bool{}
	for i := range c.Providers {
		p := &c.Providers[i]
		key := fmt.Sprintf("providers[%d]", i)
		switch {
		case p.Name == "":
			d.faultAt(key+".name", "is missing; rules, logs and metrics know the provider by it")
		case p.Name == authz.APITokens || p.Name == providers.StaticUsers:
			d.faultAt(key+".name", "%q is the name of a provider of our own; take another", p.Name)
		case !plainName(p.Name):
			d.faultAt(key+".name", "%q is to be of letters, digits, dashes, dots and underscores, at most 64", p.Name)
		case seen[p.Name]:
			d.faultAt(key+".name", "%q is the name of an earlier provider", p.Name)
		}
		seen[p.Name] = true
		if p.CAFile != "" {
			p.CAFile = d.input(p.CAFile)
			if pem, ok := d.content(key+".ca_file", p.CAFile); ok {
				d.certificates(key+".ca_file", pem)
			}
		}
		if p.Leeway > time.Minute {
			d.faultAt(key+".leeway", "is %s; 60s are the most", p.Leeway)
		}
		for _, f := range providers.Check(*p) {
			d.faultAt(join(key, f.Key), "%s", f.Problem)
		}
		for _, w := range providers.Warnings(*p) {
			d.warn(join(key, w.Key), "%s", w.Problem)
		}
		if p.AllowHTTP {
			d.warn(key+".allow_insecure_http", "what this provider says can be read and changed on the way")
		}
	}
}

func plainName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

func validateTokens(c *Config, d *decoder) {
	t := c.APITokens
	if t == nil {
		return
	}
	if file, ok := strings.CutPrefix(t.Store, "sqlite:"); ok && file != "" {
		t.Store = "sqlite:" + d.path(file)
	} else if problem := tokenstore.SettingFault(t.Store); problem != "" {
		d.faultAt("api_tokens.store", "%s", problem)
	}
	t.Header = strings.ToLower(t.Header)
	if !headerName(t.Header) || slices.Contains(reservedHeaders, t.Header) {
		d.faultAt("api_tokens.header", "%q cannot carry a key; take a header of its own, as x-api-key", t.Header)
	}
	if t.Htpasswd != "" {
		t.Htpasswd = d.input(t.Htpasswd)
		if text, ok := d.content("api_tokens.htpasswd_file", t.Htpasswd); ok {
			if _, err := providers.ReadHtpasswd(text); err != nil {
				d.faultAt("api_tokens.htpasswd_file", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
			}
		}
	}
	if t.PerUser < 0 {
		d.faultAt("api_tokens.per_user", "is negative; 0 means any number")
	}
}

func validateRules(c *Config, d *decoder) {
	known := []string{}
	for _, p := range c.Providers {
		known = append(known, p.Name)
	}
	if c.APITokens != nil {
		known = append(known, authz.APITokens)
		if c.APITokens.Htpasswd != "" {
			known = append(known, providers.StaticUsers)
		}
	}
	open := len(c.Rules) > 0 && slices.ContainsFunc(c.Rules, func(r authz.Rule) bool { return r.Access == authz.Public || r.Access == authz.DenyAll })
	if len(known) == 0 && c.Enabled && !open {
		d.faultAt("providers", "there is none, and no api_tokens: nobody could ever be let in")
	}
	names := map[string]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		key := fmt.Sprintf("rules[%d]", i)
		for _, f := range r.Faults() {
			d.faultAt(join(key, f.Key), "%s", f.Problem)
		}
		if r.Name != "" && names[r.Name] {
			d.faultAt(key+".name", "%q is the name of an earlier rule", r.Name)
		}
		if !plainName(r.Name) {
			d.faultAt(key+".name", "%q is to be of letters, digits, dashes, dots and underscores, at most 64", r.Name)
		}
		names[r.Name] = true
		for j, p := range r.Providers {
			if !slices.Contains(known, p) && !d.unread("providers") && !d.unread("api_tokens") {
				d.faultAt(fmt.Sprintf("%s.providers[%d]", key, j), "there is no provider %q; there are %s", p, strings.Join(known, ", "))
			}
		}
		if r.When != "" {
			if _, err := expression.Compile(r.When); err != nil {
				d.faultAt(key+".when", "%s", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", " "))
			}
		}
		if r.Access == authz.Authenticated || r.Access == authz.Optional {
			c.tellApart(d, key+".providers", r.Providers)
		}
	}
	if len(c.Rules) == 0 || !catchesAll(c.Rules) {
		c.tellApart(d, "providers", nil)
	}
}

// catchesAll reports whether the last rule leaves nothing to the default.
func catchesAll(rules []authz.Rule) bool {
	last := rules[len(rules)-1]
	m := last.Match
	return last.Preset == "" && len(m.Hosts) == 0 && len(m.Context) == 0 && len(m.Methods) == 0 && len(m.Headers) == 0 && len(m.Sources) == 0 &&
		(len(m.Paths) == 0 || slices.Contains(m.Paths, "/**"))
}

// tellApart makes sure that of the providers of a rule at most one owns any
// credential: a token is never to be shown to a provider that did not issue it.
func (c *Config) tellApart(d *decoder, key string, names []string) {
	if d.unread("providers") {
		return
	}
	issuers, prefixes := map[string]string{}, map[string]string{}
	catchAll := ""
	for _, p := range c.Providers {
		if len(names) > 0 && !slices.Contains(names, p.Name) {
			continue
		}
		shape := providers.ShapeOf(p)
		if shape.CatchAll {
			if catchAll != "" {
				d.faultAt(key, "%s and %s both take every opaque token, so none could be told whose it is; name one of them in the rule", catchAll, p.Name)
			}
			catchAll = p.Name
		}
		for _, issuer := range shape.Issuers {
			if other := issuers[issuer]; other != "" {
				d.faultAt(key, "%s and %s both own the tokens of %s; name one of them in the rule, or merge their audiences", other, p.Name, issuer)
			}
			issuers[issuer] = p.Name
		}
		for _, prefix := range shape.Prefixes {
			if other := prefixes[prefix]; other != "" {
				d.faultAt(key, "%s and %s both own the tokens that begin with %s; name one of them in the rule", other, p.Name, prefix)
				break
			}
			prefixes[prefix] = p.Name
		}
	}
}

func validateResource(c *Config, d *decoder) {
	if r := c.Resource; r != nil {
		u, err := url.Parse(r.Resource)
		if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Host)) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			d.faultAt("protected_resource.resource", "%q is to be the https URL of the API, without query or fragment", r.Resource)
		}
	}
	if c.DPoP == nil {
		return
	}
	if len(c.DPoP.Origins) == 0 {
		d.faultAt("dpop.origins", "is missing; a proof names the URL that the client called, as https://api.example.com")
	}
	for i, o := range c.DPoP.Origins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			d.faultAt(fmt.Sprintf("dpop.origins[%d]", i), "%q is not an origin, as https://api.example.com", o)
		}
	}
	if c.DPoP.MaxAge > 5*time.Minute {
		d.faultAt("dpop.max_age", "is %s; 5m are the most", c.DPoP.MaxAge)
	}
	if c.DPoP.MaxProofs < 1000 || c.DPoP.MaxProofs > 10_000_000 {
		d.faultAt("dpop.max_proofs", "is %d; from 1000 to 10000000 can be remembered, of about 100 bytes each", c.DPoP.MaxProofs)
	}
	if key := c.DPoP.NonceKey; !key.IsZero() && len(key.Reveal()) < 32 {
		d.faultAt("dpop.nonce_key", "is short: 32 characters are the least")
	}
}

func validateLog(c *Config, d *decoder) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		d.faultAt("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"json", "text"}, c.Log.Format) {
		d.faultAt("log.format", "%q is neither json nor text", c.Log.Format)
	}
	if s := c.Log.Audit.AllowSample; s < 0 || s > 1 {
		d.faultAt("log.audit.allow_sample", "is %v; it is to be from 0 to 1", s)
	}
	if f := c.Log.Audit.File; f != "" && f != "none" {
		c.Log.Audit.File = d.path(f)
		if _, err := os.Stat(filepath.Dir(c.Log.Audit.File)); err != nil {
			d.faultAt("log.audit.file", "its folder is not there: %v", err)
		}
	}
}
