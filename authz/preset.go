package authz

import (
	"maps"
	"slices"
	"strings"
)

// A preset is what a product's paths mean beyond their methods.
type preset struct {
	paths   []string // its API: what a rule with the preset matches by default
	reading []string // POSTs that change nothing: searches too long for a URL
	writing []string // GETs that are not harmless
	git     []string // repositories: git over HTTP below them
}

// presets are the products that are known by name. Paths of Atlassian's Data
// Center products, without a context path: the REST prefix and the
// administrative services that all of them share, and the REST references of
// Jira 9–11, Confluence 8–10 and Bitbucket 8–10 for the rest.
var presets = map[string]*preset{
	"jira": {
		paths: []string{"/rest/**"},
		reading: []string{
			"/rest/api/*/search", "/rest/api/*/worklog/list", "/rest/api/*/jql/parse", "/rest/api/*/issue/bulkfetch",
			"/rest/api/*/permissions/check",
			"/rest/insight/*/iql/objects", "/rest/insight/*/object/navlist/iql", "/rest/insight/*/object/navlist/aql",
			"/rest/assets/*/aql/objects", "/rest/assets/*/object/navlist/aql", "/rest/assets/*/object/aql",
		},
		writing: sharedServices,
	},
	"confluence": {
		paths:   []string{"/rest/**"},
		reading: []string{"/rest/api/contentbody/convert/**"},
		writing: sharedServices,
	},
	"bitbucket": {
		paths:   []string{"/rest/**", "/scm/**"},
		reading: []string{"/rest/search/*/search", "/rest/build-status/*/commits/stats", "/rest/api/*/markup/preview"},
		writing: append([]string{"/rest/access-tokens/**"}, sharedServices...),
		git:     []string{"/scm/*/*"},
	},
}

// sharedServices are REST services whose GETs hand out more than content, or
// do more than read: the plugin manager's GET gives the token that installs a
// plugin, the next ones show links, tokens and secrets of the installation, and
// a script behind a custom endpoint does whatever it was written to do.
var sharedServices = []string{
	"/rest/plugins/**", "/rest/applinks/**", "/rest/pat/**", "/rest/oauth2/**", "/rest/scriptrunner/**",
}

func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }

// reads reports whether a request only reads: GET, HEAD and OPTIONS (RFC 9110
// §9.2.1, without TRACE), but for what the preset knows better. p may be nil.
func (p *preset) reads(q *Request, path string) bool {
	if overrides(q) {
		return false
	}
	safe := q.Method == "GET" || q.Method == "HEAD" || q.Method == "OPTIONS"
	if p == nil {
		return safe
	}
	path = p.inProduct(strings.TrimSuffix(path, "/"))
	matches := func(pattern string) bool { return matchPath(pattern, path) }
	for _, repository := range p.git {
		if matchPath(repository+"/**", path) {
			return readsGit(q, path)
		}
	}
	if safe {
		return !slices.ContainsFunc(p.writing, matches)
	}
	return q.Method == "POST" && slices.ContainsFunc(p.reading, matches)
}

// inProduct leaves out the context path that a product may be installed under:
// one segment in front of its own paths, as in /jira/rest/api.
func (p *preset) inProduct(path string) string {
	slash := strings.IndexByte(path[min(1, len(path)):], '/')
	if slash < 0 {
		return path
	}
	inner := path[1+slash:]
	for _, pattern := range p.paths {
		prefix := strings.TrimSuffix(pattern, "**")
		if strings.HasPrefix(path, prefix) {
			return path
		}
		if strings.HasPrefix(inner, prefix) {
			return inner
		}
	}
	return path
}

// overrides reports whether a header asks for another method than the
// request's: what such a request does depends on who reads it.
func overrides(q *Request) bool {
	for i := range q.Headers {
		switch q.Headers[i].Name {
		case "x-http-method-override", "x-http-method", "x-method-override":
			return true
		}
	}
	return false
}

// readsGit tells a fetch from a push in git's HTTP protocol: a push announces
// itself by GET …/info/refs?service=git-receive-pack (gitprotocol-http).
func readsGit(q *Request, path string) bool {
	_, query, _ := strings.Cut(q.Path, "?")
	switch q.Method {
	case "GET", "HEAD":
		return !strings.HasSuffix(path, "/info/refs") || !strings.Contains(strings.ToLower(query), "receive") && !strings.Contains(query, "%")
	case "POST":
		return strings.HasSuffix(path, "/git-upload-pack")
	}
	return false
}
