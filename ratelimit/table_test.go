package ratelimit

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// Law: a table holds what a map would, also when every key has the same home.
func TestTableAgreesWithAMap(t *testing.T) {
	for _, homes := range []uint64{1, 3, 1 << 60} {
		r := rand.New(rand.NewPCG(homes, 1))
		var table table
		truth := map[key]int64{}
		for step := range 20000 {
			k := key{lo: r.Uint64N(50), hi: r.Uint64N(4) % homes}
			if homes > 4 {
				k.hi = k.lo * 0x9e3779b97f4a7c15
			}
			c := table.find(k)
			per, ok := truth[k]
			if (c != nil) != ok || ok && c.per != per {
				t.Fatalf("step %d: found %v, want %t", step, c != nil, ok)
			}
			switch {
			case !ok:
				table.insert(&cell{key: k, per: int64(step)})
				truth[k] = int64(step)
			case step%2 == 0:
				cells, at := *table.index.Load(), 0
				for cells[at].Load() != c {
					at++
				}
				table.removeAt(at)
				delete(truth, k)
			}
			if table.n != len(truth) {
				t.Fatalf("step %d: %d cells, want %d", step, table.n, len(truth))
			}
		}
		for k := range truth {
			if table.find(k) == nil {
				t.Errorf("%v is lost", k)
			}
		}
	}
}

// A hit costs one cache line, and a key is counted with what it takes.
func TestACellIsACacheLine(t *testing.T) {
	if size := reflect.TypeFor[cell]().Size(); size > 64 {
		t.Errorf("%d bytes", size)
	}
	if keyBytes > 250 || bucketWords*8 > bucketBytes {
		t.Errorf("a key is counted with %d bytes, %d of them for %d words", keyBytes, bucketBytes, bucketWords)
	}
}
