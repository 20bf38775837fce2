package providers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// proofsSeen remembers the proofs that were taken for as long as they would
// pass again (RFC 9449 §11.1). What it holds is bounded, for all together and
// for each key, so that the holder of one token cannot fill it for others.
type proofsSeen struct {
	window time.Duration
	seed   maphash.Seed
	shards [16]proofShard
}

type proofShard struct {
	mu     sync.Mutex
	limit  int
	perKey int
	turned time.Time // when the newer generation began
	newer  proofGeneration
	older  proofGeneration
}

// A proofGeneration is what was seen within one window: an entry is kept for
// one window at least, and two at most.
type proofGeneration struct {
	seen  map[[16]byte]struct{}
	byKey map[[16]byte]int
}

func newProofGeneration() proofGeneration {
	return proofGeneration{map[[16]byte]struct{}{}, map[[16]byte]int{}}
}

func newProofsSeen(limit int, window time.Duration) *proofsSeen {
	s := &proofsSeen{window: window, seed: maphash.MakeSeed()}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.limit = max(limit/len(s.shards)/2, 1)
		sh.perKey = max(sh.limit/4, 1)
		sh.newer, sh.older = newProofGeneration(), newProofGeneration()
	}
	return s
}

// take notes a proof. The error says that it was seen before, or that there is
// no room to remember it, so that it must not pass.
func (s *proofsSeen) take(key, id string, now time.Time) error {
	owner, entry := digest16(key), digest16(key+"\x00"+id)
	sh := s.shard(entry)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch since := now.Sub(sh.turned); {
	case since >= 2*s.window:
		sh.older, sh.newer, sh.turned = newProofGeneration(), newProofGeneration(), now
	case since >= s.window:
		sh.older, sh.newer, sh.turned = sh.newer, newProofGeneration(), now
	}
	if sh.newer.has(entry) || sh.older.has(entry) {
		return errUsed
	}
	if len(sh.newer.seen) >= sh.limit || sh.newer.byKey[owner] >= sh.perKey {
		return errProof("more proofs than can be remembered (dpop.max_proofs)")
	}
	sh.newer.seen[entry] = struct{}{}
	sh.newer.byKey[owner]++
	return nil
}

const errUsed = errProof("the proof was used before")

// copy adds what another one has seen, to be kept for one window from now.
func (s *proofsSeen) copy(other *proofsSeen, now time.Time) {
	for i := range s.shards {
		s.shards[i].turned = now
	}
	for i := range other.shards {
		from := &other.shards[i]
		from.mu.Lock()
		for _, g := range []proofGeneration{from.newer, from.older} {
			for entry := range g.seen {
				s.shard(entry).older.seen[entry] = struct{}{}
			}
		}
		from.mu.Unlock()
	}
}

func (s *proofsSeen) shard(entry [16]byte) *proofShard {
	return &s.shards[maphash.Bytes(s.seed, entry[:])%uint64(len(s.shards))]
}

func (g proofGeneration) has(entry [16]byte) bool {
	_, there := g.seen[entry]
	return there
}

func digest16(s string) (out [16]byte) {
	sum := sha256.Sum256([]byte(s))
	copy(out[:], sum[:])
	return out
}

// nonceStep is for how long one nonce is given out; it is taken for two.
const nonceStep = 2 * time.Minute

// proofNonces makes nonces that any replica with the same key knows again,
// without keeping any: the step of time, and a MAC of it.
type proofNonces struct{ key []byte }

func newProofNonces(key authz.Secret) *proofNonces {
	n := &proofNonces{[]byte(key.Reveal())}
	if len(n.key) == 0 {
		n.key = make([]byte, 32)
		_, _ = rand.Read(n.key) // never fails
	}
	return n
}

func (n *proofNonces) current(now time.Time) string { return n.at(now.UnixNano() / int64(nonceStep)) }

func (n *proofNonces) good(nonce string, now time.Time) bool {
	step := now.UnixNano() / int64(nonceStep)
	for _, s := range []int64{step, step - 1, step + 1} { // +1: another replica's clock
		if hmac.Equal([]byte(nonce), []byte(n.at(s))) {
			return true
		}
	}
	return false
}

func (n *proofNonces) at(step int64) string {
	mac := hmac.New(sha256.New, n.key)
	_ = binary.Write(mac, binary.BigEndian, step)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}
