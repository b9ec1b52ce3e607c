package decisions

import (
	"errors"
	"fmt"
	"time"
)

// Apply applies changes that other gateways have made, or this one: those that it has already, or later ones about the same,
// have no effect. It returns those that have: decisions that are in force at time t, and those that were and have ended. The
// caller enforces them. The error is about changes that cannot be applied, or about saving; all others are applied.
// While the Store is frozen nothing is, and the error is ErrHandOver.
func (s *Store) Apply(t time.Time, changes ...Change) (applied []Change, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(t, changes)
}

// apply is Apply while s is locked.
func (s *Store) apply(t time.Time, changes []Change) (applied []Change, err error) {
	h := s.shared
	switch {
	case h == nil:
		return nil, errors.New("decisions are not shared")
	case s.frozen:
		return nil, ErrHandOver
	}
	var failed []error
	latest := h.clock(t).Add(aheadMax)
	n, news := len(s.all), false
	for _, c := range changes {
		before, found := h.latest[c.Decision.topic()]
		if found && !c.isAfter(&before) {
			continue
		}
		was, is := found && before.isInForce(t), c.isInForce(t)
		switch {
		case c.At.After(latest):
			failed = append(failed, fmt.Errorf("decision %s of %s: got the time %v, want at most %v", c.Decision.ID, c.Gateway, c.At, latest))
			continue
		case is && !was && n >= Max:
			failed = append(failed, fmt.Errorf("decision %s of %s: %w", c.Decision.ID, c.Gateway, ErrFull))
			continue
		case is && !was:
			n++
		case was && !is:
			n--
		}
		h.latest[c.Decision.topic()] = c
		news = true
		if is || was {
			applied = append(applied, c)
		}
	}
	if news {
		s.rebuild(t)
		failed = append(failed, s.save())
	}
	return applied, errors.Join(failed...)
}

// ExportShared returns the latest changes of all shared decisions at time t, for MergeShared at a gateway that joins.
func (s *Store) ExportShared(t time.Time) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		return []byte("[]"), nil
	}
	s.shared.forget(t)
	return s.shared.encode()
}

// MergeShared applies what ExportShared has returned at another gateway, as Apply does. Changes of this gateway that the
// other did not have are sent again. Without a snapshot (nil) these are all.
func (s *Store) MergeShared(t time.Time, snapshot []byte) (applied []Change, err error) {
	var all []Change
	if snapshot != nil {
		if all, err = parseShared(snapshot); err != nil {
			return nil, fmt.Errorf("read the decisions of the other gateways: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if applied, err = s.apply(t, all); s.shared == nil || s.frozen {
		return applied, err
	}
	others := make(map[topic]*Change, len(all))
	for i := range all {
		others[all[i].Decision.topic()] = &all[i]
	}
	for of, c := range s.shared.latest {
		if other := others[of]; c.Gateway == s.shared.gateway && (other == nil || c.isAfter(other)) {
			s.shared.send(c)
		}
	}
	return applied, err
}
