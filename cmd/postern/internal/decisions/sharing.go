package decisions

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/cmd/postern/internal/atomicfile"
)

// This file shares the decisions Block and Allow with the other gateways of the site. Each change of one is sent to all.
// Of two changes about the same kind and network, the later one counts everywhere, in whatever order they arrive; of two
// at the same time, that of the gateway whose name sorts last. Observe and Enforce are not shared: like MODE, they are
// about one gateway.

// SharedFile is the file of the state directory with what File does not have: the latest change of each shared decision.
// Former versions ignore it.
const SharedFile = "decisions-shared.json"

// keepEnded is how long it is remembered that a decision has ended, or has been replaced. An older change that arrives
// within this time does not bring it back.
const keepEnded = 30 * 24 * time.Hour

// aheadMax is how far a change may be ahead of the clock of the engine.
const aheadMax = 24 * time.Hour

// Change is what a gateway sends to the others about a shared decision: that it was made, or that a person has ended it. Its
// JSON form may get more fields.
type Change struct {
	Decision Decision  `json:"decision"` // that was made or ended, with the gateway at which it was made
	At       time.Time `json:"at"`       // in milliseconds, by the clock of the engine, and later than the change before
	Gateway  string    `json:"gateway"`  // at which the change was made
	Ended    bool      `json:"ended,omitempty"`
	EndedBy  string    `json:"ended_by,omitempty"` // the person, without control characters
}

// ParseChange reads the JSON form of a Change. Unknown fields are ignored.
func ParseChange(data []byte) (c Change, err error) {
	if err = json.Unmarshal(data, &c); err == nil {
		err = c.check()
	}
	if err != nil {
		return Change{}, fmt.Errorf("read the change of a decision: %w", err)
	}
	return c, nil
}

// check returns an error for a change that no gateway could have made.
func (c *Change) check() error {
	if err := c.Decision.check(); err != nil {
		return err
	}
	switch {
	case !c.Decision.isShared():
		return fmt.Errorf("got kind %q, want %s or %s", c.Decision.Kind, Block, Allow)
	case c.Gateway == "" || c.Gateway != text(c.Gateway) || c.EndedBy != text(c.EndedBy):
		return errors.New("got wrong texts")
	case !c.At.Equal(c.At.Truncate(time.Millisecond)):
		return fmt.Errorf("got the time %v, want milliseconds", c.At)
	}
	return nil
}

// isShared reports whether decisions like d are shared between gateways.
func (d *Decision) isShared() bool { return d.Kind == Block || d.Kind == Allow }

// isAfter reports whether c counts, and not other.
func (c *Change) isAfter(other *Change) bool {
	return cmp.Or(c.At.Compare(other.At), cmp.Compare(c.Gateway, other.Gateway)) > 0
}

// isInForce reports whether the decision that c is about is in force at time t, if c is the latest change.
func (c *Change) isInForce(t time.Time) bool { return !c.Ended && !c.Decision.isOver(t) }

// topic is what a shared decision is about. There is one at most about each.
type topic struct {
	kind    Kind
	network netip.Prefix
}

func (d *Decision) topic() topic { return topic{d.Kind, d.Network} }

// sharing is the additional state of a Store that shares. It is guarded by the mu of the Store.
type sharing struct {
	path    string // of SharedFile; empty if nothing is kept after a restart
	gateway string // the name of this one
	clock   func(t time.Time) time.Time
	send    func(Change)
	latest  map[topic]Change // also of decisions that have ended, for keepEnded
}

// Share shares decisions with other gateways from now on. It is called once, after Load or Import. gateway is the name of
// this gateway, and clock returns what the clock of the engine shows at time t of this one, or t if it is not known. Each change by a person is
// passed to send, in order, while the Store is locked: send must neither block nor call the Store. After an error, which is
// about SharedFile, decisions are shared as if there were no file.
func (s *Store) Share(t time.Time, gateway string, clock func(t time.Time) time.Time, send func(Change)) error {
	path := ""
	if s.path != "" {
		path = filepath.Join(filepath.Dir(s.path), SharedFile)
	}
	saved, err := readShared(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &sharing{path: path, gateway: gateway, clock: clock, send: send, latest: map[topic]Change{}}
	ids := map[topic]string{}
	for _, d := range s.all {
		if d.isShared() {
			ids[d.topic()] = d.ID
			d.Gateway = gateway
			h.latest[d.topic()] = Change{Decision: d, At: d.Made.Truncate(time.Millisecond), Gateway: gateway}
		}
	}
	for _, c := range saved {
		id, made := ids[c.Decision.topic()]
		own := h.latest[c.Decision.topic()]
		switch {
		case made && (id == c.Decision.ID || c.isAfter(&own)), !made && !c.isInForce(t):
			h.latest[c.Decision.topic()] = c
		}
	}
	s.shared = h
	s.rebuild(t)
	return err
}

// readShared reads SharedFile, which may be missing.
func readShared(path string) ([]Change, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Change
	if err == nil {
		all, err = parseShared(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read the shared decisions in %s: %w", path, err)
	}
	return all, nil
}

// parseShared reads what ExportShared has returned.
func parseShared(data []byte) (all []Change, err error) {
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for i := range all {
		if err := all[i].check(); err != nil {
			return nil, fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	return all, nil
}

// changed records and sends a change that a person made at time t: that d was made, or has been ended. s is locked.
func (s *Store) changed(t time.Time, d Decision, ended bool, by string) {
	h := s.shared
	if h == nil || !d.isShared() {
		return
	}
	c := Change{Decision: d, At: h.clock(t).UTC().Truncate(time.Millisecond), Gateway: h.gateway, Ended: ended, EndedBy: text(by)}
	if before, found := h.latest[d.topic()]; found && !c.At.After(before.At) {
		c.At = before.At.Add(time.Millisecond)
	}
	h.latest[d.topic()] = c
	h.send(c)
}

// rebuild makes the list of decisions from the latest changes. s is locked.
func (s *Store) rebuild(t time.Time) {
	s.shared.forget(t)
	all := slices.DeleteFunc(slices.Clone(s.all), func(d Decision) bool { return d.isShared() })
	for _, c := range s.shared.latest {
		if c.isInForce(t) {
			all = append(all, c.Decision)
		}
	}
	slices.SortFunc(all, func(a, b Decision) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID)) })
	s.all = all
}

// forget removes decisions that have ended: after keepEnded, or the oldest if there are more than Max.
func (h *sharing) forget(t time.Time) {
	var ended []Change
	for of, c := range h.latest {
		if c.isInForce(t) {
			continue
		}
		over := c.At
		if !c.Ended {
			over = c.Decision.Until
		}
		if t.Sub(over) > keepEnded {
			delete(h.latest, of)
		} else {
			ended = append(ended, c)
		}
	}
	if len(ended) > Max {
		slices.SortFunc(ended, func(a, b Change) int { return a.At.Compare(b.At) })
		for _, c := range ended[:len(ended)-Max] {
			delete(h.latest, c.Decision.topic())
		}
	}
}

// save writes SharedFile.
func (h *sharing) save() error {
	if h.path == "" {
		return nil
	}
	data, err := h.encode()
	if err == nil {
		err = atomicfile.Write(h.path, append(data, '\n'), 0o600)
	}
	return err
}

// encode returns all changes, the oldest first.
func (h *sharing) encode() ([]byte, error) {
	all := make([]Change, 0, len(h.latest))
	for _, c := range h.latest {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Decision.Kind, b.Decision.Kind), a.Decision.Network.Compare(b.Decision.Network))
	})
	return json.Marshal(all)
}
