package daemon

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
)

// This file closes what is open from networks that operators have blocked, in this process
// and in former ones.

// everything are all addresses.
var everything = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

// closeAfter closes what a decision that has ended had kept open.
func (o *deciding) closeAfter(t time.Time, ended *decisions.Decision) {
	switch ended.Kind {
	case decisions.Allow:
		o.close(t, []netip.Prefix{ended.Network})
	case decisions.Observe:
		o.close(t, everything)
	}
}

// close closes what is open from the blocked networks that overlap with within, and returns how many connections of this
// process that were. Observed verdicts close nothing.
func (o *deciding) close(t time.Time, within []netip.Prefix) int {
	if o.observing(t) {
		return 0
	}
	var blocked, allowed []netip.Prefix
	for _, network := range within {
		blocked = append(blocked, o.networks(t, decisions.Block, network)...)
	}
	if len(blocked) == 0 {
		return 0
	}
	if o.formers.any() {
		for _, network := range within {
			allowed = append(allowed, o.networks(t, decisions.Allow, network)...)
		}
		o.formers.closeFrom(blocked, allowed)
	}
	return o.server.CloseFrom(o.policy.limiter.Blocked)
}

// networks returns the networks of the decisions of one kind that overlap with network.
func (o *deciding) networks(t time.Time, k decisions.Kind, network netip.Prefix) (all []netip.Prefix) {
	for _, d := range o.store.On(t, k, network) {
		all = append(all, d.Network)
	}
	return all
}

// matches reports whether m is about the connections of addr.
func (m *closeMessage) matches(addr netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) }
	return slices.ContainsFunc(m.Networks, contains) && !slices.ContainsFunc(m.Except, contains)
}

// any reports whether there are formers.
func (g *generations) any() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.formers) > 0
}

// closeMax bounds the networks of either kind in a closeMessage, so that it is one packet.
const closeMax = 500

// errManyAllowed is why sessions in former generations stay open.
var errManyAllowed = fmt.Errorf("more than %d networks are allowed within what is blocked", closeMax)

// closeFrom asks the formers to close the connections from some networks, except those from others. If these are too many,
// nothing is closed there.
func (g *generations) closeFrom(networks, except []netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers {
		err := errManyAllowed
		if len(except) <= closeMax {
			err = f.closeFrom(networks, except)
		}
		if err != nil {
			g.log.Warn("cannot have a former generation close connections", slog.String("event", "decision"), slog.Int("generation", f.Number), eventlog.Error(err))
		}
	}
}

// closeFrom sends f what it is to close.
func (f *former) closeFrom(networks, except []netip.Prefix) error {
	_ = f.link.SetSendDeadline(time.Now().Add(sendTime))
	defer func() { _ = f.link.SetSendDeadline(time.Time{}) }()
	for part := range slices.Chunk(networks, closeMax) {
		if err := send(f.link, msgClose, closeMessage{part, except}); err != nil {
			return err
		}
	}
	return nil
}

// closeFor closes what the main generation asks for.
func (r *retired) closeFor(message []byte) error {
	var m closeMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	if n := r.server.CloseFrom(m.matches); n > 0 {
		r.log.Info("connections closed", slog.String("event", "decision"), slog.Int("networks", len(m.Networks)), slog.Int("closed", n))
	}
	return nil
}
