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

// The outcomes of an attempt that got an answer. Without one, the outcome is
// what [client.Reason] returns.
const (
	accepted = "accepted"
	denied   = "denied"
	busy     = "to be tried later"
)

// errLeft means that a client has left on purpose and got no answer.
var errLeft = errors.New("left on purpose")

// unanswered is what [client.Reason] returns for a timeout.
const unanswered = client.NoAnswer

// outcome names the outcome of an attempt.
func outcome(a client.Answer, err error) string {
	switch {
	case errors.Is(err, errLeft):
		return errLeft.Error()
	case err != nil:
		return client.Reason(err)
	case a == client.Denied:
		return denied
	case a == client.Busy:
		return busy
	}
	return accepted
}

// results counts the outcomes of attempts, second by second, and their
// latency. It is safe for concurrent use.
type results struct {
	mu       sync.Mutex
	start    time.Time
	outcomes map[string]int
	seconds  []second
	latency  *hdrhistogram.Histogram
}

// second counts the attempts that were due in one second.
type second struct {
	Started  int
	Accepted int           // of them
	Slowest  time.Duration // of the accepted
}

// newResults counts seconds from start.
func newResults(start time.Time) *results {
	return &results{start: start, outcomes: map[string]int{}, latency: newHistogram()}
}

// add counts an attempt. took is the time from when it was due to its answer.
// An attempt without an answer counts with its timeout as latency. Refused and
// denied attempts have no latency: a fast refusal must not improve the figure.
func (r *results) add(due time.Time, took time.Duration, a client.Answer, err error) {
	what := outcome(a, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[what]++
	s := r.secondAt(due)
	s.Started++
	if what == accepted {
		s.Accepted++
		s.Slowest = max(s.Slowest, took)
	}
	if what == accepted || what == unanswered {
		record(r.latency, took)
	}
}

// secondAt returns the second of a time; r.mu is held.
func (r *results) secondAt(at time.Time) *second {
	i := max(0, int(at.Sub(r.start)/time.Second))
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, second{})
	}
	return &r.seconds[i]
}

// perSecond returns the counts of every second since the start.
func (r *results) perSecond() []second {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seconds)
}

// resultsJSON is how results are sent from one process to another.
type resultsJSON struct {
	Start    time.Time
	Outcomes map[string]int
	Seconds  []second
	Latency  *hdrhistogram.Snapshot
}

// MarshalJSON writes everything that was counted.
func (r *results) MarshalJSON() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.Marshal(resultsJSON{r.start, r.outcomes, r.seconds, r.latency.Export()})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (r *results) UnmarshalJSON(data []byte) error {
	var j resultsJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.Outcomes == nil || j.Latency == nil {
		return errors.New("results: Outcomes or Latency is missing")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start, r.outcomes, r.seconds, r.latency = j.Start, j.Outcomes, j.Seconds, hdrhistogram.Import(j.Latency)
	return nil
}

// accepted returns how many attempts were accepted.
func (r *results) accepted() int { return r.count(accepted) }

// all returns how many attempts were counted.
func (r *results) all() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.outcomes {
		n += c
	}
	return n
}

// unanswered returns how many attempts got no answer in time.
func (r *results) unanswered() int { return r.count(unanswered) }

// count returns how many attempts had one of the outcomes.
func (r *results) count(outcomes ...string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range outcomes {
		n += r.outcomes[o]
	}
	return n
}

// acceptedShare returns the share of the accepted attempts in per cent.
func (r *results) acceptedShare() float64 {
	return 100 * float64(r.accepted()) / float64(max(1, r.all()))
}

// millis returns the p-th percentile of the latency in milliseconds.
func (r *results) millis(p float64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return percentile(r.latency, p)
}

// failures lists the outcomes other than acceptance, the most frequent first;
// "" if there are none.
func (r *results) failures() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	outcomes := slices.Sorted(maps.Keys(r.outcomes))
	slices.SortStableFunc(outcomes, func(a, b string) int { return r.outcomes[b] - r.outcomes[a] })
	var list []string
	for _, o := range outcomes {
		if o != accepted {
			list = append(list, fmt.Sprintf("%d × %s", r.outcomes[o], o))
		}
	}
	return strings.Join(list, ", ")
}

// maxLatency is the longest latency that a histogram can hold.
const maxLatency = 10 * time.Minute

// newHistogram returns a histogram of microseconds with three significant
// digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 3)
}

// record adds one latency to h.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d, time.Microsecond), maxLatency).Microseconds())
}

// percentile returns the p-th percentile of h in milliseconds.
func percentile(h *hdrhistogram.Histogram, p float64) float64 {
	return float64(h.ValueAtPercentile(p)) / 1000
}

// percentiles are the points of a latency curve.
var percentiles = []float64{1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97.5, 98, 99, 99.5, 99.9, 99.99, 100}
