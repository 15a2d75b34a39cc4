package tlsconfig

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// hostSet are the hosts that a server answers for. It is immutable.
type hostSet struct {
	names     map[string]bool
	wildcards map[string]bool // "example.org" for "*.example.org", which is any one label
	addrs     map[netip.Addr]bool
}

func newHostSet() *hostSet {
	return &hostSet{map[string]bool{}, map[string]bool{}, map[netip.Addr]bool{}}
}

func (h *hostSet) addName(name string) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if a, err := netip.ParseAddr(name); err == nil {
		h.addrs[a.Unmap()] = true
	} else if parent, ok := strings.CutPrefix(name, "*."); ok {
		h.wildcards[parent] = true
	} else {
		h.names[name] = true
	}
}

// has reports whether host, as a request names it, is one of the set. It does
// not allocate for a name in lower case.
func (h *hostSet) has(host string, local net.Addr) bool {
	host, ok := withoutPort(host)
	if !ok {
		return false
	}
	if h.names[host] {
		return true
	}
	if a, ok := addrOfHost(host); ok {
		return h.addrs[a.Unmap()] || isAddr(local, a)
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if h.names[name] {
		return true
	}
	label, parent, ok := strings.Cut(name, ".")
	return ok && h.wildcards[parent] && validHost(label)
}

// addrOfHost reads "192.0.2.1" and "[2001:db8::1]".
func addrOfHost(host string) (netip.Addr, bool) {
	inner, v6 := strings.CutPrefix(host, "[")
	if v6 {
		if inner, v6 = strings.CutSuffix(inner, "]"); !v6 {
			return netip.Addr{}, false
		}
	}
	if inner == "" || !v6 && (inner[len(inner)-1] < '0' || inner[len(inner)-1] > '9') { // a name: the error of ParseAddr would allocate
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.Zone() == "" && a.Is6() == v6
}

// withoutPort cuts the port off the host of a request; ok is false if what
// follows the colon is none, which net/http lets through.
func withoutPort(host string) (name string, ok bool) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 { // "[::1]"
		return host, true
	}
	for _, c := range []byte(host[i+1:]) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return host[:i], len(host)-i <= len(":65535")
}

// isAddr reports whether the connection leads to the address a.
func isAddr(local net.Addr, a netip.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap().WithZone("") == a.Unmap()
}

// hostsOf are those of the certificates, in use, in reserve or expired.
func (s *snapshot) hostsOf(more []string) *hostSet {
	h := newHostSet()
	for i := range s.tiers {
		for _, c := range s.tiers[i].all {
			for _, name := range c.Leaf.DNSNames {
				h.addName(name)
			}
			for _, ip := range c.Leaf.IPAddresses {
				if a, ok := netip.AddrFromSlice(ip); ok {
					h.addrs[a.Unmap()] = true
				}
			}
		}
	}
	for _, name := range more {
		h.addName(name)
	}
	return h
}

func checkHosts(f *faults.Collector, hosts []string, anyHost bool) {
	if hosts != nil && len(hosts) == 0 {
		f.Missing("Hosts", "is empty but not nil", "leave it nil to answer for the names of the certificates alone")
	}
	if anyHost && len(hosts) > 0 {
		f.Add("DangerouslyAnyHost", anyHost, "contradicts Hosts", "set one of them")
	}
	for i, h := range hosts {
		name, wildcard := strings.CutPrefix(h, "*.")
		if !validServerName(name) || wildcard && (!strings.Contains(name, ".") || !validHost(name)) {
			f.Add(fmt.Sprintf("Hosts[%d]", i), h, "is neither a DNS name nor an IP address", `write it without scheme, port and brackets: "app.example", "*.app.example"`)
		}
	}
}

// refuseForeignHosts answers requests for a host that is none of s's with 421
// (RFC 9110 section 15.5.20).
func (s *Server) refuseForeignHosts(srv *http.Server) {
	refused := newTally(func(reason string, n int, last string) {
		sink := event.Sink{Logger: s.logger, Room: room, Name: s.name}
		_ = sink.Emit(context.Background(), event.InputValidationFail, slog.String(event.KeyOutcome, event.OutcomeDenied), // without Audit it never fails
			slog.String(event.KeyReason, reason), slog.Int(event.KeyCount, n), slog.String(event.KeyLastAddress, last))
	})
	next := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if r.Host == "" || s.hosts.Load().has(r.Host, local) { // "" names no host, so no foreign one: clients of HTTP/1.0
			next.ServeHTTP(w, r)
			return
		}
		refused.add("host", hardening.ClientOf(r).Addr.String())
		s.onDeny(w, r, &hardening.Problem{Status: http.StatusMisdirectedRequest, Detail: "This address does not serve the requested host."})
	})
}

func hostFinding(anyHost bool, component string) hardening.Finding {
	var bad []string
	if anyHost {
		bad = []string{"every host reaches the handler"}
	}
	return finding("HDN-TLS-068", component, "Only hosts that the certificates name reach the handler", hardening.Medium,
		"the names of the certificates, and ServerConfig.Hosts", bad,
		"others are answered 421", "list the further names in ServerConfig.Hosts",
		hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-4.1.3", Relation: hardening.Supports},
		hardening.Control{Framework: hardening.ISO27002, ID: "8.26", Relation: hardening.Supports},
		hardening.Control{Framework: hardening.OWASP, ID: "A05:2021", Relation: hardening.Supports})
}
