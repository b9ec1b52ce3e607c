package explain

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern/cmd/postern/internal/firewall"
	"postern/limiter"
)

// A listedSource is the only entry of a list for firewalls, unless its source is invalid.
type listedSource firewall.Entry

// find returns the entry of the source of addr.
func (l *listedSource) find(_ time.Time, addr netip.Addr) (firewall.Entry, bool) {
	return firewall.Entry(*l), l.Source.IsValid() && l.Source == limiter.Source(addr)
}

// TestSourceListedForFirewalls is named as such, for an address and for an account that was refused there.
func TestSourceListedForFirewalls(t *testing.T) {
	f := newFixture()
	f.refuse(time.Minute, "s1", "192.0.2.7", "anna", limiter.RuleSource)
	f.listed = listedSource{Source: netip.MustParsePrefix("192.0.2.7/32"), Rule: limiter.RuleSource, Listed: at(2 * time.Minute), Until: at(time.Hour)}
	const want = "The source 192.0.2.7 is listed for firewalls since 14:02:00, until 15:00:00, because rule source refused it again and again; a firewall that follows the list drops its new connections."
	for about, isListed := range map[string]bool{"192.0.2.7": true, "anna": true, "192.0.2.8": false} {
		e := f.explain(t, about)
		if got := slices.ContainsFunc(e.Facts, func(x Fact) bool { return x.Text == want }); got != isListed {
			t.Errorf("%s: got %v, want %v: %+v", about, got, isListed, e.Facts)
		}
	}
}
