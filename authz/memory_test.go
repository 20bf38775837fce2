package authz

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a cache counts for its entries must be what they take, or its bound in
// bytes would be none. Nor may one take more than its budget.
func TestMemoryOfAnIdentity(t *testing.T) {
	const n = 20_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const provider = "sso"
	identity := func(groups string, more int) func(c *Cache, k *Credential, i int, now time.Time) {
		return func(c *Cache, k *Credential, i int, now time.Time) {
			user := fmt.Sprintf("user-%06d", i)
			groups := strings.Fields(strings.ReplaceAll(groups, "USER", user))
			c.put(c.key(1, k), &entry{provider: provider, identity: &Identity{
				User: user, Subject: "6f1c1de0-5b1f-4b56-8e1c-" + user, Email: user + "@example.com", Client: strings.Clone("wiki-frontend"),
				TokenID: "token-" + user, Session: strings.Repeat("s", 36+more), Groups: groups, Scopes: strings.Fields("openid profile read write"),
				Expires: now.Add(time.Hour),
			}}, now, time.Hour)
		}
	}
	for name, c := range map[string]struct {
		budget int64
		fill   func(c *Cache, k *Credential, i int, now time.Time)
	}{
		"identity":                    {320, identity("wiki-users engineering berlin on-call", 0)},
		"identity with long names":    {900, identity("wiki-users engineering berlin on-call", 200)},
		"identity with a group alone": {900, identity("wiki-users engineering berlin on-call USER", 0)},
		"refusal": {400, func(c *Cache, k *Credential, _ int, now time.Time) {
			c.put(c.key(1, k), &entry{provider: provider, refusal: &Rejection{Reason: ReasonInactive, Detail: strings.Clone("the provider says that it is not active")}}, now, time.Hour)
		}},
	} {
		fill, budget := c.fill, c.budget
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
			t.Logf("%d bytes each, counted as %d", each, counted)
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
