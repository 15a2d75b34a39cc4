package cors

import "sync/atomic"

// slab hands out strings' memory, one slot per request and none twice, so that
// an answer with one header costs a 64th of an allocation and still shares
// nothing with another request.
type slab struct {
	block atomic.Pointer[block]
}

type block struct {
	used  atomic.Uint32
	slots [64]string
}

// next returns memory for one string, which nobody else has.
func (s *slab) next() []string {
	b := s.block.Load()
	for {
		if b != nil {
			if i := b.used.Add(1) - 1; i < uint32(len(b.slots)) {
				return b.slots[i : i+1 : i+1]
			}
		}
		fresh := new(block)
		fresh.used.Store(1)
		if s.block.CompareAndSwap(b, fresh) {
			return fresh.slots[0:1:1]
		}
		b = s.block.Load()
	}
}
