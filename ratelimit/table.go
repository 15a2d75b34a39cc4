package ratelimit

import "sync/atomic"

// A table finds cells by key: an index of pointers, probed linearly. Keys are
// keyed hashes, so they need no further hashing and nobody can make them collide.
// Changes need the lock of the shard. A look-up does not: while a cell is moved it
// may miss it, and it may find one that was removed, which admits nobody.
type table struct {
	index atomic.Pointer[[]atomic.Pointer[cell]] // a power of two long, at most 3/4 of it in use
	n     int                                    // cells
}

// cell is what a key was admitted. It fills a cache line: a hit of buckets touches
// no other memory of its key.
type cell struct {
	key key
	per int64
	window
}

const (
	// cellBytes is what a cell takes of memory beside its words, at worst: itself,
	// and an index filled to three eighths.
	cellBytes = 64 + 8*8/3
	// bucketBytes is what the words of buckets take. They are set apart for every
	// cell, so that it can count to any N within the bound.
	bucketBytes = 160
	keyBytes    = cellBytes + bucketBytes

	wordBytes  = 9                       // of a ring: 8 and what size classes waste
	leastWords = bucketBytes / wordBytes // of a ring within keyBytes
)

// bytes is what the cell takes of the bound.
func (c *cell) bytes() int64 {
	return cellBytes + max(bucketBytes, wordBytes*int64(len(c.words)))
}

// find returns the cell of a key, or nil.
func (t *table) find(k key) *cell {
	index := t.index.Load()
	if index == nil {
		return nil
	}
	cells := *index
	s := int(k.hi)
	for range cells {
		c := cells[s&(len(cells)-1)].Load()
		if c == nil || c.key == k {
			return c
		}
		s++
	}
	return nil
}

// insert adds a cell whose key is not there yet.
func (t *table) insert(c *cell) {
	var cells []atomic.Pointer[cell]
	if index := t.index.Load(); index != nil {
		cells = *index
	}
	if 4*(t.n+1) > 3*len(cells) {
		bigger := make([]atomic.Pointer[cell], max(2*len(cells), 8))
		for i := range cells {
			if old := cells[i].Load(); old != nil {
				enlist(bigger, old)
			}
		}
		cells = bigger
		t.index.Store(&cells)
	}
	enlist(cells, c)
	t.n++
}

func enlist(cells []atomic.Pointer[cell], c *cell) {
	s := int(c.key.hi) & (len(cells) - 1)
	for cells[s].Load() != nil {
		s = (s + 1) & (len(cells) - 1)
	}
	cells[s].Store(c)
}

// removeAt drops the cell at position free of the index. What stood behind it may
// move to its place, so that no probe ends before a cell.
func (t *table) removeAt(free int) {
	cells := *t.index.Load()
	mask := len(cells) - 1
	t.n--
	for s := (free + 1) & mask; ; s = (s + 1) & mask {
		c := cells[s].Load()
		if c == nil {
			break
		}
		if home := int(c.key.hi); (s-home)&mask >= (s-free)&mask {
			cells[free].Store(c)
			free = s
		}
	}
	cells[free].Store(nil)
}
