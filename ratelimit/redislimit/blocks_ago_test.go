package redislimit

import (
	"testing"
	"time"
)

// A machine that slept, or whose clock was set, never makes a lift newer than what
// others changed since, nor a block older.
func TestChangedAgoErrsOnTheStrictSide(t *testing.T) {
	for _, tt := range []struct {
		name            string
		monotonic, wall time.Duration
		lifts           bool
		want            int64
	}{
		{"a block, both clocks agree", time.Minute, time.Minute, false, 60_000},
		{"a lift, both clocks agree", time.Minute, time.Minute, true, 60_000},
		{"a block before the machine slept for an hour", time.Second, time.Hour, false, 1000},
		{"a lift before the machine slept for an hour", time.Second, time.Hour, true, 3_600_000},
		{"a block before the clock was set back", time.Minute, -time.Hour, false, 60_000},
		{"a lift before the clock was set back", time.Minute, -time.Hour, true, 60_000},
		{"a change of this moment", 0, 0, true, 1},
	} {
		if got := changedAgo(tt.monotonic, tt.wall, tt.lifts); got != tt.want {
			t.Errorf("%s: %d ms ago, want %d", tt.name, got, tt.want)
		}
	}
	now := time.Now()
	for _, u := range []untold{{until: 0, made: now}, {until: now.Add(time.Hour).UnixMilli(), made: now}} {
		if got := u.ago(now.Add(time.Minute)); got != 60_000 {
			t.Errorf("%+v: %d ms ago", u, got)
		}
	}
}
