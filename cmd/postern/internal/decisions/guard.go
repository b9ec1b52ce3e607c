package decisions

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// usersWithin is the time before a decision in which a login makes a known user one whom it
// would hit.
const usersWithin = 24 * time.Hour

// Guard says what a decision may hit that the operator does not expect.
type Guard struct {
	Named map[string][]netip.Prefix // networks of the service's own, by what they are, such as the name of a setting
	// Users estimates how many known users have logged in from a network within a time; not
	// ok if it is too wide to count. It is limiter.Limiter.Users.
	Users func(t time.Time, network netip.Prefix, within time.Duration) (n int, ok bool)
}

// Networks wider than these need Force.
const (
	widest4 = 16
	widest6 = 32
)

// loopback are the networks of the machine itself.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// check returns the number of users that d would hit, and a NeedsForceError if it needs
// Force. operator has the addresses that the operator may have.
func (g *Guard) check(d *Decision, operator []netip.Addr) (users int, err error) {
	var reasons []string
	if d.Kind == Block || d.Kind == Allow {
		reasons = g.width(d)
	}
	if d.Kind == Block {
		reasons = append(reasons, g.ownNetworks(d.Network, operator)...)
		n, ok := g.Users(d.Made, d.Network, usersWithin)
		users = n
		switch {
		case !ok:
			reasons = append(reasons, "how many known users log in from there cannot be counted")
		case n > 0:
			reasons = append(reasons, UsersText(n))
		}
	}
	if len(reasons) == 0 {
		return users, nil
	}
	return users, NeedsForceError{Reason: limiter.BlockName(d.Network) + ": " + strings.Join(reasons, "; "), Users: users}
}

// UsersText says how many known users a block hits, at least one.
func UsersText(n int) string {
	verb := " have"
	if n == 1 {
		verb = " has"
	}
	return eventlog.Count(n, "known user") + verb + " logged in from there in the last 24 h"
}

// width returns the reason against a network that is too wide.
func (g *Guard) width(d *Decision) []string {
	widest := widest4
	if d.Network.Addr().Is6() {
		widest = widest6
	}
	if d.Network.Bits() >= widest {
		return nil
	}
	return []string{fmt.Sprintf("it is wider than /%d", widest)}
}

// ownNetworks returns the reasons against a block that hits what belongs to the service or
// the operator.
func (g *Guard) ownNetworks(network netip.Prefix, operator []netip.Addr) (reasons []string) {
	if overlaps(network, loopback) {
		reasons = append(reasons, "it has loopback addresses of the gateway itself")
	}
	for _, name := range sortedKeys(g.Named) {
		if overlaps(network, g.Named[name]) {
			reasons = append(reasons, "it has addresses of "+name)
		}
	}
	for _, own := range operator {
		if own.IsValid() && !own.IsLoopback() && network.Overlaps(limiter.Source(own)) {
			reasons = append(reasons, "it has your own address "+own.Unmap().String())
		}
	}
	return reasons
}

// overlaps reports whether network overlaps with one of all.
func overlaps(network netip.Prefix, all []netip.Prefix) bool {
	for _, p := range all {
		if p.Overlaps(network) {
			return true
		}
	}
	return false
}
