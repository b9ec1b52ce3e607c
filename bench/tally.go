package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"postern/bench/client"
)

// The outcomes of an attempt that got an answer. One that got none has for
// outcome what [client.Reason] says.
const (
	accepted = "accepted"
	denied   = "denied"
	busy     = "to be tried later"
)

// unanswered is what [client.Reason] says of an attempt that got no answer in time.
const unanswered = "no answer in time"

// outcome names what became of an attempt.
func outcome(a client.Answer, err error) string {
	switch {
	case err != nil:
		return client.Reason(err)
	case a == client.Denied:
		return denied
	case a == client.Busy:
		return busy
	}
	return accepted
}

// Tally counts what became of attempts, second by second, and how long they
// took. It is safe for concurrent use.
type Tally struct {
	mu       sync.Mutex
	begun    time.Time
	outcomes map[string]int
	seconds  []Second
	latency  *hdrhistogram.Histogram
}

// Second is what became of the attempts that were due in one second.
type Second struct {
	Begun    int           // attempts due
	Accepted int           // of them
	Slowest  time.Duration // of the accepted
}

// NewTally counts from begun on.
func NewTally(begun time.Time) *Tally {
	return &Tally{begun: begun, outcomes: map[string]int{}, latency: newHistogram()}
}

// Add counts an attempt that was due at a time and has ended so much later.
// The latency of an attempt is that of its acceptance; one that got no answer
// counts as slow as it was given time to be. Attempts that were turned away
// have no latency: being quick to refuse is no merit.
func (t *Tally) Add(due time.Time, took time.Duration, a client.Answer, err error) {
	what := outcome(a, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcomes[what]++
	s := t.second(due)
	s.Begun++
	if what == accepted {
		s.Accepted++
		s.Slowest = max(s.Slowest, took)
	}
	if what == accepted || what == unanswered {
		record(t.latency, took)
	}
}

// second returns the second that a time falls into.
func (t *Tally) second(at time.Time) *Second {
	i := max(0, int(at.Sub(t.begun)/time.Second))
	for len(t.seconds) <= i {
		t.seconds = append(t.seconds, Second{})
	}
	return &t.seconds[i]
}

// Seconds returns what became of the attempts of every second since the tally
// was begun.
func (t *Tally) Seconds() []Second {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seconds)
}

// tallyJSON is a tally on its way to another process.
type tallyJSON struct {
	Begun    time.Time
	Outcomes map[string]int
	Seconds  []Second
	Latency  *hdrhistogram.Snapshot
}

// MarshalJSON writes everything that was counted.
func (t *Tally) MarshalJSON() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(tallyJSON{t.begun, t.outcomes, t.seconds, t.latency.Export()})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (t *Tally) UnmarshalJSON(data []byte) error {
	var j tallyJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.Outcomes == nil || j.Latency == nil {
		return errors.New("not a tally")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.outcomes, t.seconds, t.latency = j.Begun, j.Outcomes, j.Seconds, hdrhistogram.Import(j.Latency)
	return nil
}

// Accepted returns how many attempts were accepted.
func (t *Tally) Accepted() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcomes[accepted]
}

// All returns how many attempts there were.
func (t *Tally) All() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.outcomes {
		n += c
	}
	return n
}

// Unanswered returns how many attempts got no answer in time.
func (t *Tally) Unanswered() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcomes[unanswered]
}

// Share returns the part of the attempts that were accepted, in per cent.
func (t *Tally) Share() float64 {
	return 100 * float64(t.Accepted()) / float64(max(1, t.All()))
}

// Millis returns the latency that p per cent of the attempts do not exceed, in
// milliseconds.
func (t *Tally) Millis(p float64) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return percentile(t.latency, p)
}

// Failures says what became of attempts that were not accepted, the most
// frequent first; "" if there is nothing to say.
func (t *Tally) Failures() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := slices.Sorted(maps.Keys(t.outcomes))
	slices.SortStableFunc(what, func(a, b string) int { return t.outcomes[b] - t.outcomes[a] })
	var said []string
	for _, w := range what {
		if w != accepted {
			said = append(said, fmt.Sprintf("%d × %s", t.outcomes[w], w))
		}
	}
	return strings.Join(said, ", ")
}
