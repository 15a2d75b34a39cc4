package event_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/inovy/hardening/internal/event"
)

func TestAppendClientLeavesOutWhatIsNotKnown(t *testing.T) {
	first := []slog.Attr{slog.String("a", "b")}
	for _, c := range []struct {
		addr                 netip.Addr
		request, trace, want string
	}{
		{netip.Addr{}, "", "", "[a=b]"},
		{netip.MustParseAddr("192.0.2.1"), "", "", "[a=b client_addr=192.0.2.1]"},
		{netip.Addr{}, "r1", "", "[a=b request_id=r1]"},
		{netip.MustParseAddr("2001:db8::1"), "r1", "00-1", "[a=b client_addr=2001:db8::1 request_id=r1 traceparent=00-1]"},
	} {
		if got := fmt.Sprint(event.AppendClient(first, c.addr, c.request, c.trace)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
