package redislimit_test

import (
	"strings"
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

// Who has no key cannot tell from Redis who is counted: under another key the same
// subject has another name, and in a Cluster another slot.
func TestNamesAreHashedUnderTheKey(t *testing.T) {
	for _, slots := range []int{1, 1024} {
		srv, client, _ := mini(t)
		c := charge(2)
		c.Subject.Name = "alice@example.com"
		for _, key := range []string{"a", "b", "c"} {
			take(t, newStore(t, client, func(cfg *redislimit.Config) {
				cfg.Namespace, cfg.Slots, cfg.Keys = "shop", slots, &turning{1, [][]byte{[]byte(key)}}
			}), c)
		}
		names, tags := map[string]bool{}, map[string]bool{}
		for _, k := range srv.Keys() {
			tag, name, _ := strings.Cut(k, "}:")
			names[name], tags[tag] = true, true
		}
		if len(names) != 3 || slots > 1 && len(tags) < 2 {
			t.Errorf("%d slots: three keys gave %q", slots, srv.Keys())
		}
	}
}

// A leaky bucket expires too, and one without expiry gets one.
func TestKeysOfBurstsExpireAndHeal(t *testing.T) {
	srv, client, advance := mini(t)
	s := newStore(t, client)
	c := charge(2)
	c.Burst = 2
	for range 3 {
		take(t, s, c)
	}
	keys := srv.Keys()
	if len(keys) != 1 || srv.TTL(keys[0]) <= 0 || srv.TTL(keys[0]) > time.Hour+time.Second {
		t.Fatalf("%q expire after %v", keys, srv.TTL(keys[0]))
	}
	if err := client.Persist(t.Context(), keys[0]).Err(); err != nil {
		t.Fatal(err)
	}
	if ok, _ := take(t, s, c); ok {
		t.Fatal("more than Burst")
	}
	if srv.TTL(keys[0]) <= 0 {
		t.Error("a key without expiry was left so")
	}
	advance(time.Hour)
	if ok, _ := take(t, s, c); !ok {
		t.Error("blocked for longer than it leaks")
	}
}
