package authz

import (
	"fmt"
	"maps"
	"slices"
)

// rule tells which rule a request is under, and what of the request it matched.
// Of headers and of the route nothing is told that does not stand in the rule.
func (s *Steps) rule(v *verdict, named *Rule, q *Request) {
	switch {
	case s == nil:
		return
	case named == nil:
		s.add("rule", StepOK, "none matches: any valid credential")
		return
	}
	name := named.Name
	if name == "" {
		name = fmt.Sprintf("rules[%d]", v.rule.index)
	}
	s.add("rule", StepOK, name+": "+named.Access.String())

	m := &named.Match
	tell := func(key string, given int, format string, args ...any) {
		if given > 0 {
			s.add("match."+key, StepOK, fmt.Sprintf(format, args...))
		}
	}
	tellNamed := func(key string, wanted map[string][]string) {
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			if len(wanted[name]) == 0 {
				tell(key, 1, "%s is there", name)
			} else {
				tell(key, 1, "%s is one of %q", name, wanted[name])
			}
		}
	}
	paths := m.Paths
	if len(paths) == 0 && v.rule.preset != nil {
		paths = v.rule.preset.paths
	}
	path := fmt.Sprintf("%q", v.path)
	if !slices.ContainsFunc(paths, func(p string) bool { return matchPath(p, v.path) }) {
		path = "another reading of " + path
	}
	tell("hosts", len(m.Hosts), "%q is one of %q", v.host, m.Hosts)
	tell("paths", len(paths), "%s is one of %q", path, paths)
	tell("methods", len(m.Methods), "%q is one of %q", q.Method, m.Methods)
	tellNamed("headers", m.Headers)
	tell("sources", len(m.Sources), "%v is in one of %v", q.Source, m.Sources)
	tellNamed("context", m.Context)
}
