package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/limiter/watch"
)

// An image is the whole state of a [Log], for the process that takes over. Unlike the lines that [Replay] reads, it has what
// was seen of the trouble that is on, so that the states go on as if there were no other process.
type image struct {
	All       []*Incident                `json:"all"` // oldest first
	Restored  string                     `json:"restored,omitempty"`
	First     time.Time                  `json:"first"`
	Latest    watch.State                `json:"latest"`
	Observed  []watch.Signals            `json:"observed"` // of recentRates, with Expected and N
	Expected  []watch.Signals            `json:"expected"`
	N         int                        `json:"n"`
	Trouble   time.Time                  `json:"trouble"`
	Alarm     time.Time                  `json:"alarm"`
	Alarms    []watch.Class              `json:"alarms,omitempty"`
	NotServed time.Time                  `json:"not_served"`
	Denied    imageSpell                 `json:"denied"`
	Spells    map[watch.Class]imageSpell `json:"spells"`
}

// An imageSpell is a spell in an image.
type imageSpell struct {
	From time.Time `json:"from"`
	Last time.Time `json:"last"`
}

// Export returns the whole state of l, in JSON, for [Import].
func (l *Log) Export() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := image{
		All: l.all, Restored: l.restored, First: l.first, Latest: l.latest,
		Observed: l.rates.observed[:], Expected: l.rates.expected[:], N: l.rates.n,
		Trouble: l.trouble, Alarm: l.alarm, Alarms: l.alarms, NotServed: l.notServed,
		Denied: imageSpell{l.denied.from, l.denied.last}, Spells: map[watch.Class]imageSpell{},
	}
	for class, s := range l.spells {
		m.Spells[class] = imageSpell{s.from, s.last}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("export the incidents: %w", err)
	}
	return data, nil
}

// Import returns the Log that [Log.Export] has encoded. hold is as in [Replay]. Nothing is replayed and nothing counts as
// a restart.
func Import(data []byte, hold time.Duration) (*Log, error) {
	var m image
	err := json.Unmarshal(data, &m)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("import the incidents: %w", err)
	}
	l := newLog(hold)
	l.all, l.restored, l.first, l.latest = m.All, m.Restored, m.First, m.Latest
	copy(l.rates.observed[:], m.Observed)
	copy(l.rates.expected[:], m.Expected)
	l.rates.n = m.N
	l.trouble, l.alarm, l.alarms, l.notServed = m.Trouble, m.Alarm, m.Alarms, m.NotServed
	l.denied = spell{m.Denied.From, m.Denied.Last}
	for class, s := range m.Spells {
		l.spells[class] = spell{s.From, s.Last}
	}
	return l, nil
}

// check returns an error if m is not what a Log can have exported.
func (m *image) check() error {
	classes := slices.Concat(m.Alarms, slices.Collect(maps.Keys(m.Spells)))
	if m.Latest.Class != "" {
		classes = append(classes, m.Latest.Class)
	}
	ids := map[string]bool{}
	for _, i := range m.All {
		if i == nil {
			return errors.New("an incident is missing")
		}
		if i.ID == "" || ids[i.ID] || len(i.Events) == 0 || i.Events[0].Kind != KindOpen || !slices.Contains(Phases(), i.Phase) {
			return fmt.Errorf("incident %q in phase %q with %d events, want a new ID, one of %q and the events from its opening on",
				i.ID, i.Phase, len(i.Events), Phases())
		}
		ids[i.ID] = true
		classes = append(append(classes, i.Class), i.Still...)
		for _, s := range i.Symptoms {
			classes = append(classes, s.Class)
		}
	}
	for _, class := range classes {
		if !slices.Contains(watch.Classes(), class) {
			return fmt.Errorf("got class %q, want one of %q", class, watch.Classes())
		}
	}
	var rates recentRates
	if len(m.All) > maxIncidents || m.N < 0 || len(m.Observed) != len(rates.observed) || len(m.Expected) != len(rates.expected) {
		return fmt.Errorf("got %d incidents and rates of %d and %d states, want at most %d, and %d of each",
			len(m.All), len(m.Observed), len(m.Expected), maxIncidents, len(rates.observed))
	}
	return nil
}
