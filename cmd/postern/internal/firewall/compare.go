package firewall

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/limiter"
)

// grace is how long a firewall may take to add a source that was listed.
const grace = 90 * time.Second

// A Comparison says how a firewall differs from the list.
type Comparison struct {
	Wanted  int // entries that it should have
	Missing int // of them, those that it does not have, although they were listed a while ago
	Surplus int // what it has and the list does not; it may come from elsewhere
}

// OK reports whether nothing is missing.
func (c Comparison) OK() bool { return c.Missing == 0 }

// String is the comparison in one line.
func (c Comparison) String() string {
	text := fmt.Sprintf("the firewall has %d of %d listed sources", c.Wanted-c.Missing, c.Wanted)
	if c.Missing > 0 {
		text += fmt.Sprintf("; missing: %d", c.Missing)
	}
	if c.Surplus > 0 {
		text += fmt.Sprintf("; not listed: %d", c.Surplus)
	}
	return text
}

// Compare compares what is wanted at time t with the text of what a firewall has: the output of
// `nft -j list table` or `nft -j list ruleset`, or one address or network a line. Of nft's output,
// all sets of addresses count but those of observe mode, and these alone for what is only
// observed.
func Compare(t time.Time, all []Wanted, text []byte) (c Comparison, err error) {
	has := map[bool]map[netip.Prefix]bool{false: {}} // by whether they are only observed; true is absent without a set for them
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		err = readNFT(text, has)
	} else {
		err = readPlain(string(text), has[false])
	}
	if err != nil {
		return c, fmt.Errorf("read what the firewall has: %w", err)
	}
	for i := range all {
		w := &all[i]
		if has[w.Observe] == nil {
			continue
		}
		present := has[w.Observe][w.Source]
		delete(has[w.Observe], w.Source)
		if present || t.Sub(w.Listed) >= grace && w.Left > 0 {
			c.Wanted++
			if !present {
				c.Missing++
			}
		}
	}
	c.Surplus = len(has[false]) + len(has[true])
	return c, nil
}

// readPlain reads one address or network a line.
func readPlain(text string, has map[netip.Prefix]bool) error {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := addPresent(has, line); err != nil {
			return err
		}
	}
	return nil
}

// nftOutput is the part of nft's JSON that has sets.
type nftOutput struct {
	Objects []struct {
		Set *struct {
			Name     string            `json:"name"`
			Table    string            `json:"table"`
			Type     json.RawMessage   `json:"type"`
			Elements []json.RawMessage `json:"elem"`
		} `json:"set"`
	} `json:"nftables"`
}

// nftElement is an element of a set: with a timeout it is an object.
type nftElement struct {
	Elem *struct {
		Value json.RawMessage `json:"val"`
	} `json:"elem"`
	Prefix *struct {
		Addr string `json:"addr"`
		Len  int    `json:"len"`
	} `json:"prefix"`
}

// readNFT reads the sets of addresses in nft's JSON.
func readNFT(text []byte, has map[bool]map[netip.Prefix]bool) error {
	var out nftOutput
	if err := json.Unmarshal(text, &out); err != nil {
		return err
	}
	for _, o := range out.Objects {
		if o.Set == nil || string(o.Set.Type) != `"ipv4_addr"` && string(o.Set.Type) != `"ipv6_addr"` {
			continue
		}
		observed := "inet "+o.Set.Table == nftTable && strings.HasPrefix(o.Set.Name, setObserve)
		if has[observed] == nil {
			has[observed] = map[netip.Prefix]bool{}
		}
		for _, e := range o.Set.Elements {
			value, err := nftValue(e)
			if err != nil {
				return fmt.Errorf("set %.64q: %w", o.Set.Name, err)
			}
			if value != "" {
				if err := addPresent(has[observed], value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// nftValue is the address or network of an element, empty for a range.
func nftValue(raw json.RawMessage) (string, error) {
	var value string
	if json.Unmarshal(raw, &value) == nil {
		return value, nil
	}
	var e nftElement
	if err := json.Unmarshal(raw, &e); err != nil {
		return "", err
	}
	switch {
	case e.Elem != nil:
		return nftValue(e.Elem.Value)
	case e.Prefix != nil:
		return fmt.Sprintf("%s/%d", e.Prefix.Addr, e.Prefix.Len), nil
	}
	return "", nil
}

// addPresent adds an address or a network to what a firewall has, as the source of its first address.
func addPresent(has map[netip.Prefix]bool, value string) error {
	addr, err := netip.ParseAddr(strings.SplitN(value, "/", 2)[0])
	if err != nil {
		return fmt.Errorf("got %.64q, want an address or a network", value)
	}
	has[limiter.Source(addr)] = true
	return nil
}
