package authz

import (
	"hash/maphash"
	"slices"
	"strings"
)

// A shape is what identities of one provider may have in common: most that come
// are like one that is there.
type shape struct {
	provider              string
	issuer, client, acr   string
	groups, roles, scopes []string
	app, groupsUnknown    bool

	// Of one identity alone; with any of them a shape is not shared.
	bound      *Binding
	limits     *Limits
	attributes map[string]any

	hash  uint64
	users int // 0: it is free
	cost  int64
}

// shapes are those of a shard, by number. Each is there while it is used.
type shapes struct {
	list   []shape
	free   []uint32
	byHash map[uint64]uint32 // one of those with a hash
}

// shapeSeed is secret: nobody can choose groups whose hashes are the same.
var shapeSeed = maphash.MakeSeed()

func (p *shape) shared() bool { return p.bound == nil && p.limits == nil && p.attributes == nil }

// hashOf only finds the place to look at: what is there is compared.
func hashOf(p *shape) uint64 {
	h := maphash.String(shapeSeed, p.provider)
	for _, s := range [...]string{p.issuer, p.client, p.acr} {
		h = h*31 + maphash.String(shapeSeed, s)
	}
	for _, list := range [...][]string{p.groups, p.roles, p.scopes} {
		h = h*31 + uint64(len(list))
		for _, s := range list {
			h = h*31 + maphash.String(shapeSeed, s)
		}
	}
	return h
}

func (p *shape) like(q *shape) bool {
	return p.provider == q.provider && p.issuer == q.issuer && p.client == q.client && p.acr == q.acr &&
		p.app == q.app && p.groupsUnknown == q.groupsUnknown && p.shared() && q.shared() &&
		slices.Equal(p.groups, q.groups) && slices.Equal(p.roles, q.roles) && slices.Equal(p.scopes, q.scopes)
}

// take returns the number of the shape of an identity, and how many bytes that
// takes more than before. It shares no memory with the identity but for the
// attributes.
func (s *shapes) take(provider string, id *Identity) (n uint32, cost int64) {
	wanted := shape{
		provider: provider, issuer: id.Issuer, client: id.Client, acr: id.ACR,
		groups: id.Groups, roles: id.Roles, scopes: id.Scopes, app: id.App, groupsUnknown: id.GroupsUnknown,
		bound: id.Bound, limits: id.Limits, attributes: id.Attributes,
	}
	if wanted.shared() {
		wanted.hash = hashOf(&wanted)
		if n, there := s.byHash[wanted.hash]; there && s.list[n].like(&wanted) {
			s.list[n].users++
			return n, 0
		}
	}
	wanted.own()
	wanted.users = 1
	if last := len(s.free) - 1; last >= 0 {
		n, s.free = s.free[last], s.free[:last]
		s.list[n] = wanted
	} else {
		n = uint32(len(s.list))
		s.list = append(s.list, wanted)
	}
	if wanted.shared() {
		if s.byHash == nil {
			s.byHash = map[uint64]uint32{}
		}
		s.byHash[wanted.hash] = n
	}
	return n, wanted.cost
}

// leave ends one use of a shape, and returns how many bytes that gives back.
func (s *shapes) leave(n uint32) int64 {
	p := &s.list[n]
	if p.users--; p.users > 0 {
		return 0
	}
	if at, there := s.byHash[p.hash]; there && at == n {
		delete(s.byHash, p.hash)
	}
	cost := p.cost
	*p = shape{}
	s.free = append(s.free, n)
	return cost
}

// read makes an identity of a shape: all of it but what is each one's own.
func (s *shapes) read(n uint32, id *Identity) (provider string) {
	p := &s.list[n]
	*id = Identity{
		Issuer: p.issuer, Client: p.client, ACR: p.acr,
		Groups: p.groups, Roles: p.roles, Scopes: p.scopes, App: p.app, GroupsUnknown: p.groupsUnknown,
		Bound: p.bound, Limits: p.limits, Attributes: p.attributes,
	}
	return p.provider
}

// own gives a shape memory of its own, and counts it.
func (p *shape) own() {
	p.cost = shapeCost
	for _, s := range [...]*string{&p.provider, &p.issuer, &p.client, &p.acr} {
		*s = strings.Clone(*s)
		p.cost += textCost(*s)
	}
	for _, list := range [...]*[]string{&p.groups, &p.roles, &p.scopes} {
		p.cost += int64(valueCost * len(*list))
		*list = slices.Clone(*list)
		for i, s := range *list {
			(*list)[i] = strings.Clone(s)
			p.cost += textCost(s)
		}
	}
	if p.bound != nil {
		p.bound = &Binding{KeyThumbprint: strings.Clone(p.bound.KeyThumbprint), CertificateHash: strings.Clone(p.bound.CertificateHash)}
		p.cost += 2*valueCost + textCost(p.bound.KeyThumbprint) + textCost(p.bound.CertificateHash)
	}
	p.cost += deepSize(p.attributes)
}

// Costs in bytes.
const (
	shapeCost = 416 // with its place in the list, which has room to grow, and in byHash
	valueCost = 16  // of a text, without its letters
)

// textCost is what the letters of a text take: memory comes in steps.
func textCost(s string) int64 { return (int64(len(s)) + 15) &^ 15 }

func deepSize(v any) int64 {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return 0
		}
		n := int64(3 * valueCost)
		for k, w := range v {
			n += int64(len(k)) + 2*valueCost + deepSize(w)
		}
		return n
	case []any:
		n := int64(2 * valueCost)
		for _, w := range v {
			n += valueCost + deepSize(w)
		}
		return n
	case string:
		return int64(valueCost + len(v))
	}
	return valueCost
}
