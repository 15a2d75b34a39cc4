package tlsconfig_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// fakeDNS answers every question over UDP with what answer says for the name
// and how often it was asked for before. It returns a resolver that uses it.
func fakeDNS(t testing.TB, answer func(name string, asked int) netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { pc.Close(); wg.Wait() })
	wg.Go(func() {
		asked := map[string]int{}
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := buf[:n]
			if len(q) < 17 {
				continue
			}
			var labels []string
			i := 12
			for i < len(q) && q[i] != 0 {
				l := int(q[i])
				if i+1+l > len(q) {
					break
				}
				labels = append(labels, string(q[i+1:i+1+l]))
				i += 1 + l
			}
			if i+5 > len(q) {
				continue
			}
			kind := binary.BigEndian.Uint16(q[i+1:])
			name := strings.ToLower(strings.Join(labels, "."))
			var data []byte
			a := netip.Addr{}
			if kind == 1 || kind == 28 {
				a = answer(name, asked[name])
			}
			if a.Is4() && kind == 1 || a.Is6() && kind == 28 {
				data = a.AsSlice()
				asked[name]++
			}
			res := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:i+5]...)
			if data != nil {
				res[7] = 1
				res = append(res, 0xc0, 12, q[i+1], q[i+2], 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
				res = append(res, data...)
			}
			pc.WriteTo(res, from)
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}
