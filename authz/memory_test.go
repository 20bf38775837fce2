package authz

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// What a cache counts for its entries must be what they take, or its bound in
// bytes would be none. An identity as large sites have them must fit into the
// budget: 10,000 of them in 10 MB.
func TestMemoryOfAnIdentity(t *testing.T) {
	const n, budget = 20_000, 1000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const provider = "sso"
	for name, fill := range map[string]func(c *Cache, k *Credential, i int, now time.Time){
		"identity": func(c *Cache, k *Credential, i int, now time.Time) {
			user := fmt.Sprintf("user-%06d", i)
			groups := strings.Split("wiki-users engineering berlin on-call "+user, " ")
			c.put(c.key(1, k), newEntry(&NamedProvider{Name: provider}, &Identity{
				User: user, Subject: "6f1c1de0-5b1f-4b56-8e1c-" + user, Email: user + "@example.com", Client: strings.Clone("wiki-frontend"),
				TokenID: "token-" + user, Session: strings.Repeat("s", 36), Groups: groups, Scopes: strings.Fields("openid profile read write"),
				Expires: now.Add(time.Hour),
			}), now, time.Hour)
		},
		"refusal": func(c *Cache, k *Credential, _ int, now time.Time) {
			c.put(c.key(1, k), &entry{provider: provider, refusal: &Rejection{Reason: ReasonInactive, Detail: strings.Clone("the provider says that it is not active")}}, now, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewCache(CacheLimits{Entries: 2 * n, NegativeEntries: 2 * n})
			if err != nil {
				t.Fatal(err)
			}
			before, now := heap(), time.Now()
			for i := range n {
				fill(c, &Credential{Kind: Bearer, Secret: NewSecret(fmt.Sprint(i))}, i, now)
			}
			each, counted := (heap()-before)/n, c.Stats().Bytes/n
			t.Logf("%d bytes each, of which %d are the identity; counted as %d", each, unsafe.Sizeof(Identity{}), counted)
			if each > counted {
				t.Error("an entry takes more than is counted for it")
			}
			if each > budget {
				t.Errorf("want at most %d", budget)
			}
			runtime.KeepAlive(c)
		})
	}
}
