package providers

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/authz"
)

// Identities that have something in common share its memory, and none is taken
// for another; nor does one keep the provider's answer in memory.
func TestIdentitiesShareWhatTheyHaveInCommon(t *testing.T) {
	var l likenesses
	answer := strings.Repeat("x", 100)
	text := func(s string) string { return strings.ReplaceAll(answer, "x", s)[:len(s)] }
	make1 := func(user string, groups, scopes []string) authz.Identity {
		id := authz.Identity{User: text(user), Subject: text("sub-" + user), Client: text("wiki"), ACR: text("1")}
		for _, g := range groups {
			id.Groups = append(id.Groups, text(g))
		}
		for _, s := range scopes {
			id.Scopes = append(id.Scopes, text(s))
		}
		want := id
		compact(&id)
		l.share(&id)
		if diff := cmp.Diff(want, id, cmp.AllowUnexported(authz.Identity{})); diff != "" {
			t.Errorf("%s: %s", user, diff)
		}
		return id
	}
	alice, bob := make1("alice", []string{"eng", "ops"}, []string{"read"}), make1("bob", []string{"eng", "ops"}, []string{"read"})
	if unsafe.SliceData(alice.Groups) != unsafe.SliceData(bob.Groups) || unsafe.StringData(alice.Client) != unsafe.StringData(bob.Client) {
		t.Error("nothing is shared")
	}
	// The same words, otherwise divided.
	make1("carol", []string{"eng"}, []string{"ops", "read"})
	make1("dave", nil, []string{"eng", "ops", "read"})
	make1("erin", []string{"ops", "eng"}, []string{"read"})
	for i := range 1000 {
		make1("user", []string{strings.Repeat("g", i%90)}, nil)
	}
}
