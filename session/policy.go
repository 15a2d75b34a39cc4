package session

import (
	"fmt"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// Policy is how long sessions live. The zero value means [Policy7Days]; any
// other value is taken whole.
type Policy struct {
	// Absolute is the longest life of a session from its login, whatever
	// happens (ASVS v5.0.0-7.3.2). At most 400 days, which is where browsers
	// cut cookies (RFC 6265bis).
	Absolute time.Duration
	// Idle ends a session that was not used for so long (ASVS v5.0.0-7.3.1).
	Idle time.Duration
	// Touch is how often use is written to the store, at most once per
	// interval: a session may end by up to this much before Idle is over,
	// never after. At most half of Idle.
	Touch time.Duration
	// Persistent lets the cookie survive the end of the browser. NIST SP
	// 800-63B section 5.1 advises against it.
	Persistent bool
}

// Policy7Days is the default: seven days from login, 24 hours idle, kept over a
// restart of the browser. It is longer than NIST SP 800-63B-4 allows for AAL2,
// which ASVS v5.0.0-7.1.1 asks to document as a deviation; the room reports
// it as a finding.
func Policy7Days() Policy {
	return Policy{Absolute: 7 * 24 * time.Hour, Idle: 24 * time.Hour, Touch: 5 * time.Minute, Persistent: true}
}

// PolicyAAL2 keeps within NIST SP 800-63B-4 for assurance level 2: 24 hours
// from login, one hour idle.
func PolicyAAL2() Policy {
	return Policy{Absolute: 24 * time.Hour, Idle: time.Hour, Touch: 5 * time.Minute}
}

// PolicyAAL3 keeps within NIST SP 800-63B-4 for assurance level 3: 12 hours
// from login, 15 minutes idle.
func PolicyAAL3() Policy {
	return Policy{Absolute: 12 * time.Hour, Idle: 15 * time.Minute, Touch: time.Minute}
}

// cookieLifetimeCap is where browsers cut Max-Age (RFC 6265bis section 5.5).
const cookieLifetimeCap = 400 * 24 * time.Hour

func (p Policy) validate(c *faults.Collector) {
	const wholeFix = "start from Policy7Days, PolicyAAL2 or PolicyAAL3 and change what you need"
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Absolute", p.Absolute}, {"Idle", p.Idle}, {"Touch", p.Touch}} {
		switch {
		case f.d < 0:
			c.Add("Policy."+f.name, f.d, "is negative", wholeFix)
		case f.d == 0:
			c.Add("Policy."+f.name, f.d, "is zero in a Policy that is not", wholeFix)
		case f.d < time.Second:
			c.Add("Policy."+f.name, f.d, "is shorter than a second", wholeFix)
		}
	}
	if p.Absolute > cookieLifetimeCap {
		c.Add("Policy.Absolute", p.Absolute, "is longer than browsers keep a cookie", "set at most "+cookieLifetimeCap.String())
	}
	if p.Idle > p.Absolute && p.Absolute > 0 {
		c.Add("Policy.Idle", p.Idle, fmt.Sprintf("is longer than Absolute (%v), so that it never ends a session", p.Absolute), "set it at most as long as Absolute")
	}
	if p.Touch > p.Idle/2 && p.Idle > 0 {
		c.Add("Policy.Touch", p.Touch, fmt.Sprintf("is longer than half of Idle (%v), so that sessions in use would end", p.Idle), "set it to at most "+(p.Idle/2).String())
	}
}

// expiry is when a session ends that was used now.
func (p Policy) expiry(born, now time.Time) time.Time {
	idle, absolute := now.Add(p.Idle), born.Add(p.Absolute)
	if idle.Before(absolute) {
		return idle
	}
	return absolute
}
