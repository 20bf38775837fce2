package authz

import (
	"net/netip"
	"slices"
	"strings"
)

// rules finds the first rule that matches a request. Its cost grows with the
// depth of the path, not with the number of rules: patterns hang in one tree of
// path segments per host, and many rules for one path are kept by what else
// they want (bucket.go).
type rules struct {
	list  []*compiledRule
	hosts map[string]*pathNode // by exact host
	tails map[string]*pathNode // by what stands behind "*." in a host pattern
	any   *pathNode            // rules for every host
}

type compiledRule struct {
	*Rule
	index     int
	mode      Mode
	providers []*NamedProvider
	direct    []directProvider // those that answer from memory
	scope     uint64           // number of that set of providers, for the cache
	preset    *preset
	condition Condition // of when; nil: none
	asks      uint16    // what it asks of a caller: see asked
}

type directProvider struct {
	named *NamedProvider
	Immediate
}

// pathNode is one segment of the patterns below it.
type pathNode struct {
	next  map[string]*pathNode
	star  *pathNode // "*": any one segment
	ends  bucket    // patterns that end here
	deep  bucket    // patterns that end here with "**": here and any depth below
	least int       // lowest index of a rule here or below
}

func newNode(first int) *pathNode { return &pathNode{least: first} }

func (r *rules) add(c *compiledRule) {
	r.list = append(r.list, c)
	for _, root := range r.roots(c.Match.Hosts, c.index) {
		paths := c.Match.Paths
		if len(paths) == 0 && c.preset != nil {
			paths = c.preset.paths
		}
		if len(paths) == 0 {
			root.deep.list = append(root.deep.list, c.index)
		}
		for _, p := range paths {
			root.add(p, c.index)
		}
	}
}

// seal ends the adding: rules are found from then on.
func (r *rules) seal() {
	if r.any != nil {
		r.any.seal(r.list)
	}
	for _, table := range []map[string]*pathNode{r.hosts, r.tails} {
		for _, root := range table {
			root.seal(r.list)
		}
	}
}

func (n *pathNode) seal(all []*compiledRule) {
	n.ends.seal(all)
	n.deep.seal(all)
	if n.star != nil {
		n.star.seal(all)
	}
	for _, next := range n.next {
		next.seal(all)
	}
}

// roots returns the trees of hosts, in which a rule with the given index is to
// stand: rules are added in their order.
func (r *rules) roots(hosts []string, index int) (roots []*pathNode) {
	if len(hosts) == 0 {
		if r.any == nil {
			r.any = newNode(index)
		}
		return []*pathNode{r.any}
	}
	for _, h := range hosts {
		table, name := &r.hosts, h
		if tail, ok := strings.CutPrefix(h, "*."); ok {
			table, name = &r.tails, tail
		}
		name = hostName(name)
		if *table == nil {
			*table = map[string]*pathNode{}
		}
		if (*table)[name] == nil {
			(*table)[name] = newNode(index)
		}
		roots = append(roots, (*table)[name])
	}
	return roots
}

func (n *pathNode) add(pattern string, index int) {
	for segment := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
		switch segment {
		case "**":
			n.deep.list = append(n.deep.list, index)
			return
		case "*":
			if n.star == nil {
				n.star = newNode(index)
			}
			n = n.star
		default:
			if n.next == nil {
				n.next = map[string]*pathNode{}
			}
			if n.next[segment] == nil {
				n.next[segment] = newNode(index)
			}
			n = n.next[segment]
		}
	}
	n.ends.list = append(n.ends.list, index)
}

// first returns the first rule that matches q at host and path; nil: none.
// unclear says that a header which the rule looks at was sent with several
// values, of which some would match: the request is then to be refused.
func (r *rules) first(q *Request, host, path string) (c *compiledRule, unclear bool) {
	s := search{list: r.list, q: q, best: len(r.list)}
	path = strings.TrimPrefix(path, "/")
	if r.any != nil {
		s.under(r.any, path)
	}
	if n := r.hosts[host]; n != nil {
		s.under(n, path)
	}
	if len(r.tails) > 0 {
		for tail := host; ; {
			dot := strings.IndexByte(tail, '.')
			if dot < 0 {
				break
			}
			tail = tail[dot+1:]
			if n := r.tails[tail]; n != nil {
				s.under(n, path)
			}
		}
	}
	if s.best == len(r.list) {
		return nil, false
	}
	return r.list[s.best], s.unclear
}

// search looks for the lowest index of a rule that matches q.
type search struct {
	list    []*compiledRule
	q       *Request
	best    int // lowest so far; len(list): none
	unclear bool
}

// under searches the rules whose patterns go on from n with the rest of the
// path. The way to the lowest rule is taken first, and none that leads to higher
// ones than are found already: patterns that mix names and * would double the
// ways with each segment.
func (s *search) under(n *pathNode, rest string) {
	s.in(&n.deep)
	segment, rest, more := strings.Cut(rest, "/")
	first, second := n.next[segment], n.star
	if segment == "" {
		second = nil
	}
	if first == nil || second != nil && second.least < first.least {
		first, second = second, first
	}
	s.step(first, rest, more)
	s.step(second, rest, more)
}

func (s *search) step(n *pathNode, rest string, more bool) {
	if n == nil || n.least >= s.best {
		return
	}
	if more {
		s.under(n, rest)
		return
	}
	s.in(&n.deep)
	s.in(&n.ends)
}

func (s *search) lowest(indices []int) {
	for _, i := range indices {
		if i >= s.best {
			return
		}
		if holds, unclear := s.list[i].holds(s.q); holds || unclear {
			s.best, s.unclear = i, unclear
			return
		}
	}
}

// holds reports whether what a rule asks besides host and path is true of q.
func (c *compiledRule) holds(q *Request) (yes, unclear bool) {
	if len(c.Match.Methods) > 0 && !slices.Contains(c.Match.Methods, q.Method) {
		return false, false
	}
	if len(c.Match.Sources) > 0 && !within(q.Source, c.Match.Sources) {
		return false, false
	}
	for name, accepted := range c.Match.Context {
		if !q.said(name, accepted) {
			return false, false
		}
	}
	for name, accepted := range c.Match.Headers {
		good, others := countValues(q, name, accepted)
		switch {
		case good == 0:
			return false, false
		case others > 0:
			// "user,admin" read as one value is how a rule is slipped past.
			unclear = true
		}
	}
	return !unclear, unclear
}

// said reports whether the route says one of the values of itself. No caller
// has a say in that: it is the proxy's own configuration.
func (q *Request) said(name string, accepted []string) bool {
	for i := range q.Context {
		if c := &q.Context[i]; c.Name == name && (len(accepted) == 0 || slices.Contains(accepted, c.Value)) {
			return true
		}
	}
	return false
}

// countValues counts the values of a header that are accepted and those that
// are not. Lines joined by a comma count as the values that they were.
func countValues(q *Request, name string, accepted []string) (good, others int) {
	for i := range q.Headers {
		if q.Headers[i].Name != name {
			continue
		}
		value := q.Headers[i].Value
		if len(accepted) == 0 || slices.Contains(accepted, value) {
			good++
			continue
		}
		for part := range strings.SplitSeq(value, ",") {
			if slices.Contains(accepted, trimOWS(part)) {
				good++
			} else {
				others++
			}
		}
	}
	return good, others
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	a = a.Unmap()
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// matchPath reports whether one pattern of a path matches; it is used where a
// pattern comes with an identity and not with the rules.
func matchPath(pattern, path string) bool {
	for {
		p, patternRest, patternMore := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		if p == "**" {
			return true
		}
		s, pathRest, pathMore := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if p != s && (p != "*" || s == "") {
			return false
		}
		if !pathMore {
			return !patternMore || patternRest == "**"
		}
		if !patternMore {
			return false
		}
		pattern, path = patternRest, pathRest
	}
}

func matchHost(pattern, host string) bool {
	if tail, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, tail) && len(host) > len(tail) && host[len(host)-len(tail)-1] == '.'
	}
	return hostName(pattern) == host
}
