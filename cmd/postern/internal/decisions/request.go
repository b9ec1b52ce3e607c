package decisions

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// Bounds on requests.
const (
	textMax    = 256                  // octets of By and Comment
	longest    = 366 * 24 * time.Hour // of a decision that ends by itself
	modeMax    = 24 * time.Hour       // of Observe and Enforce, which are for a while
	accountMax = 8192                 // octets of an account, the longest line of a client
)

// Forever is the For of a decision that does not end by itself.
const Forever = "forever"

// DefaultFor is the For of a request that has none.
func DefaultFor(k Kind) string {
	if k == Allow {
		return "24h"
	}
	return "1h"
}

// decision returns what a request asks for at time t, without an ID.
func (r *Request) decision(t time.Time) (d Decision, err error) {
	d = Decision{Kind: r.Kind, Made: t, By: text(r.By), Comment: text(r.Comment)}
	if d.By == "" {
		return d, wrong("by: got nothing, want the name of the operator")
	}
	switch r.Kind {
	case Block, Allow:
		if d.Network, err = ParseNetwork(r.Network); err != nil {
			return d, RequestError{err}
		}
	case Observe, Enforce:
		if r.Network != "" {
			return d, wrong("network: got %q, want none: %s is for all", short(r.Network), r.Kind)
		}
	default:
		return d, wrong("kind: got %q, want %s, %s, %s or %s", short(string(r.Kind)), Block, Allow, Observe, Enforce)
	}
	d.Until, err = r.until(t)
	return d, err
}

// until returns when a decision made at time t ends.
func (r *Request) until(t time.Time) (time.Time, error) {
	given := r.For
	if given == "" {
		given = DefaultFor(r.Kind)
	}
	most := longest
	if r.Kind == Observe || r.Kind == Enforce {
		most = modeMax
	}
	if given == Forever {
		if most == modeMax {
			return time.Time{}, wrong("for: got %q, want at most %s: change POSTERN_MODE instead", given, duration(most))
		}
		return time.Time{}, nil
	}
	d, err := ParseDuration(given)
	switch {
	case err != nil:
		return time.Time{}, RequestError{fmt.Errorf("for: %w", err)}
	case d > most:
		return time.Time{}, wrong("for: got %q, want at most %s", given, duration(most))
	}
	return t.Add(d), nil
}

// wrong returns a RequestError.
func wrong(format string, args ...any) error { return RequestError{fmt.Errorf(format, args...)} }

// text is what an operator wrote, in one line of at most textMax octets.
func text(s string) string {
	s = eventlog.OneLine(s)
	for len(s) > textMax {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return strings.TrimSpace(s)
}

// short is the part of a text that fits into an error, which quotes it.
func short(s string) string { return s[:min(len(s), 64)] }

// duration is d as ParseDuration reads it.
func duration(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return d.String()
}

// ParseDuration reads a positive duration: what time.ParseDuration reads, or days such as
// 7d.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok && err != nil {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(n, 100_000)) * 24 * time.Hour
	}
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("got %q, want a duration such as 30m, 8h or 7d", short(s))
	}
	return d, nil
}

// ParseNetwork reads an address or a network in CIDR form. Of an address it returns the
// source: of IPv6 its /64, because a customer has that.
func ParseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return limiter.Source(addr), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("network: got %q, want an address or a network such as 192.0.2.0/24", short(s))
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("network: got %q, want an IPv4 network as such", short(s))
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// isNetwork reports whether s is an address or a network, and not the name of an account.
func isNetwork(s string) bool {
	_, err := ParseNetwork(s)
	return err == nil
}

// Target returns what a Release is about: a network, or else an account.
func (r *Release) Target() (network netip.Prefix, account string, err error) {
	switch {
	case text(r.By) == "":
		return network, "", wrong("by: got nothing, want the name of the operator")
	case r.Of == "" || len(r.Of) > accountMax:
		return network, "", wrong("of: got %d octets, want an address, a network or an account", len(r.Of))
	case isNetwork(r.Of):
		network, err = ParseNetwork(r.Of)
		return network, "", err
	}
	return network, r.Of, nil
}

// Check returns an error if r makes no sense.
func (r *Forget) Check() error {
	switch {
	case text(r.By) == "":
		return wrong("by: got nothing, want the name of the operator")
	case r.Account == "" || len(r.Account) > accountMax:
		return wrong("account: got %d octets, want the name of an account", len(r.Account))
	case isNetwork(r.Account):
		return wrong("account: got the address %q, want the name of an account", short(r.Account))
	}
	return nil
}
