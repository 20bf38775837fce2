package tokenstore

import "encoding/binary"

// A finder keeps secrets and finds them by the front of their hash.
//
// It is not Go's map, because a look for what is not there must cost what a
// look for something costs. Where there are many secrets, far memory is what
// takes time, and anybody could measure a look into it that did not take place.
// So it is made of buckets of the size of a cache line, read without a branch,
// and a hash that is not there comes with somebody else's secret: one bucket
// and one secret are read, either way. Neither holds a pointer.
type finder struct {
	buckets []bucket // a power of two
	secrets []secret
	free    []uint32 // places among the secrets
	live    int      // secrets
	filled  int      // places in buckets, with those of secrets that were dropped
}

// A bucket is filled from the front. What finds no place goes into the next
// one; so a full one stays full, until all are made anew.
type bucket struct {
	tags [bucketSize]uint64 // a part of the hash; all of it is compared later
	at   [bucketSize]uint32 // among the secrets, counted from one; 0: free
	_    uint32
}

const (
	bucketSize = 5
	// vacant is the place of a secret that was dropped.
	vacant = ^uint32(0)
)

// tagOf is the part of a hash that finds, and never 0, which is the tag of free
// places. The shard is chosen by another part.
func tagOf(s slot) uint64 { return binary.LittleEndian.Uint64(s[8:]) | 1<<63 }

// look returns the place of a tag and 1, or the first place and 0.
func (k *bucket) look(tag uint64) (at uint32, found int) {
	at = k.at[0]
	for i := range bucketSize {
		x := k.tags[i] ^ tag
		same := uint32((x|-x)>>63) ^ 1
		at ^= (at ^ k.at[i]) & -same
		found |= int(same)
	}
	return at, found
}

func (k *bucket) full() bool { return k.at[bucketSize-1] != 0 }

// find returns the secret at a slot and 1, or any other one and 0.
func (f *finder) find(s slot) (*secret, int) {
	if f.live == 0 {
		return &decoy, 0
	}
	tag, mask := tagOf(s), uint64(len(f.buckets)-1)
	for i, behind := tag&mask, false; ; i = (i + 1) & mask {
		k := &f.buckets[i]
		at, found := k.look(tag)
		if at != 0 && at != vacant && (found == 1 || behind || !k.full()) {
			return &f.secrets[at-1], found
		}
		if behind && at == vacant {
			return &decoy, 0
		}
		// Empty: it would be here. Full: it may be in the next.
		behind = behind || !k.full()
	}
}

// place returns where a slot is stored, or nil.
func (f *finder) place(s slot) (k *bucket, i int) {
	if f.live == 0 {
		return nil, 0
	}
	tag, mask := tagOf(s), uint64(len(f.buckets)-1)
	for b := tag & mask; ; b = (b + 1) & mask {
		k := &f.buckets[b]
		for i := range bucketSize {
			if at := k.at[i]; k.tags[i] == tag && at != 0 && at != vacant && f.secrets[at-1].slot() == s {
				return k, i
			}
		}
		if !k.full() {
			return nil, 0
		}
	}
}

// put stores a secret, in the place of one with the same slot.
func (f *finder) put(one secret) {
	s := one.slot()
	if k, i := f.place(s); k != nil {
		f.secrets[k.at[i]-1] = one
		return
	}
	if 8*(f.filled+1) > 5*bucketSize*len(f.buckets) {
		f.renew()
	}
	var at uint32
	if last := len(f.free) - 1; last >= 0 {
		at = f.free[last]
		f.free = f.free[:last]
		f.secrets[at-1] = one
	} else {
		if n := len(f.secrets); n == cap(f.secrets) { // append would make room for a quarter more
			f.secrets = append(make([]secret, 0, n+n/10+4), f.secrets...)
		}
		f.secrets = append(f.secrets, one)
		at = uint32(len(f.secrets))
	}
	f.add(tagOf(s), at)
	f.live++
}

// add stores a place under a tag that is not there.
func (f *finder) add(tag uint64, place uint32) {
	mask := uint64(len(f.buckets) - 1)
	for b := tag & mask; ; b = (b + 1) & mask {
		k := &f.buckets[b]
		for i, at := range k.at {
			if at != 0 && at != vacant {
				continue
			}
			if at == 0 {
				f.filled++
			}
			k.tags[i], k.at[i] = tag, place
			return
		}
	}
}

// renew makes room: up to twice as many places as the secrets need.
func (f *finder) renew() {
	old, n := f.buckets, 4
	for 16*(f.live+1) > 5*bucketSize*n {
		n *= 2
	}
	f.buckets, f.filled = make([]bucket, n), 0
	for b := range old {
		for i, at := range old[b].at {
			if at != 0 && at != vacant {
				f.add(old[b].tags[i], at)
			}
		}
	}
}

// drop removes the secret at a slot.
func (f *finder) drop(s slot) {
	k, i := f.place(s)
	if k == nil {
		return
	}
	f.secrets[k.at[i]-1] = secret{}
	f.free = append(f.free, k.at[i])
	f.live--
	if k.full() {
		k.tags[i], k.at[i] = 0, vacant
		return
	}
	f.filled--
	last := i
	for last+1 < bucketSize && k.at[last+1] != 0 {
		last++
	}
	k.tags[i], k.at[i] = k.tags[last], k.at[last]
	k.tags[last], k.at[last] = 0, 0
}
