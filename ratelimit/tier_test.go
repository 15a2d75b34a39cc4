package ratelimit_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/inovy/hardening/ratelimit"
)

func member(r *http.Request) (ratelimit.Identity, error) {
	return ratelimit.Identity{User: r.Header.Get("X-User"), Org: r.Header.Get("X-Org"), Tier: r.Header.Get("X-Tier")}, nil
}

func TestAnOrganisationIsLimitedOverAllItsUsers(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Identify: member, Tiers: []ratelimit.Tier{
		{Name: "free", Org: []ratelimit.Limit{ratelimit.PerHour(4)}},
		{Name: "pro", Org: []ratelimit.Limit{ratelimit.PerHour(6)}},
	}})
	h := l.Wrap(ok)
	admitted := func(headers ...string) (n int) {
		for i := range 9 {
			if get(h, "192.0.2."+strconv.Itoa(i+1)+":1", "/", append(headers, "X-User", "u"+strconv.Itoa(i))...).Code == 204 {
				n++
			}
		}
		return n
	}
	if n := admitted("X-Org", "clinic"); n != 4 {
		t.Errorf("%d of 4 admitted", n)
	}
	if n := admitted("X-Org", "clinic", "X-Tier", "pro"); n != 2 {
		t.Errorf("%d more admitted in a better tier, want 2: what was used stays", n)
	}
	if n := admitted("X-Org", "lab"); n != 4 {
		t.Errorf("another organisation was admitted %d of 4", n)
	}
	if n := admitted(); n != 9 {
		t.Errorf("users without an organisation were admitted %d of 9", n)
	}
}
