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
// A key is its bytes, however it is spelt, and also where a token or a password
// spells it.
func eachDouble(items []item, seed maphash.Seed, report func(f, first *field)) {
	type print struct {
		sum uint64
		f   *field
	}
	var short [128]print // a table twice as large as what ordinary services load
	table := short[:]
	n, keys := 0, false
	for _, it := range items {
		n++
		switch {
		case it.ring != nil:
			n += maxRingKeys
			keys = true
		case it.field.kind == kindKey:
			keys = true
		}
	}
	if keys {
		n += len(items) // of each what it spells
	}
	if 2*n > len(table) {
		table = make([]print, 1<<bits.Len(uint(2*n)))
	}
	see := func(f *field, material []byte) (double bool) {
		sum := maphash.Bytes(seed, material)
		i := sum & uint64(len(table)-1)
		for ; table[i].f != nil; i = (i + 1) & uint64(len(table)-1) {
			if table[i].sum == sum {
				if table[i].f != f {
					report(f, table[i].f)
				}
				return true
			}
		}
		table[i] = print{sum, f}
		return false
	}
	var scratch [2 * maxKeyBits / 8]byte // no key is spelt with more, but for its prefix
	defer clear(scratch[:])
	for _, it := range items {
		if it.ring != nil {
			it.ring.inner().each(func(k ringKey) { see(it.field, k.key) })
			continue
		}
		it.secret.peek(func(text []byte) {
			if it.field.kind != kindKey && see(it.field, text) || !keys || len(text) < minKeyBits/8 {
				return
			}
			buf := scratch[:]
			if len(text) > len(buf) { // a key of the greatest length, with a prefix
				buf = make([]byte, len(text))
			}
			if key, ok := decodeKeyInto(buf, text); ok {
				see(it.field, key)
				clear(key)
			}
		})
	}
}
