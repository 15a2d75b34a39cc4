package secrets

import (
	"bytes"
	"runtime"
	"slices"
	"time"
)

// replace gives the ring other keys, and takes ownership of them. Calls under
// way finish with the keys they found; those are wiped when the last of them is
// done. The generation moves on.
func (r *Ring) replace(keys []ringKey) {
	old := r.inner()
	if old == nil { // destroyed
		wipeKeys(keys)
		return
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	old.inherit(keys, time.Now())
	fresh := newRing(keys, old.grace, old.activation).inner()
	view := *fresh.view.Load()
	// Calls under way may still move the old generation, once per key at most.
	view.generation = old.view.Load().generation + maxRingKeys
	fresh.view.Store(&view)
	if old.keys == nil || !r.p.CompareAndSwap(old, fresh) {
		wipeKeys(fresh.keys)
		return
	}
	runtime.AddCleanup(old, wipeKeys, old.keys)
}

// inherit notes which of keys are new now, and lets those that are not keep the
// oldest date that was said about them. Those that retired before stay retired.
// b.mu is held.
func (b *ringBox) inherit(keys []ringKey, now time.Time) {
	if len(b.keys) == 0 {
		return
	}
	oldest := b.keys[len(b.keys)-1].version
	for i := range keys {
		k := &keys[i]
		at := slices.IndexFunc(b.keys, func(o ringKey) bool { return bytes.Equal(o.key, k.key) })
		switch {
		case at < 0 && k.version >= oldest:
			k.learned = now
		case at >= 0:
			was := b.keys[at]
			k.learned = was.learned
			if !was.created.IsZero() && k.created.After(was.created) {
				k.created = was.created
			}
		}
	}
}

// restamped reports whether one of keys is also in the ring, with an older date.
func (r *Ring) restamped(keys []ringKey) (yes bool) {
	r.inner().each(func(was ringKey) {
		for _, k := range keys {
			yes = yes || bytes.Equal(was.key, k.key) && !was.created.IsZero() && k.created.After(was.created.Add(restampSlack))
		}
	})
	return yes
}

// learn takes over when the ledger saw each version first: what came to keys that
// it knew already is new, also if a restart brought it. What was there when the
// ledger began to look is taken by its dates.
func (r *Ring) learn(first map[int]time.Time) {
	b := r.inner()
	if b == nil {
		return
	}
	var began time.Time
	for _, t := range first {
		began = earlier(began, t)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	moved := false
	for i := range b.keys {
		k := &b.keys[i]
		if t := first[k.version]; t.After(began) && t.After(k.learned) {
			k.learned, moved = t, true
		}
	}
	if moved {
		b.view.Store(b.at(time.Now(), b.view.Load().generation+1))
	}
}
