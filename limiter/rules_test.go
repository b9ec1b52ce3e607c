package limiter

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	for _, tc := range []struct {
		burst   int
		longest time.Duration
		want    []time.Duration // by tokens spent, in seconds
	}{
		{10, 10, []time.Duration{0, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10}},
		{10, 15, []time.Duration{0, 2, 4, 8, 15, 15}},
		{10, 5, []time.Duration{0, 2, 4, 5, 5}},
		{10, 1, []time.Duration{0, 1, 1, 1, 1}},
		{10, 0, []time.Duration{0, 0, 0, 0, 0}},
		{20, 10, []time.Duration{0, 0, 2, 2, 4, 4, 8, 8, 10}},
		{15, 10, []time.Duration{0, 0, 2, 4, 4, 8, 10}}, // a tenth is 1.5
		{5, 10, []time.Duration{0, 2, 4, 8, 10, 10}},    // at most one step with each denial
		{1, 10, []time.Duration{0, 2}},
	} {
		for spent, want := range tc.want {
			if got := delay(spent, tc.burst, tc.longest*time.Second); got != want*time.Second {
				t.Errorf("delay(%d, %d, %ds) = %v, want %ds", spent, tc.burst, tc.longest, got, want)
			}
		}
	}
}

func TestDelayOfALargeBucket(t *testing.T) {
	for spent, want := range map[int]time.Duration{0: 0, 9: 0, 10: 2, 19: 2, 20: 4, 30: 8, 39: 8, 40: 10, 100: 10} {
		if got := delay(spent, 100, 10*time.Second); got != want*time.Second {
			t.Errorf("delay(%d, 100, 10s) = %v, want %ds", spent, got, want)
		}
	}
}

func TestJitter(t *testing.T) {
	const longest = 10 * time.Second
	for _, d := range []time.Duration{0, 1, 2 * time.Second, 8 * time.Second, 9 * time.Second, longest} {
		low, high := time.Hour, time.Duration(0)
		for seed := range uint64(1000) {
			got := jittered(d, longest, seed)
			low, high = min(low, got), max(high, got)
		}
		if low < d || high > min(d+d/5, longest) {
			t.Errorf("jittered(%v) is from %v to %v", d, low, high)
		}
		if d == 2*time.Second && high-low < d/10 {
			t.Errorf("jittered(%v) hardly varies: %v to %v", d, low, high)
		}
	}
}
