package redislimit_test

import (
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit/redislimit"
)

// turning is a ring whose keys change.
type turning struct {
	generation uint64
	keys       [][]byte
}

func (r *turning) Generation() uint64          { return r.generation }
func (r *turning) Derive(string, int) [][]byte { return r.keys }

func TestABlockOutlivesTheKeyItWasMadeUnder(t *testing.T) {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	old, young := []byte("old"), []byte("young")
	keys := &turning{1, [][]byte{old}}
	l := limiter(t, newStore(t, client, func(c *redislimit.Config) { c.Keys = keys }))
	if err := l.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); err != nil {
		t.Fatal(err)
	}
	keys.generation, keys.keys = 2, [][]byte{young, old}
	if admits(t, l, eve) {
		t.Error("a rotation released a blocked user")
	}
	if err := l.Block(t.Context(), eve, time.Time{}, "solved"); err != nil || !admits(t, l, eve) {
		t.Errorf("what was blocked under the old key is not lifted: %v", err)
	}
}
