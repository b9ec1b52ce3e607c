package recent

import "time"

// seriesTime is how many seconds are counted.
const seriesTime = 300

// A series counts by second. Each second has a place in seconds, of which some more than
// seriesTime are there because the second that has begun is not complete.
type series struct {
	start   int64 // seconds since 1970
	seconds [seriesTime + 20]Second
}

// at returns the counts of a second.
func (s *series) at(second int64) *Second {
	slot := &s.seconds[uint64(second)%uint64(len(s.seconds))]
	if slot.Time != second {
		*slot = Second{Time: second}
	}
	return slot
}

// attempt counts an attempt with a result as the log has it.
func (s *series) attempt(second int64, known bool, result string) {
	slot := s.at(second)
	switch {
	case result == "accepted" && known:
		slot.Known++
	case result == "accepted":
		slot.Stranger++
	case result == "denied":
		slot.Denied++
	case result == "repeat":
		slot.Repeat++
	case result == "refused":
		slot.Refused++
	default:
		slot.Void++
	}
}

// refused counts a connection that was refused.
func (s *series) refused(second int64) { s.at(second).Refused++ }

// Series returns the counts of the complete seconds before t, the oldest first, each
// second once: those after since (seconds since 1970), and of the last five minutes.
func (m *Memory) Series(t time.Time, since int64) []Second {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := t.Unix()
	from := max(since+1, now-seriesTime, m.series.start)
	all := make([]Second, 0, max(now-from, 0))
	for second := from; second < now; second++ {
		s := Second{Time: second}
		if slot := m.series.seconds[uint64(second)%uint64(len(m.series.seconds))]; slot.Time == second {
			s = slot
		}
		all = append(all, s)
	}
	return all
}
