package secrets

import "runtime"

// replace gives the ring other keys, and takes ownership of them. Calls under
// way finish with the keys they found; those are wiped when the last of them is
// done. The generation moves on.
func (r *Ring) replace(keys []ringKey) {
	old := r.inner()
	if old == nil { // destroyed
		wipeKeys(keys)
		return
	}
	fresh := newRing(keys, old.grace, old.activation).inner()
	old.mu.Lock()
	defer old.mu.Unlock()
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
