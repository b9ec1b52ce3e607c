package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter/watch"
)

// TestUserMetrics sorts the logins of known users, and counts no others.
func TestUserMetrics(t *testing.T) {
	const prompt = 2500 * time.Millisecond
	m := testMetrics(t)
	for name, tt := range map[string]struct {
		attempt watch.Attempt
		want    string
	}{
		"in time":      {watch.Attempt{Outcome: watch.Accepted, Greeting: prompt, Waited: prompt}, "good"},
		"greeted late": {watch.Attempt{Outcome: watch.Accepted, Greeting: prompt + 1}, "slow"},
		"delayed":      {watch.Attempt{Outcome: watch.Accepted, Waited: prompt + 1}, "slow"},
		"denied":       {watch.Attempt{Outcome: watch.Denied}, "denied"},
		"repeat":       {watch.Attempt{Outcome: watch.Repeat}, "denied"},
		"guessed":      {watch.Attempt{Outcome: watch.Rejected}, "denied"}, // for denials of their own
		"rejected":     {watch.Attempt{Outcome: watch.Rejected, Worked: true}, "limited"},
		"shed":         {watch.Attempt{Outcome: watch.Shed}, "limited"},
		"backend":      {watch.Attempt{Outcome: watch.Fault}, "fault"},
	} {
		counter := m.users.known.WithLabelValues("imaps", tt.want)
		before := testutil.ToFloat64(counter)
		m.User("imaps", tt.attempt)
		tt.attempt.Known = true
		m.User("imaps", tt.attempt)
		if got := testutil.ToFloat64(counter); got != before+1 {
			t.Errorf("%s: %v became %v", name, before, got)
		}
	}
	m.User("imaps", watch.Attempt{Known: true, Outcome: watch.Gone, Greeting: time.Second})
	if got := testbed.Total(gather(t, m.registry)["postern_known_logins_total"], "listener", "imaps"); got != 9 {
		t.Errorf("%v in all, want 9", got)
	}
	if got := gather(t, m.registry)["postern_known_greeting_seconds"].GetMetric()[1].GetHistogram().GetSampleCount(); got != 2 {
		t.Errorf("%d greetings, want 2", got)
	}
}
