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
// Center products, below the context path "/": the REST prefix and the
// administrative services that all of them share, and the REST references of
// Jira 9–11, Confluence 8–10 and Bitbucket 8–10 for the rest.
var presets = map[string]*preset{
	"jira": {
		paths: []string{"/rest/**"},
		reading: []string{
			"/rest/api/*/search", "/rest/api/*/jql/parse", "/rest/api/*/issue/bulkfetch",
			"/rest/api/*/permissions/check", "/rest/insight/*/iql/objects", "/rest/assets/*/aql/objects",
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
		reading: []string{"/rest/search/*/search"},
		writing: sharedServices,
		git:     []string{"/scm/*/*"},
	},
}

// sharedServices are REST services whose GETs hand out more than content: the
// plugin manager's GET gives the token that installs a plugin, and the others
// show links, tokens and secrets of the installation.
var sharedServices = []string{"/rest/plugins/**", "/rest/applinks/**", "/rest/pat/**", "/rest/oauth2/**"}

func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }

// reads reports whether a request only reads: GET, HEAD and OPTIONS (RFC 9110
// §9.2.1, without TRACE), but for what the preset knows better. p may be nil.
func (p *preset) reads(q *Request, path string) bool {
	safe := q.Method == "GET" || q.Method == "HEAD" || q.Method == "OPTIONS"
	if p == nil {
		return safe
	}
	path = strings.TrimSuffix(path, "/")
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
