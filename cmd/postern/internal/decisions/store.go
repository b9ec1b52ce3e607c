package decisions

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/cmd/postern/internal/atomicfile"
	"postern/limiter"
)

// Max is how many decisions may be in force.
const Max = 20_000

// File is the file of the state directory with the decisions, in JSON.
const File = "decisions.json"

// Store has the decisions that are in force. Its methods are safe for concurrent use.
type Store struct {
	path string // of the file; empty if nothing is kept after a restart

	mu      sync.Mutex
	all     []Decision // the oldest first
	frozen  bool       // another process is taking over
	unsaved bool       // the file does not have all
	shared  *sharing   // nil while decisions are not shared
}

// New returns a Store with no decisions. Those that are added are saved to the file at
// path, unless that is empty.
func New(path string) *Store { return &Store{path: path} }

// Load adds the decisions in the file that are still in force at time t. A damaged file is
// renamed to NAME.damaged, and the error says so.
func (s *Store) Load(t time.Time) error {
	if s.path == "" {
		return nil
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = s.Import(t, data); err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.unsaved = false
			return nil
		}
		err = errors.Join(err, os.Rename(s.path, s.path+".damaged"))
	}
	return fmt.Errorf("read the decisions in %s: %w", s.path, err)
}

// Import replaces all decisions by those that Export has returned and that are in force at
// time t. After an error nothing has changed.
func (s *Store) Import(t time.Time, data []byte) error {
	var all []Decision
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return err
	}
	for i, one := range all {
		if err := one.check(); err != nil {
			return fmt.Errorf("decision %d: %w", i+1, err)
		}
	}
	if len(all) > Max {
		return ErrFull
	}
	all = slices.DeleteFunc(all, func(d Decision) bool { return d.isOver(t) })
	slices.SortStableFunc(all, func(a, b Decision) int { return a.Made.Compare(b.Made) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.unsaved = all, true // the other process may have failed to save
	return nil
}

// check returns an error for a decision that no request could have made.
func (d *Decision) check() error {
	onNetwork := d.Kind == Block || d.Kind == Allow
	switch {
	case !onNetwork && d.Kind != Observe && d.Kind != Enforce:
		return fmt.Errorf("got kind %q", short(string(d.Kind)))
	case onNetwork != d.Network.IsValid() || d.Network != d.Network.Masked() || d.Network.Addr().Is4In6():
		return fmt.Errorf("got network %v for %s", d.Network, d.Kind)
	case d.ID == "" || d.By != text(d.By) || d.Comment != text(d.Comment) || d.Gateway != text(d.Gateway):
		return errors.New("got wrong texts")
	}
	return nil
}

// isOver reports whether d is no longer in force at time t.
func (d *Decision) isOver(t time.Time) bool { return !d.Until.IsZero() && !t.Before(d.Until) }

// Export returns all decisions, for Import.
func (s *Store) Export() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.encode()
}

func (s *Store) encode() ([]byte, error) {
	if s.all == nil {
		return []byte("[]"), nil
	}
	all := slices.Clone(s.all)
	for i := range all {
		all[i].Gateway = "" // former versions do not read it; SharedFile has it
	}
	return json.Marshal(all)
}

// Freeze refuses all changes from now on, or no longer: while another process takes over,
// it would not have them.
func (s *Store) Freeze(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = on
}

// List returns the decisions that are in force at time t, the latest first.
func (s *Store) List(t time.Time) []Decision {
	list := []Decision{}
	for d := range s.inForce(t) {
		list = append(list, d)
	}
	return list
}

// inForce yields the decisions that are in force at time t, the latest first. s is locked
// meanwhile.
func (s *Store) inForce(t time.Time) iter.Seq[Decision] {
	return func(yield func(Decision) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, d := range slices.Backward(s.all) {
			if !d.isOver(t) && !yield(d) {
				return
			}
		}
	}
}

// On returns the decisions of one kind in force at time t whose networks overlap with
// network, the narrowest last.
func (s *Store) On(t time.Time, k Kind, network netip.Prefix) []Decision {
	var found []Decision
	for d := range s.inForce(t) {
		if d.Kind == k && d.Network.Overlaps(network) {
			found = append(found, d)
		}
	}
	slices.Reverse(found) // of equal networks, the latest last
	slices.SortStableFunc(found, func(a, b Decision) int { return cmp.Compare(a.Network.Bits(), b.Network.Bits()) })
	return found
}

// Lists returns what the limiter is to enforce at time t.
func (s *Store) Lists(t time.Time) (l limiter.Lists) {
	for d := range s.inForce(t) {
		switch d.Kind {
		case Block:
			l.Blocked = append(l.Blocked, d.Network)
		case Allow:
			l.Allowed = append(l.Allowed, d.Network)
		}
	}
	return l
}

// Mode returns the decision Observe or Enforce that is in force at time t, if there is one.
func (s *Store) Mode(t time.Time) (Decision, bool) {
	for d := range s.inForce(t) {
		if d.Kind == Observe || d.Kind == Enforce {
			return d, true
		}
	}
	return Decision{}, false
}

// Count returns how many decisions of each kind are in force at time t.
func (s *Store) Count(t time.Time) map[Kind]int {
	n := map[Kind]int{Block: 0, Allow: 0, Observe: 0, Enforce: 0}
	for d := range s.inForce(t) {
		n[d.Kind]++
	}
	return n
}

// replaces reports whether d takes the place of other.
func (d *Decision) replaces(other *Decision) bool {
	if d.Network.IsValid() {
		return d.Kind == other.Kind && d.Network == other.Network
	}
	return !other.Network.IsValid()
}

// add adds d, in place of one of the same kind on the same network. It returns the decision
// with its ID. If only saving fails, d is in force and notSaved is the error.
func (s *Store) add(d Decision) (added Decision, replaced bool, notSaved, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return d, false, nil, ErrHandOver
	}
	before := len(s.all)
	rest := slices.DeleteFunc(slices.Clone(s.all), func(other Decision) bool { return d.replaces(&other) })
	if replaced = len(rest) < before; !replaced && before >= Max {
		return d, false, nil, ErrFull
	}
	d.ID = newID(rest, s.shared != nil)
	if s.shared != nil && d.isShared() {
		d.Gateway = s.shared.gateway
	}
	s.all = append(rest, d)
	s.changed(d.Made, d, false, "")
	return d, replaced, s.save(), nil
}

// newID returns an ID that none of all has. If gateways share decisions, it is longer: others may make one meanwhile.
func newID(all []Decision, shared bool) string {
	length := 6
	if shared {
		length = 9
	}
	for {
		id := strings.ToLower(rand.Text()[:length])
		if !slices.ContainsFunc(all, func(d Decision) bool { return d.ID == id }) {
			return id
		}
	}
}

// End ends the decision with this ID at time t, for the person by. If only saving fails, it has
// ended and notSaved is the error.
func (s *Store) End(t time.Time, id, by string) (ended Decision, notSaved, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return ended, nil, ErrHandOver
	}
	i := slices.IndexFunc(s.all, func(d Decision) bool { return d.ID == id })
	if i < 0 {
		return ended, nil, ErrNotFound
	}
	ended = s.all[i]
	s.all = slices.Delete(slices.Clone(s.all), i, i+1)
	s.changed(t, ended, true, by)
	return ended, s.save(), nil
}

// Expire removes the decisions that are over at time t, and returns them. It is called often,
// and saves again what could not be saved before.
func (s *Store) Expire(t time.Time) (over []Decision, notSaved error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return nil, nil
	}
	var rest []Decision
	for _, d := range s.all {
		if d.isOver(t) {
			over = append(over, d)
		} else {
			rest = append(rest, d)
		}
	}
	if len(over) == 0 {
		if s.unsaved {
			_ = s.save() // those who made or ended decisions have the error
		}
		return nil, nil
	}
	s.all = rest
	if s.shared != nil {
		s.shared.forget(t)
	}
	return over, s.save()
}

// save writes the file. s.mu must be held.
func (s *Store) save() error {
	if s.path == "" {
		return nil
	}
	var err error
	if s.shared != nil { // first, for it may also say that a decision in the other file has ended
		err = s.shared.save()
	}
	var data []byte
	if err == nil {
		data, err = s.encode()
	}
	if err == nil {
		err = atomicfile.Write(s.path, append(data, '\n'), 0o600)
	}
	if s.unsaved = err != nil; s.unsaved {
		return fmt.Errorf("save the decisions: %w", err)
	}
	return nil
}
