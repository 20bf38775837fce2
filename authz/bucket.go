package authz

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A bucket holds the rules whose path patterns end at one place of the tree,
// lowest first. A few are tried one after the other. Many are kept by what they
// want besides: a thousand rules for one path, one for each tenant, cost as
// much as ten.
type bucket struct {
	list []int
	keys *keyed // instead of list, where it is long
}

// fewRules is how many rules are tried one after the other.
const fewRules = 8

// keyed are rules by one condition of each: the one that the fewest others
// share. A rule is found by every value that its condition accepts, and is then
// looked at whole: keys only leave out what cannot hold.
type keyed struct {
	rest    []int // rules without such a condition
	context map[string]*byValue
	headers map[string]*byValue
	methods map[string][]int
	sources map[netip.Prefix][]int
	lengths []int // of those networks, in bits
}

type byValue struct {
	any    []int // what counts is that the name is there
	values map[string][]int
}

// A key is one way for a rule to be found.
type key struct {
	kind        keyKind
	name, value string
	present     bool // any value of the name
	network     netip.Prefix
}

type keyKind uint8

const (
	byContext keyKind = iota
	byHeader
	byMethod
	bySource
)

// conditions are the ways to find a rule: of each, all keys together find it
// whenever it holds.
func (c *compiledRule) conditions() (list [][]key) {
	named := func(kind keyKind, conditions map[string][]string) {
		for _, name := range slices.Sorted(maps.Keys(conditions)) {
			keys := []key{{kind: kind, name: name, present: true}}
			if accepted := conditions[name]; len(accepted) > 0 {
				keys = nil
				for _, v := range accepted {
					keys = append(keys, key{kind: kind, name: name, value: v})
				}
			}
			list = append(list, keys)
		}
	}
	named(byContext, c.Match.Context)
	named(byHeader, c.Match.Headers)
	if len(c.Match.Sources) > 0 {
		var keys []key
		for _, n := range c.Match.Sources {
			keys = append(keys, key{kind: bySource, network: n.Masked()})
		}
		list = append(list, keys)
	}
	if len(c.Match.Methods) > 0 {
		var keys []key
		for _, m := range c.Match.Methods {
			keys = append(keys, key{kind: byMethod, value: m})
		}
		list = append(list, keys)
	}
	return list
}

// seal goes over to keys where there are many rules.
func (b *bucket) seal(all []*compiledRule) {
	if len(b.list) <= fewRules {
		return
	}
	shared := map[key]int{} // how many rules have it
	for _, i := range b.list {
		for _, keys := range all[i].conditions() {
			for _, k := range keys {
				shared[k]++
			}
		}
	}
	cost := func(keys []key) (most int) {
		for _, k := range keys {
			most = max(most, shared[k])
		}
		return most
	}
	b.keys = &keyed{
		context: map[string]*byValue{}, headers: map[string]*byValue{}, methods: map[string][]int{}, sources: map[netip.Prefix][]int{},
	}
	for _, i := range b.list {
		conditions := all[i].conditions()
		if len(conditions) == 0 {
			b.keys.rest = append(b.keys.rest, i)
			continue
		}
		best := slices.MinFunc(conditions, func(x, y []key) int { return cost(x) - cost(y) })
		slices.SortFunc(best, key.compare)
		for _, k := range slices.Compact(best) { // one written twice finds it once
			b.keys.add(k, i)
		}
	}
	for n := range b.keys.sources {
		b.keys.lengths = append(b.keys.lengths, n.Bits())
	}
	slices.Sort(b.keys.lengths)
	b.keys.lengths = slices.Compact(b.keys.lengths)
	b.list = nil
}

func (k key) compare(other key) int {
	if c := strings.Compare(k.value, other.value); c != 0 {
		return c
	}
	return k.network.Compare(other.network)
}

func (k *keyed) add(by key, rule int) {
	switch by.kind {
	case byContext:
		addValue(k.context, by, rule)
	case byHeader:
		addValue(k.headers, by, rule)
	case byMethod:
		k.methods[by.value] = append(k.methods[by.value], rule)
	case bySource:
		k.sources[by.network] = append(k.sources[by.network], rule)
	}
}

func addValue(names map[string]*byValue, by key, rule int) {
	v := names[by.name]
	if v == nil {
		v = &byValue{values: map[string][]int{}}
		names[by.name] = v
	}
	if by.present {
		v.any = append(v.any, rule)
		return
	}
	v.values[by.value] = append(v.values[by.value], rule)
}

// in looks through the rules of a bucket.
func (s *search) in(b *bucket) {
	if b.keys == nil {
		s.lowest(b.list)
		return
	}
	k := b.keys
	s.lowest(k.rest)
	s.lowest(k.methods[s.q.Method])
	for i := range s.q.Context {
		if v := k.context[s.q.Context[i].Name]; v != nil {
			s.lowest(v.any)
			s.lowest(v.values[s.q.Context[i].Value])
		}
	}
	if len(k.headers) > 0 {
		s.byHeaders(k.headers)
	}
	if len(k.sources) > 0 {
		s.bySource(k)
	}
}

// byHeaders takes lines joined by a comma for what they were, as holds does.
func (s *search) byHeaders(names map[string]*byValue) {
	for i := range s.q.Headers {
		v := names[s.q.Headers[i].Name]
		if v == nil {
			continue
		}
		value := s.q.Headers[i].Value
		s.lowest(v.any)
		s.lowest(v.values[value])
		for part := range strings.SplitSeq(value, ",") {
			s.lowest(v.values[trimOWS(part)])
		}
	}
}

func (s *search) bySource(k *keyed) {
	source := s.q.Source.Unmap()
	for _, bits := range k.lengths {
		if n, err := source.Prefix(bits); err == nil {
			s.lowest(k.sources[n])
		}
	}
}
