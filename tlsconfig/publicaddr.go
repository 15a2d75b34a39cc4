package tlsconfig

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// specialRange is a block that no public service lives in, and the class that
// an event names. Sources: the IANA IPv4 and IPv6 Special-Purpose Address
// Registries, every entry, those included that are globally reachable (they
// serve anycast infrastructure, not services); and the blocks of multicast
// (RFC 5771, RFC 4291).
type specialRange struct {
	prefix netip.Prefix
	class  string
}

func block(prefix, class string) specialRange {
	return specialRange{netip.MustParsePrefix(prefix), class}
}

// specialRanges4: the first match names the class.
func specialRanges4() []specialRange {
	return []specialRange{
		block("0.0.0.0/8", "this network"),        // RFC 791 section 3.2; 0.0.0.0 connects to the machine itself
		block("10.0.0.0/8", "private"),            // RFC 1918
		block("100.64.0.0/10", "shared"),          // RFC 6598, carriers; clouds use it inside
		block("127.0.0.0/8", "loopback"),          // RFC 1122 section 3.2.1.3
		block("169.254.0.0/16", "link-local"),     // RFC 3927; metadata of most clouds
		block("172.16.0.0/12", "private"),         // RFC 1918
		block("192.0.0.0/24", "protocol"),         // RFC 6890; 192.0.0.192 is Oracle's metadata
		block("192.0.2.0/24", "documentation"),    // RFC 5737
		block("192.31.196.0/24", "protocol"),      // RFC 7535, AS112
		block("192.52.193.0/24", "protocol"),      // RFC 7450, AMT
		block("192.88.99.0/24", "protocol"),       // RFC 7526, 6to4 relays
		block("192.168.0.0/16", "private"),        // RFC 1918
		block("192.175.48.0/24", "protocol"),      // RFC 7534, AS112
		block("198.18.0.0/15", "benchmarking"),    // RFC 2544
		block("198.51.100.0/24", "documentation"), // RFC 5737
		block("203.0.113.0/24", "documentation"),  // RFC 5737
		block("224.0.0.0/4", "multicast"),         // RFC 5771
		block("240.0.0.0/4", "reserved"),          // RFC 1112, and limited broadcast
	}
}

// specialRanges6 are those within 2000::/3; whatever lies outside of it is no
// global unicast address (RFC 4291 section 2.4 and the IANA allocations).
func specialRanges6() []specialRange {
	return []specialRange{
		block("2001::/32", "tunnel"),            // RFC 4380, Teredo: wraps an IPv4 address
		block("2001::/23", "protocol"),          // RFC 2928: benchmarking, AMT, AS112, ORCHID, DRIP
		block("2001:db8::/32", "documentation"), // RFC 3849
		block("2002::/16", "tunnel"),            // RFC 3056, 6to4: wraps an IPv4 address
		block("2620:4f:8000::/48", "protocol"),  // RFC 7534, AS112
		block("3fff::/20", "documentation"),     // RFC 9637
	}
}

// closedRanges hand out a machine's credentials, or command its agent, for
// whoever asks from it. Allow opens them only together with
// DangerouslyAllowMetadata. Link-local blocks are closed whole, since providers
// put new services into them. Sources: the providers' documentation.
func closedRanges() []specialRange {
	return []specialRange{
		block("169.254.169.254/32", "metadata"), // most clouds
		block("169.254.170.2/32", "metadata"),   // AWS containers
		block("169.254.170.23/32", "metadata"),  // AWS pods
		block("169.254.42.42/32", "metadata"),   // Scaleway
		block("169.254.0.23/32", "metadata"),    // Tencent
		block("169.254.0.0/16", "link-local"),
		block("168.63.129.16/32", "metadata"),       // Azure's wire server, a public address
		block("100.100.100.200/32", "metadata"),     // Alibaba
		block("192.0.0.192/32", "metadata"),         // Oracle
		block("fd00:c1::a9fe:a9fe/128", "metadata"), // Oracle
		block("fd00:ec2::/32", "metadata"),          // AWS, pods at ::23
		block("fd20:ce::254/128", "metadata"),       // Google
		block("fd00:42::42/128", "metadata"),        // Scaleway
		block("fd00:a9fe:a9fe::/48", "metadata"),    // Linode
		block("fe80::a9fe:a9fe/128", "metadata"),    // OpenStack
		block("fe80::/10", "link-local"),
	}
}

// addressJudge says where a dialler may connect. It is immutable.
type addressJudge struct {
	special4, special6 []specialRange
	closed             []specialRange
	allow, deny        []netip.Prefix
	allowClosed        bool // allow opens them too
}

func newAddressJudge(allow, deny []netip.Prefix, allowClosed bool) *addressJudge {
	return &addressJudge{specialRanges4(), specialRanges6(), closedRanges(), allow, deny, allowClosed}
}

// refuses returns the class of address that a may not be connected to for, or
// "".
func (j *addressJudge) refuses(a netip.Addr) string {
	if !a.IsValid() {
		return "invalid"
	}
	if a.Zone() != "" {
		return "zoned" // an interface of this machine (RFC 4007 section 11)
	}
	inner := []netip.Addr{a.Unmap()} // connecting to ::ffff:a.b.c.d is connecting to a.b.c.d
	if embedded, ok := nat64(a); ok {
		if len(embedded) == 0 {
			return "translated"
		}
		inner = embedded
	}
	for _, b := range inner {
		if class := j.refusesPlain(b); class != "" {
			return class
		}
	}
	for _, p := range j.deny { // a translated network can be denied as such
		if p.Contains(a) {
			return "denied"
		}
	}
	return ""
}

func (j *addressJudge) refusesPlain(a netip.Addr) string {
	opened := j.allowClosed && slices.ContainsFunc(j.allow, func(p netip.Prefix) bool { return p.Contains(a) })
	for _, c := range j.closed {
		if !opened && c.prefix.Contains(a) {
			return c.class
		}
	}
	for _, p := range j.deny {
		if p.Contains(a) {
			return "denied"
		}
	}
	for _, p := range j.allow {
		if p.Contains(a) {
			return ""
		}
	}
	special := j.special4
	if a.Is6() {
		if class := outside2000(a); class != "" {
			return class
		}
		special = j.special6
	}
	for _, s := range special {
		if s.prefix.Contains(a) {
			return s.class
		}
	}
	return ""
}

// outside2000 names the class of an IPv6 address that is not within 2000::/3.
func outside2000(a netip.Addr) string {
	if b := a.As16(); b[0]&0xe0 == 0x20 {
		return ""
	}
	switch {
	case a.IsLoopback():
		return "loopback"
	case a.IsUnspecified():
		return "this network"
	case a.IsPrivate():
		return "private" // RFC 4193, fc00::/7
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	}
	return "reserved" // IPv4-compatible, site-local, discard-only, SRv6 and what is not allocated
}

// nat64 returns the IPv4 address that a translator makes of a in the
// well-known prefix 64:ff9b::/96 (RFC 6052). In 64:ff9b:1::/48 (RFC 8215) the
// operator chooses the layout, which nobody else knows, and translators do not
// look at the suffix: the list stays empty, and nothing there is public. ok is
// false for any other address.
func nat64(a netip.Addr) (embedded []netip.Addr, ok bool) {
	b := a.As16()
	if !a.Is6() || binary.BigEndian.Uint32(b[:]) != 0x0064ff9b {
		return nil, false
	}
	if binary.BigEndian.Uint64(b[4:]) == 0 {
		return []netip.Addr{netip.AddrFrom4([4]byte(b[12:]))}, true
	}
	return nil, b[4] == 0 && b[5] == 1
}
