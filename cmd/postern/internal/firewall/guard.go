package firewall

import (
	"net/netip"
	"time"

	"postern/limiter"
)

// A Reason is why a source is not listed although it was refused again and again. Its text is
// used in metrics.
type Reason string

// The reasons.
const (
	ReasonKnown    Reason = "known"    // a login was accepted from there at one of the gateways, or an operator has allowed it
	ReasonExempt   Reason = "exempt"   // it is in EXEMPT
	ReasonProxy    Reason = "proxy"    // it is in PROXY_FROM or FORWARDED_FROM
	ReasonBackend  Reason = "backend"  // it has an address of a backend
	ReasonEngine   Reason = "engine"   // it has an address of what gateways share over
	ReasonGateway  Reason = "gateway"  // it has an address of the gateway, or one that is not routed
	ReasonOperator Reason = "operator" // an operator used the admin API from there
	ReasonReleased Reason = "released" // an operator has ended the block by which it was refused
	ReasonLearning Reason = "learning" // known users have not been learned for a day, so nobody may be known yet
	ReasonHindered Reason = "hindered" // known users are not served as they should be
	ReasonFull     Reason = "full"     // the list has as many entries as it may have
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonKnown, ReasonExempt, ReasonProxy, ReasonBackend, ReasonEngine, ReasonGateway, ReasonOperator, ReasonReleased,
		ReasonLearning, ReasonHindered, ReasonFull,
	}
}

// A Guard says which sources must not be listed. All functions are required.
type Guard struct {
	// Known reports whether a login from the source of addr was accepted lately, at any gateway that
	// shares with this one, or whether addr is exempt or allowed. It is limiter.Limiter.KnownSource.
	Known func(t time.Time, addr netip.Addr) bool
	// Blocked reports whether an operator has blocked addr. It is limiter.Limiter.Blocked.
	Blocked func(addr netip.Addr) bool
	// Networks returns the networks that belong to the service and its operators.
	Networks func() map[Reason][]netip.Prefix
	// Pause returns why nothing new is to be listed at time t: ReasonLearning, ReasonHindered or "".
	// If known users are not served, the rules may be wrong. What is listed then stays: those who
	// attack could otherwise have the list emptied when it is needed most, and every entry ends by
	// itself.
	Pause func(t time.Time) Reason
}

// A protectedNetwork must not be listed.
type protectedNetwork struct {
	netip.Prefix
	reason Reason
}

// protected returns the protected networks.
func (g *Guard) protected() (all []protectedNetwork) {
	networks := g.Networks()
	for _, reason := range Reasons() {
		for _, p := range networks[reason] {
			if p.Addr().Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			all = append(all, protectedNetwork{p, reason})
		}
	}
	return all
}

// withholds returns why a source that a rule refused must not be listed at time t, or "".
func (g *Guard) withholds(t time.Time, block netip.Prefix, rule limiter.Rule, protected []protectedNetwork) Reason {
	if !isRouted(block.Addr()) {
		return ReasonGateway
	}
	for i := range protected {
		if protected[i].Overlaps(block) {
			return protected[i].reason
		}
	}
	switch {
	case g.Known(t, block.Addr()):
		return ReasonKnown
	case rule == limiter.RuleBlocked && !g.Blocked(block.Addr()):
		return ReasonReleased
	}
	return ""
}

// isRouted reports whether addr can be that of another machine.
func isRouted(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast()
}
