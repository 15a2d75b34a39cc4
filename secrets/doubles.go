package secrets

import (
	"hash/maphash"
	"math/bits"
)

func sameAs(first *field) flaw {
	return flaw{reason: "is the same as " + first.name, fix: "give each its own secret"}
}

// eachDouble calls report for fields that hold the value of an earlier one:
// whoever learns one of them has the other, and rotating one breaks the other.
func eachDouble(items []item, seed maphash.Seed, report func(f, first *field)) {
	type print struct {
		sum uint64
		f   *field
	}
	var short [128]print // a table twice as large as what ordinary services load
	table := short[:]
	n := 0
	for _, it := range items {
		n++
		if it.ring != nil {
			n += maxRingKeys
		}
	}
	if 2*n > len(table) {
		table = make([]print, 1<<bits.Len(uint(2*n)))
	}
	see := func(f *field, material []byte) {
		sum := maphash.Bytes(seed, material)
		i := sum & uint64(len(table)-1)
		for ; table[i].f != nil; i = (i + 1) & uint64(len(table)-1) {
			if table[i].sum == sum {
				if table[i].f != f {
					report(f, table[i].f)
				}
				return
			}
		}
		table[i] = print{sum, f}
	}
	for _, it := range items {
		if it.ring != nil {
			it.ring.inner().each(func(k ringKey) { see(it.field, k.key) })
			continue
		}
		it.secret.peek(func(text []byte) {
			if it.field.kind == kindKey { // two spellings of one key are one key
				if key, ok := decodeKey(text); ok {
					see(it.field, key)
					clear(key)
					return
				}
			}
			see(it.field, text)
		})
	}
}
