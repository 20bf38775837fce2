package config

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/expression"
	"github.com/gatelodge/gatelodge/providers"
)

// metadataPath is where clients look for the protected-resource metadata
// (RFC 9728 §3).
const metadataPath = "/.well-known/oauth-protected-resource"

// Policy returns what the file says of decisions. Providers and the prover of
// DPoP proofs are for the caller to put in.
func (c *Config) Policy() *authz.Policy {
	p := &authz.Policy{
		Enabled: c.Enabled, Mode: c.Mode, Headers: c.Headers, NonASCII: c.NonASCII, ForwardCredential: c.ForwardCredential,
		Realm: c.Realm, Paths: c.Paths, Rules: c.Rules, Certificates: c.Certificates, Compile: expression.Compile,
	}
	if c.APITokens != nil {
		p.KeyHeader, p.AllowBasic = c.APITokens.Header, true
		p.BasicProviders = []string{authz.APITokens, providers.StaticUsers}
	}
	if c.Resource != nil {
		p.Documents, p.ResourceMetadata = c.metadata()
	}
	return p
}

// metadata returns the document that describes the protected API to clients,
// by its path, and its URL: the well-known path goes between host and path of
// the resource (RFC 9728 §3.1).
func (c *Config) metadata() (documents map[string][]byte, address string) {
	r := c.Resource
	servers := r.AuthorizationServers
	if len(servers) == 0 {
		for _, p := range c.Providers {
			servers = append(servers, providers.ShapeOf(p).Issuers...)
		}
	}
	document := map[string]any{"resource": r.Resource, "bearer_methods_supported": []string{"header"}}
	set := func(name string, value any, given bool) {
		if given {
			document[name] = value
		}
	}
	set("authorization_servers", servers, len(servers) > 0)
	set("scopes_supported", r.Scopes, len(r.Scopes) > 0)
	set("resource_name", r.Name, r.Name != "")
	set("resource_documentation", r.Documentation, r.Documentation != "")
	set("tls_client_certificate_bound_access_tokens", true, c.Certificates != authz.NoCertificates)
	set("dpop_signing_alg_values_supported", providers.DPoPAlgorithms(), c.DPoP != nil)
	text, err := json.Marshal(document)
	if err != nil {
		panic("metadata of plain strings: " + err.Error())
	}
	u, err := url.Parse(r.Resource)
	if err != nil {
		panic("the resource was checked: " + err.Error())
	}
	// Only the slash that ends the host goes; clients that put the path
	// together themselves may leave one at its end, or not.
	path := metadataPath + strings.TrimSuffix(u.Path, "/")
	text = append(text, '\n')
	return map[string][]byte{path: text, path + "/": text}, u.Scheme + "://" + u.Host + path
}
