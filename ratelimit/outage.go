package ratelimit

import (
	"errors"
	"strings"
)

// Outage is what a limit does while the store that the nodes share is away.
// Stores that nodes do not share ignore it.
type Outage uint8

const (
	// Local counts on each node with its share of N. It is the default: no
	// outage lifts the limit, and none stops the service.
	Local Outage = iota
	// Closed refuses every request that the limit holds for, with 503: for what
	// is worse when it happens too often than when it does not happen at all.
	Closed
	// DangerouslyOpen admits every request, uncounted. It is refused for routes
	// that authenticate, where it would make an outage the time to guess
	// passwords. A finding lists it.
	DangerouslyOpen
)

// String is the constant's name.
func (o Outage) String() string {
	switch o {
	case Local:
		return "Local"
	case Closed:
		return "Closed"
	case DangerouslyOpen:
		return "DangerouslyOpen"
	}
	return "unknown"
}

// ErrOutage is what a Store, which tells of the outage itself, returns for a charge that is [Closed] while it is
// away: the request is answered with 503.
var ErrOutage = errors.New("ratelimit: the shared store is away and a limit is closed meanwhile")

// authenticates reports whether a route is one that tries secrets: it counts by
// address, as is advised for logins, or a segment of its path says so.
func authenticates(r *Route) bool {
	if r.ByAddress {
		return true
	}
	for segment := range strings.FieldsFuncSeq(strings.ToLower(r.Pattern), func(c rune) bool { return c == '/' || c == ' ' }) {
		segment = strings.NewReplacer("-", "", "_", "", ".", "").Replace(segment)
		for _, word := range []string{"login", "logon", "signin", "signup", "register", "auth", "password", "passwd", "passcode", "token", "otp", "mfa", "2fa", "verify", "reset", "recover", "session", "passkey", "webauthn"} {
			if strings.Contains(segment, word) {
				return true
			}
		}
	}
	return false
}
