package firewall

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"postern/limiter"
)

// The table of deploy/nft/postern.nft and its sets. IPv6 sets have the first address of each /64.
const (
	nftTable   = "inet postern"
	setBlock   = "block"   // block4 and block6
	setObserve = "observe" // observe4 and observe6, for observe mode
)

// Wanted is what a firewall should have, as read from a Stream by a program that need not trust
// the gateway.
type Wanted struct {
	Source  netip.Prefix
	Listed  time.Time
	Left    time.Duration // until it ends
	Observe bool
}

// Read checks the decisions of a Stream that was fetched whole. They can only be what a gateway
// publishes: at most EntriesMax sources for LongestTime each.
func Read(s *Stream) ([]Wanted, error) {
	if len(s.New) > EntriesMax {
		return nil, fmt.Errorf("read the list: got %d entries, want at most %d", len(s.New), EntriesMax)
	}
	all := make([]Wanted, 0, len(s.New))
	for i := range s.New {
		w, err := s.New[i].wanted()
		if err != nil {
			return nil, fmt.Errorf("read the list: decision %d: %w", s.New[i].ID, err)
		}
		all = append(all, w)
	}
	return all, nil
}

// wanted checks one decision.
func (d *Decision) wanted() (w Wanted, err error) {
	block, err := netip.ParsePrefix(d.Value)
	if err != nil {
		addr, err := netip.ParseAddr(d.Value)
		if err != nil {
			return w, fmt.Errorf("got value %.64q, want an IPv4 address or an IPv6 /64", d.Value)
		}
		block = netip.PrefixFrom(addr, addr.BitLen())
	}
	if block != limiter.Source(block.Addr()) || !isRouted(block.Addr()) {
		return w, fmt.Errorf("got value %.64q, want an IPv4 address or an IPv6 /64", d.Value)
	}
	left, err := time.ParseDuration(d.Duration)
	if err != nil || left > LongestTime {
		return w, fmt.Errorf("got duration %.32q, want at most %v", d.Duration, LongestTime)
	}
	return Wanted{Source: block, Listed: d.CreatedAt, Left: left, Observe: d.Simulated}, nil
}

// elementsPerLine keeps the lines of a script short.
const elementsPerLine = 64

// WriteNFT writes a script for `nft -f` that makes the sets equal to what is wanted, in one
// transaction. The table must exist. Elements are removed and added again: before Linux 6.12,
// adding one that is there does not change its timeout.
func WriteNFT(w io.Writer, all []Wanted) error {
	var b strings.Builder
	elements := map[string][]string{}
	for i := range all {
		if seconds := int(all[i].Left.Seconds()); seconds > 0 {
			set := all[i].set()
			elements[set] = append(elements[set], fmt.Sprintf("%s timeout %ds", all[i].Source.Addr(), seconds))
		}
	}
	for _, kind := range []string{setBlock, setObserve} {
		for _, family := range []string{"4", "6"} {
			set := kind + family
			fmt.Fprintf(&b, "flush set %s %s\n", nftTable, set)
			for list := elements[set]; len(list) > 0; {
				n := min(len(list), elementsPerLine)
				fmt.Fprintf(&b, "add element %s %s { %s }\n", nftTable, set, strings.Join(list[:n], ", "))
				list = list[n:]
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// set is the set that w belongs to.
func (w *Wanted) set() string {
	kind, family := setBlock, "4"
	if w.Observe {
		kind = setObserve
	}
	if w.Source.Addr().Is6() {
		family = "6"
	}
	return kind + family
}

// WritePlain writes one source a line, an IPv4 address or an IPv6 network. It leaves out those of
// observe mode, which nothing should be dropped for.
func WritePlain(w io.Writer, all []Wanted) error {
	var b strings.Builder
	for i := range all {
		if !all[i].Observe && all[i].Left > 0 {
			fmt.Fprintln(&b, limiter.BlockName(all[i].Source))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
