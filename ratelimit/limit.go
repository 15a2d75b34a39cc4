package ratelimit

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/ulule/limiter/v3"
)

// Limit admits at most N units of cost in any window of length Per, wherever
// the window begins: not N per calendar minute, which lets 2N through around
// the full minute, and not a bucket that refills while it is emptied.
type Limit struct {
	// N is the number of units, from 1 to 1 000 000 000.
	N int64
	// Per is the length of the window, from 1 ms to 400 days.
	Per time.Duration
	// Burst makes the limit a leaky bucket (GCRA) instead of a window: at most
	// Burst units at once, which come back at the pace of N in Per. What it
	// promises is less: any stretch of time t admits at most Burst + N*t/Per, so
	// a window of length Per up to N + Burst. What it takes does not grow with N,
	// and callers are slowed down rather than stopped. A cost above Burst never
	// fits. From 1 to 1 000 000 000. Default: 0, a window.
	Burst int64
	// Name is the policy's name in headers, refusals and events: at most 64
	// letters, digits, '-', '_' and '.', but not "blocked", which is the policy of
	// [Limiter.Block]. Limits that one request can meet have different names.
	// Default: the rule and the window, such as "user-1m", with "-burst" and
	// "-shadow" where these are set. The limits of two routes may share a name,
	// as "route-1h": events name the route besides.
	Name string
	// Shadow tries the limit out: it counts what the others admit, apart from
	// every other limit, refuses nothing, and reports what it would have
	// refused in events (report_only) and [Decision.Shadowed]. Each costs a
	// call of the store of its own, one after the other. While a store that nodes
	// share is away nothing is tried.
	Shadow bool
	// OnOutage is what holds while a store that nodes share is away. Default:
	// [Local].
	OnOutage Outage
}

// PerSecond admits n in any second.
func PerSecond(n int64) Limit { return Limit{N: n, Per: time.Second} }

// PerMinute admits n in any minute.
func PerMinute(n int64) Limit { return Limit{N: n, Per: time.Minute} }

// PerHour admits n in any hour.
func PerHour(n int64) Limit { return Limit{N: n, Per: time.Hour} }

// PerDay admits n in any 24 hours.
func PerDay(n int64) Limit { return Limit{N: n, Per: 24 * time.Hour} }

const (
	maxN   = 1_000_000_000
	minPer = time.Millisecond
	maxPer = 400 * 24 * time.Hour
)

// ErrLimit is what [ParseLimit] and [FromRate] wrap.
var ErrLimit = errors.New("ratelimit: not a limit")

// ParseLimit reads "100-M", the form of ulule/limiter, or "100/m": a number
// and one of s, m, h, d in either case.
func ParseLimit(s string) (Limit, error) {
	bad := func(why string) (Limit, error) {
		return Limit{}, fmt.Errorf("%w: %.40q %s; write it as 100-M or 100/m with one of s, m, h, d", ErrLimit, s, why)
	}
	i := strings.IndexAny(s, "-/")
	if i < 0 || len(s) > 32 {
		return bad("has no separator")
	}
	n, err := strconv.ParseUint(s[:i], 10, 32)
	if err != nil || n == 0 || n > maxN {
		return bad("does not begin with a number from 1 to 1000000000")
	}
	var per time.Duration
	switch strings.ToLower(s[i+1:]) {
	case "s":
		per = time.Second
	case "m":
		per = time.Minute
	case "h":
		per = time.Hour
	case "d":
		per = 24 * time.Hour
	default:
		return bad("has no known unit")
	}
	return Limit{N: int64(n), Per: per}, nil
}

// FromRate takes over a rate of ulule/limiter, or returns [ErrLimit].
func FromRate(r limiter.Rate) (Limit, error) {
	l := Limit{N: r.Limit, Per: r.Period}
	for reason, fix := range l.faults() {
		return Limit{}, fmt.Errorf("%w: rate %.40q %s; %s", ErrLimit, r.Formatted, reason, fix)
	}
	return l, nil
}

// Rate is the limit in the words of ulule/limiter, which have none for Burst.
func (l Limit) Rate() limiter.Rate {
	formatted := strconv.FormatInt(l.N, 10) + "-" + l.Per.String()
	for unit, per := range map[string]time.Duration{"S": time.Second, "M": time.Minute, "H": time.Hour, "D": 24 * time.Hour} {
		if l.Per == per {
			formatted = strconv.FormatInt(l.N, 10) + "-" + unit
		}
	}
	return limiter.Rate{Formatted: formatted, Period: l.Per, Limit: l.N}
}

// String reads as "100 per 1m0s", and "100 per 1m0s in bursts of 20".
func (l Limit) String() string {
	s := strconv.FormatInt(l.N, 10) + " per " + l.Per.String()
	if l.Burst > 0 {
		s += " in bursts of " + strconv.FormatInt(l.Burst, 10)
	}
	return s
}

// perSecond is what a window of the limit admits at most, for each second.
func (l *Limit) perSecond() float64 { return float64(l.N+l.Burst) / l.Per.Seconds() }

// capacity is what the limit admits at once.
func (l *Limit) capacity() int64 {
	if l.Burst > 0 {
		return l.Burst
	}
	return l.N
}

// faults goes over what is wrong with the limit and how to mend it.
func (l Limit) faults() iter.Seq2[string, string] {
	return func(yield func(reason, fix string) bool) {
		for _, f := range []struct {
			wrong       bool
			reason, fix string
		}{
			{l.N <= 0, "admits nothing", "set N to at least 1"},
			{l.N > maxN, "is larger than can be counted", "set N to at most 1000000000"},
			{l.Per < minPer, "has a window shorter than a millisecond", "set Per to at least 1ms"},
			{l.Per > maxPer, "has a window longer than 400 days", "set Per to at most 9600h"},
			{l.Burst < 0 || l.Burst > maxN, "has a burst that cannot be counted", "set Burst to at most 1000000000, or leave it 0 for a window"},
			{l.OnOutage > DangerouslyOpen, "has an unknown OnOutage", "use Local, Closed or DangerouslyOpen"},
			{l.Name != "" && !validName(l.Name), "has a name that headers cannot carry", "use at most 64 letters, digits, '-', '_' and '.'"},
			{l.Name == policyBlocked, "has the name under which who is blocked is refused", "give it another name"},
		} {
			if f.wrong && !yield(f.reason, f.fix) {
				return
			}
		}
	}
}

// nameIn is the limit's name among those of a kind.
func (l *Limit) nameIn(kind string) string {
	if l.Name != "" {
		return l.Name
	}
	name := kind + "-" + per(l.Per)
	if l.Burst > 0 {
		name += "-burst"
	}
	if l.Shadow {
		name += "-shadow"
	}
	return name
}

func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// per is a window in the shortest form for a name: 1m, 90s, 24h.
func per(d time.Duration) string {
	s := d.String()
	s = strings.TrimSuffix(s, "m0s")
	if len(s) < len(d.String()) {
		s += "m"
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return strings.ReplaceAll(s, "µ", "u")
}
