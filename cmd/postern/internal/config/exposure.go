package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"postern/proxy/dialogue"
)

// Settings that are valid alone and dangerous where they are used: networks that
// contain much of the Internet, and backends that are postern itself.

// A trusted network may be as large as the largest ones that one organisation has: an
// IPv4 /8 or an IPv6 /16. From networks beyond the usual size on, there is a warning.
const (
	maxBits4, usualBits4 = 8, 16
	maxBits6, usualBits6 = 16, 29
)

// internal are the networks that are not routed in the Internet. They may be as large
// as they are.
var internal = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// wider returns the first of nets that has public addresses and fewer bits than bits4
// or bits6.
func (nets networks) wider(bits4, bits6 int) (p netip.Prefix, found bool) {
	i := slices.IndexFunc(nets, func(p netip.Prefix) bool {
		least := bits6
		if p.Addr().Is4() {
			least = bits4
		}
		return p.Bits() < least && !slices.ContainsFunc(internal, func(n netip.Prefix) bool {
			return n.Bits() <= p.Bits() && n.Contains(p.Addr())
		})
	})
	if i < 0 {
		return p, false
	}
	return nets[i], true
}

// trusted is a setting with networks, and what clients in them can do.
type trusted struct {
	name   string
	nets   networks
	effect string
}

func (c *Config) trusted() []trusted {
	return []trusted{
		{"EXEMPT", c.Limits.Exempt, "no client there is limited"},
		{"PROXY_FROM", c.Listeners.ProxyFrom, "every client there can pretend to have any address"},
		{"FORWARDED_FROM", c.Listeners.ForwardedFrom, "every client there can pretend to have any address"},
	}
}

// checkNetworks refuses networks that contain much of the Internet.
func (c *Config) checkNetworks() error {
	for _, t := range c.trusted() {
		if p, found := t.nets.wider(maxBits4, maxBits6); found {
			return Errorf(t.name, "got %v, which is much of the Internet, want your own networks, of at most /%d or for IPv6 /%d: %s", p, maxBits4, maxBits6, t.effect)
		}
	}
	return nil
}

// warnOfNetworks describes networks that are larger than most sites have.
func (c *Config) warnOfNetworks() (lines []string) {
	for _, t := range c.trusted() {
		if p, found := t.nets.wider(usualBits4, usualBits6); found {
			lines = append(lines, fmt.Sprintf("%s%s: %v is a large network: %s", Prefix, t.name, p, t.effect))
		}
	}
	return lines
}

// checkLoops refuses a backend that is one of the listeners: every login would come
// back as a new connection. Host names but localhost are not resolved.
func (c *Config) checkLoops() error {
	for _, p := range dialogue.Protocols() {
		for _, addr := range c.Backend.Of(p.Name()) {
			for _, listener := range c.Listeners.Addrs() {
				if reaches(addr, listener) {
					return Errorf(BackendsSetting(p.Name()), "got %s, which is postern's own listener %s, want a mail server", addr, listener)
				}
			}
		}
	}
	return nil
}

// reaches reports whether a connection to addr arrives at listener.
func reaches(addr, listener string) bool {
	host, port, _ := net.SplitHostPort(addr)
	own, ownPort, _ := net.SplitHostPort(listener)
	if port != ownPort {
		return false
	}
	for _, ip := range literals(host) {
		if ip.IsUnspecified() { // the kernel connects to loopback
			ip = loopbackOf(ip)
		}
		switch ownIP, err := netip.ParseAddr(own); {
		case own == "" || err == nil && ownIP.IsUnspecified() && (ownIP.Is6() || ip.Is4()):
			if isOwn(ip) {
				return true
			}
		case slices.Contains(literals(own), ip):
			return true
		}
	}
	return false
}

// literals are the addresses of host if they are known without a resolver.
func literals(host string) []netip.Addr {
	if host == "localhost" {
		return []netip.Addr{loopbackOf(netip.IPv4Unspecified()), loopbackOf(netip.IPv6Unspecified())}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}
	}
	return nil
}

// loopbackOf is the loopback address in the family of ip.
func loopbackOf(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// isOwn reports whether ip is an address of this machine: the kernel takes the same
// address as the source of a connection to it. Connecting a UDP socket sends nothing.
func isOwn(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	const discard = 9 // any port
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, discard)))
	if err != nil {
		return false
	}
	defer c.Close()
	local, ok := c.LocalAddr().(*net.UDPAddr)
	return ok && local.AddrPort().Addr().Unmap() == ip
}
