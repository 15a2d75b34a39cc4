package integration

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	ulule "github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"
	ululetests "github.com/ulule/limiter/v3/drivers/store/tests"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

type limitKeys struct{}

func (limitKeys) Generation() uint64              { return 1 }
func (limitKeys) Derive(_ string, n int) [][]byte { return [][]byte{make([]byte, n)} }

// The tests that ulule/limiter has for its stores, on ours.
func TestOurStoresPassUlulesStoreTests(t *testing.T) {
	memory := func(t *testing.T) ratelimit.Store {
		s, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	shared := func(t *testing.T, addr string) ratelimit.Store {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		s, err := redislimit.New(redislimit.Config{Client: client, Namespace: "ulule-" + rand.Text()[:8], Keys: limitKeys{}, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("memory, one after the other", func(t *testing.T) {
		ululetests.TestStoreSequentialAccess(t, ratelimit.ToUlule(memory(t)))
	})
	t.Run("memory, at once", func(t *testing.T) {
		ululetests.TestStoreConcurrentAccess(t, ratelimit.ToUlule(memory(t)))
	})
	t.Run("miniredis, one after the other", func(t *testing.T) {
		ululetests.TestStoreSequentialAccess(t, ratelimit.ToUlule(shared(t, miniredis.RunT(t).Addr())))
	})
	t.Run("Redis, one after the other", func(t *testing.T) {
		ululetests.TestStoreSequentialAccess(t, ratelimit.ToUlule(shared(t, testenv.Redis(t))))
	})
	t.Run("Redis, at once", func(t *testing.T) {
		ululetests.TestStoreConcurrentAccess(t, ratelimit.ToUlule(shared(t, testenv.Redis(t))))
	})
}

func TestUlulesRedisStoreHoldsToTheContractThatNeedsNoClock(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testenv.Redis(t)})
	t.Cleanup(func() { _ = client.Close() })
	storetest.Run(t, storetest.Subject{New: func(t *testing.T) ratelimit.Store {
		s, err := ululeredis.NewStoreWithOptions(client, ulule.StoreOptions{Prefix: "ulule-" + rand.Text()[:8]})
		if err != nil {
			t.Fatal(err)
		}
		return ratelimit.FromUlule(s)
	}})
}
