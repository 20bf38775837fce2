package providers

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gatelodge/gatelodge/authz"
)

// compact copies the texts of an identity that are its own into one piece of
// memory. They were parts of the provider's whole answer, which would stay in
// memory for as long as the identity is remembered. The others are for share.
func compact(id *authz.Identity) {
	texts := [...]*string{&id.User, &id.Subject, &id.Email, &id.TokenID, &id.Session}
	var all strings.Builder
	size := 0
	for _, s := range texts {
		size += len(*s)
	}
	all.Grow(size)
	for _, s := range texts {
		all.WriteString(*s)
	}
	rest := all.String()
	for _, s := range texts {
		n := len(*s)
		*s, rest = rest[:n], rest[n:]
	}
}

// A likeness is what many identities of a provider have in common.
type likeness struct {
	client, acr           string
	groups, roles, scopes []string
}

// likenesses are those met lately: most tokens that come are like one of them,
// and then need no memory for it of their own.
type likenesses struct {
	met [256]atomic.Pointer[likeness]
}

var likenessSeed = maphash.MakeSeed()

// share replaces what an identity has in common with others by what is in
// memory already, or else by a copy that later ones may share.
func (l *likenesses) share(id *authz.Identity) {
	at := &l.met[hashLikeness(id)%uint64(len(l.met))]
	found := at.Load()
	if found == nil || !found.of(id) {
		found = &likeness{
			client: strings.Clone(id.Client), acr: strings.Clone(id.ACR),
			groups: cloneTexts(id.Groups), roles: cloneTexts(id.Roles), scopes: cloneTexts(id.Scopes),
		}
		at.Store(found)
	}
	id.Client, id.ACR, id.Groups, id.Roles, id.Scopes = found.client, found.acr, found.groups, found.roles, found.scopes
}

func (l *likeness) of(id *authz.Identity) bool {
	return l.client == id.Client && l.acr == id.ACR &&
		slices.Equal(l.groups, id.Groups) && slices.Equal(l.roles, id.Roles) && slices.Equal(l.scopes, id.Scopes)
}

// hashLikeness only finds the place to look at: what is there is compared.
func hashLikeness(id *authz.Identity) uint64 {
	h := maphash.String(likenessSeed, id.Client) + maphash.String(likenessSeed, id.ACR)
	for _, list := range [][]string{id.Groups, id.Roles, id.Scopes} {
		for _, s := range list {
			h = h*31 + maphash.String(likenessSeed, s)
		}
	}
	return h
}

// cloneTexts copies a list and its texts; none stays none.
func cloneTexts(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.Clone(s)
	}
	return out
}
