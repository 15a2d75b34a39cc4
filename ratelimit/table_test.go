package ratelimit

import (
	"math/rand/v2"
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
			i := table.find(k)
			per, ok := truth[k]
			if (i >= 0) != ok || ok && table.entries[i].per != per {
				t.Fatalf("step %d: found %d, want %t", step, i, ok)
			}
			switch {
			case !ok:
				table.insert(entry{key: k, per: int64(step)})
				truth[k] = int64(step)
			case step%2 == 0:
				table.remove(i)
				delete(truth, k)
			}
			if len(table.entries) != len(truth) {
				t.Fatalf("step %d: %d entries, want %d", step, len(table.entries), len(truth))
			}
		}
		for k := range truth {
			if table.find(k) < 0 {
				t.Errorf("%v is lost", k)
			}
		}
	}
}
