package eventlog

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// sampledPerSecond is how many lines about refused, denied and failed clients
// are written in a second, and at once after a second without any.
const sampledPerSecond = 200

// sampler decides which of the lines that a flood of refusals would multiply
// are written, and counts the others.
type sampler struct {
	mu         sync.Mutex
	bucket     *rate.Limiter
	last       time.Time // the latest time given to bucket
	dropped    uint64    // since the start
	unreported uint64    // of dropped, those that report has not returned
}

// newSampler returns a sampler that lets perSecond lines through in a second.
func newSampler(perSecond int) *sampler {
	return &sampler{bucket: rate.NewLimiter(rate.Limit(perSecond), perSecond)}
}

// allow reports whether a line may be written at time t, and counts it as
// dropped if not. Goroutines may come here in another order than they read the
// clock in. A rate.Limiter that accepts an earlier time than before refills for
// the difference twice, so time is kept from going back.
func (s *sampler) allow(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Before(s.last) {
		t = s.last
	}
	s.last = t
	if s.bucket.AllowN(t, 1) {
		return true
	}
	s.dropped++
	s.unreported++
	return false
}

// report returns how many lines were dropped since it was last called.
func (s *sampler) report() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.unreported
	s.unreported = 0
	return n
}

// total returns how many lines were dropped since the start.
func (s *sampler) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
