package tokenstore

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/gatelodge/gatelodge/authz"
)

// A finder does what a map does, through every kind of crowding.
func TestFinderIsAMap(t *testing.T) {
	nobody := authz.Credential{Kind: authz.Bearer}
	for _, homes := range []uint64{1, 3, 16, 1 << 40} { // how many buckets are asked for
		var f finder
		want := map[Hash]uint32{}
		hashes := make([]Hash, 300)
		for i := range hashes {
			// Different tags; the low bits, which say where, are of few kinds.
			binary.LittleEndian.PutUint64(hashes[i][8:], rand.Uint64N(homes)|uint64(i+1)<<48)
		}
		for step := range 30_000 {
			h := &hashes[rand.IntN(len(hashes))]
			if rand.IntN(2) > 0 {
				f.put(secret{hash: *h, used: uint32(step), expires: forever, until: forever})
				want[*h] = uint32(step)
			} else {
				f.drop(slotOf(h))
				delete(want, *h)
			}
			look := &hashes[rand.IntN(len(hashes))]
			got, found := f.find(slotOf(look))
			if used, there := want[*look]; there != (found == 1) || there && (got.used != used || got.hash != *look) {
				t.Fatalf("%d homes, step %d: found %d %v, want %t %d", homes, step, found, got, there, used)
			}
			if r := got.judge(look, &nobody, "alice", 0, found); (r == authz.NoReason) != (found == 1) || found == 0 && r != authz.ReasonUnknownToken {
				t.Fatalf("%d homes, step %d: found %d is judged %v", homes, step, found, r)
			}
			if f.live != len(want) || f.filled < f.live || 8*f.filled > 5*bucketSize*len(f.buckets) || len(f.secrets) != f.live+len(f.free) {
				t.Fatalf("%d homes, step %d: %d secrets in %d places of %d buckets, want %d", homes, step, f.live, f.filled, len(f.buckets), len(want))
			}
		}
	}
}

// What is not there comes with somebody else's secret, and is refused all the
// same: even if that had the same hash.
func TestNeighbourIsNobody(t *testing.T) {
	var f finder
	if got, found := f.find(slot{}); got != &decoy || found != 0 {
		t.Errorf("an empty one: %v, %d", got, found)
	}
	good := bearer(mustSecret(t))
	one := secret{hash: HashOf(good.Secret.Reveal()), expires: forever, until: forever}
	f.put(one)
	for range 100 {
		var s slot
		binary.LittleEndian.PutUint64(s[8:], rand.Uint64()|1)
		if got, found := f.find(s); *got != one || found != 0 {
			t.Fatalf("%v, %d", got, found)
		}
	}
	for found, want := range map[int]authz.Reason{1: authz.NoReason, 0: authz.ReasonUnknownToken} {
		if r := one.judge(&one.hash, &good, "alice", 0, found); r != want {
			t.Errorf("found %d: %v, want %v", found, r, want)
		}
	}
	if bucketBytes, shardBytes := unsafe.Sizeof(bucket{}), unsafe.Sizeof(shard{}); bucketBytes != 64 || shardBytes%64 != 0 {
		t.Errorf("a bucket has %d bytes, a shard %d: want cache lines of 64", bucketBytes, shardBytes)
	}
}
