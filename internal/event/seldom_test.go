package event_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/internal/event"
)

func TestSeldomSpeaksOnceAMinuteAndForgetsNoOccurrence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s event.Seldom
		var got []int64
		for _, wait := range []time.Duration{0, time.Second, 58 * time.Second, 2 * time.Second, time.Hour} {
			time.Sleep(wait)
			got = append(got, s.Next())
		}
		if fmt.Sprint(got) != "[1 0 0 3 1]" {
			t.Errorf("got %v", got)
		}
	})
}
