package ratelimit

// A table finds windows by key: dense entries, and an index of their positions
// probed linearly. Keys are keyed hashes, so they need no further hashing and
// nobody can make them collide. Against a map of windows it saves a hash on
// each look-up, half the memory, and the list that a sweep would need.
type table struct {
	index   []uint32 // 1 + position in entries, 0 is free; a power of two long
	entries []entry
}

type entry struct {
	key key
	w   window
	per int64
}

// entryBytes is what an entry takes of memory beside its window, at worst: 48
// and a quarter to grow, and an index filled to three eighths.
const entryBytes = 48*5/4 + 4*8/3

func (t *table) slot(k key) int { return int(k.hi) & (len(t.index) - 1) }

// find returns the position of a key's entry, or -1.
func (t *table) find(k key) int {
	if len(t.index) == 0 {
		return -1
	}
	for s := t.slot(k); ; s = (s + 1) & (len(t.index) - 1) {
		i := int(t.index[s]) - 1
		if i < 0 || t.entries[i].key == k {
			return i
		}
	}
}

// insert adds an entry whose key is not there yet.
func (t *table) insert(e entry) {
	if 4*(len(t.entries)+1) > 3*len(t.index) {
		t.index = make([]uint32, max(2*len(t.index), 8))
		for i := range t.entries {
			t.enlist(i)
		}
	}
	if n := len(t.entries); n == cap(t.entries) { // append would double a short one
		bigger := make([]entry, n, n+n/4+1)
		copy(bigger, t.entries)
		t.entries = bigger
	}
	t.entries = append(t.entries, e)
	t.enlist(len(t.entries) - 1)
}

func (t *table) enlist(i int) {
	s := t.slot(t.entries[i].key)
	for t.index[s] != 0 {
		s = (s + 1) & (len(t.index) - 1)
	}
	t.index[s] = uint32(i + 1)
}

// slotOf is where the index points to position i.
func (t *table) slotOf(i int) int {
	s := t.slot(t.entries[i].key)
	for t.index[s] != uint32(i+1) {
		s = (s + 1) & (len(t.index) - 1)
	}
	return s
}

// remove drops the entry at i; the last one takes its place.
func (t *table) remove(i int) {
	last := len(t.entries) - 1
	free := t.slotOf(i)
	if i != last {
		t.index[t.slotOf(last)] = uint32(i + 1)
		t.entries[i] = t.entries[last]
	}
	t.entries[last] = entry{}
	t.entries = t.entries[:last]
	// Close the gap, so that no probe ends before an entry behind it.
	mask := len(t.index) - 1
	t.index[free] = 0
	for s := (free + 1) & mask; t.index[s] != 0; s = (s + 1) & mask {
		home := t.slot(t.entries[t.index[s]-1].key)
		if (s-home)&mask >= (s-free)&mask {
			t.index[free], t.index[s] = t.index[s], 0
			free = s
		}
	}
}
