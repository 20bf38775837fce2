package authz

import (
	"fmt"
	"strings"
)

// Faults returns all that is wrong with a rule taken by itself; whether its
// providers exist is for the whole configuration to say.
func (r *Rule) Faults() (faults []Fault) {
	fault := func(key, format string, args ...any) {
		faults = append(faults, Fault{key, fmt.Sprintf(format, args...)})
	}
	for i, p := range r.Match.Paths {
		if problem := pathFault(p); problem != "" {
			fault(fmt.Sprintf("match.paths[%d]", i), "%s", problem)
		}
	}
	for i, h := range r.Match.Hosts {
		if problem := hostFault(h); problem != "" {
			fault(fmt.Sprintf("match.hosts[%d]", i), "%s", problem)
		}
	}
	for i, m := range r.Match.Methods {
		if m == "" || strings.ToUpper(m) != m || !isToken(m) {
			fault(fmt.Sprintf("match.methods[%d]", i), "%q is not a method: write it in upper case, as GET", m)
		}
	}
	for name := range r.Match.Headers {
		if strings.ToLower(name) != name || !isToken(name) {
			fault("match.headers", "%q is not a header name: write it in lower case", name)
		}
	}
	for name := range r.Match.Context {
		if name == "" {
			fault("match.context", "has an empty name; write the key that the route sets in context_extensions")
		}
	}
	if r.Preset != "" && presets[r.Preset] == nil {
		fault("preset", "%q is none of %s", r.Preset, strings.Join(presetNames(), ", "))
	}
	if r.Access == Public || r.Access == DenyAll {
		for _, k := range r.unusedKeys() {
			fault(k, "has no effect under access: %s, which looks at no credential; remove it or the access", r.Access)
		}
	}
	return faults
}

// unusedKeys are the conditions that stand in a rule which never comes to them.
func (r *Rule) unusedKeys() (keys []string) {
	for _, k := range []struct {
		key string
		set bool
	}{
		{"providers", len(r.Providers) > 0},
		{"allow.users", len(r.Allow.Users) > 0},
		{"allow.groups", len(r.Allow.Groups) > 0},
		{"allow.roles", len(r.Allow.Roles) > 0},
		{"allow.scopes", len(r.Allow.Scopes) > 0},
		{"allow.clients", len(r.Allow.Clients) > 0},
		{"allow.acr", len(r.Allow.ACR) > 0},
		{"allow.max_age", r.Allow.MaxAge != 0},
		{"allow.sources", len(r.Allow.Sources) > 0},
		{"read_only_groups", len(r.ReadOnlyGroups) > 0},
		{"when", r.When != ""},
	} {
		if k.set {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// pathFault says what is wrong with a path pattern, or "".
func pathFault(pattern string) string {
	if !strings.HasPrefix(pattern, "/") {
		return fmt.Sprintf("%q does not start with /", pattern)
	}
	if strings.ContainsAny(pattern, "?#%;\\") {
		return fmt.Sprintf("%q holds a character that no decoded path does: patterns are matched on the path after decoding, without the query", pattern)
	}
	segments := strings.Split(pattern[1:], "/")
	for i, s := range segments {
		switch {
		case s == "**" && i != len(segments)-1:
			return fmt.Sprintf("%q has ** before its end: it stands for any depth and may only be last", pattern)
		case s == "*" || s == "**":
		case strings.Contains(s, "*"):
			return fmt.Sprintf("%q has a * inside a segment: * stands for one whole segment, /** for any depth", pattern)
		case s == "." || s == "..":
			return fmt.Sprintf("%q has a dot segment, which no request that is let in has", pattern)
		case s == "" && i != len(segments)-1:
			return fmt.Sprintf("%q has an empty segment; slashes are merged before matching", pattern)
		}
	}
	return ""
}

// hostFault says what is wrong with a host pattern, or "".
func hostFault(pattern string) string {
	name := strings.TrimPrefix(pattern, "*.")
	switch {
	case name == "" || hostName(name) == "":
		return fmt.Sprintf("%q is not a host name; write api.example.com, or *.example.com for every host below", pattern)
	case strings.Contains(name, "*"):
		return fmt.Sprintf("%q has a * inside; only a leading *. is understood", pattern)
	case strings.Contains(name, "://") || strings.Contains(name, "/"):
		return fmt.Sprintf("%q is a URL; write only its host", pattern)
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}
