package storetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

func TestTheMemoryStoreHoldsToTheContract(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		New: func(t *testing.T) ratelimit.Store {
			s, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Advance: time.Sleep,
		Around:  synctest.Test,
	})
}
