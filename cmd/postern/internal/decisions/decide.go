package decisions

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Decide makes the decision that r asks for at time t. remote is the address from which it
// was asked, zero if it is not known. The errors are RequestError, NeedsForceError, ErrFull and ErrHandOver.
// The caller enforces it, and sets Closed.
func (s *Store) Decide(t time.Time, r Request, remote netip.Addr, g *Guard) (result Result, err error) {
	d, err := r.decision(t)
	if err != nil {
		return result, err
	}
	own, _ := netip.ParseAddr(r.From)
	users, err := g.check(&d, []netip.Addr{remote, own})
	if err != nil && !r.Force {
		return result, err
	}
	added, replaced, notSaved, err := s.add(d)
	if err != nil {
		return result, err
	}
	result = Result{Decision: added, Replaced: replaced, Users: users}
	result.Warning = strings.Join(s.warnings(t, &added, notSaved), "; ")
	return result, nil
}

// namedMax is how many decisions a warning names.
const namedMax = 5

// warnings returns why d may not do what the operator expects.
func (s *Store) warnings(t time.Time, d *Decision, notSaved error) (all []string) {
	if notSaved != nil {
		all = append(all, fmt.Sprintf("it holds only until the process ends: %v", notSaved))
	}
	if d.Kind == Block {
		allowed := s.On(t, Allow, d.Network)
		for _, allow := range allowed[:min(len(allowed), namedMax)] {
			all = append(all, fmt.Sprintf("%v is allowed by decision %s, which wins", allow.Network, allow.ID))
		}
		if more := len(allowed) - namedMax; more > 0 {
			all = append(all, fmt.Sprintf("%d more of its networks are allowed", more))
		}
	}
	return all
}

// sortedKeys returns the keys of m in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
