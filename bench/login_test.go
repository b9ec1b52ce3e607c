package bench

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/bench/client"
)

// runSteady logs clients in at server in an open loop and returns the sample.
func runSteady(t *testing.T, server *scriptedServer, rate float64, d time.Duration) *sample {
	t.Helper()
	s := &sample{}
	w := steady(&Options{Rate: rate, Duration: d}, loginKind{client.IMAP, client.Plain, client.Login}, rate)
	if err := w.measure(t.Context(), server.target(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// near reports whether two figures are equal in the three digits of a histogram.
func near(got, want float64) bool { return math.Abs(got-want) <= want/500 }

func TestReportsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &scriptedServer{login: func(n int, _ time.Time) (time.Duration, string) {
			if n%50 == 0 {
				return 400 * time.Millisecond, "a OK in"
			}
			return 30 * time.Millisecond, "a OK in"
		}}
		s := runSteady(t, slow, 100, 10*time.Second)
		if p50, p99 := s.value(t, "login, median"), s.value(t, "login, 99 %"); !near(p50, 30) || !near(p99, 400) {
			t.Errorf("median %v ms, 99 %% %v ms; want 30 and 400", p50, p99)
		}
		if s.value(t, "accepted") != 100 || len(s.problems) > 0 {
			t.Errorf("got problems %q, want none", s.problems)
		}
	})
}

// If a target stalls for a second, the latency of all clients that are due in
// that second counts, not of one.
func TestStallCountsForAllClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		stalls := &scriptedServer{login: func(_ int, at time.Time) (time.Duration, string) {
			if since := at.Sub(start); since >= 4*time.Second && since < 5*time.Second {
				return 5*time.Second - since, "a OK in"
			}
			return 0, "a OK in"
		}}
		s := runSteady(t, stalls, 100, 10*time.Second)
		// A tenth of the clients wait half a second on average, one of a hundred 900 ms and more.
		if p50, p99 := s.value(t, "login, median"), s.value(t, "login, 99 %"); p50 > 1 || !near(p99, 900) {
			t.Errorf("median %v ms, 99 %% %v ms", p50, p99)
		}
	})
}

// If a target with one worker stalls, later clients wait in a queue. Their
// latency counts from when they were due, not from when the worker starts.
func TestQueueCountsFromDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := make(chan struct{}, 1)
		single := &scriptedServer{login: func(n int, _ time.Time) (time.Duration, string) {
			worker <- struct{}{}
			defer func() { <-worker }()
			if n == 1 {
				<-time.After(time.Second)
			}
			return 0, "a OK in"
		}}
		s := runSteady(t, single, 100, 2*time.Second)
		if p50 := s.value(t, "login, median"); p50 > 10 {
			t.Errorf("median %v ms: want at most 10, half of the clients are due later", p50)
		}
		if p99 := s.value(t, "login, 99 %"); !near(p99, 980) {
			t.Errorf("99 %% %v ms", p99)
		}
	})
}

func TestReportsMissingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drops := &scriptedServer{login: func(n int, _ time.Time) (time.Duration, string) {
			if n%10 == 0 {
				return 0, ""
			}
			return 0, "a OK in"
		}}
		s := runSteady(t, drops, 100, 2*time.Second)
		if share := s.value(t, "accepted"); share != 90 {
			t.Errorf("accepted: %v %%", share)
		}
		if p99 := s.value(t, "login, 99 %"); !near(p99, 5000) {
			t.Errorf("99 %%: got %v ms, want the timeout of a client", p99)
		}
		if want := "of 200 logins: 20 × no answer in time"; len(s.problems) != 1 || s.problems[0] != want {
			t.Errorf("problems: %q", s.problems)
		}
	})
}

// Fast refusals must not improve the latency.
func TestRefusalsDoNotImproveLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []string{"a NO [UNAVAILABLE] later", "a NO [AUTHENTICATIONFAILED] no", "what?", "a OK in"}
		refuses := &scriptedServer{login: func(n int, _ time.Time) (time.Duration, string) {
			answer := answers[n%len(answers)]
			if answer == "a OK in" {
				return 200 * time.Millisecond, answer
			}
			return 0, answer
		}}
		s := runSteady(t, refuses, 100, 2*time.Second)
		if p50, share := s.value(t, "login, median"), s.value(t, "accepted"); !near(p50, 200) || share != 25 {
			t.Errorf("median %v ms, accepted %v %%", p50, share)
		}
		want := "of 200 logins: 50 × denied, 50 × to be tried later, 50 × unexpected answer"
		if len(s.problems) != 1 || s.problems[0] != want {
			t.Errorf("problems: %q", s.problems)
		}
	})
}

// A closed loop is as fast as the target and ends in time.
func TestClosedLoopIsAsFastAsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scriptedServer{login: func(int, time.Time) (time.Duration, string) { return 50 * time.Millisecond, "a OK in" }}
		s := &sample{}
		o := &Options{Workers: 8, Duration: 10 * time.Second}
		if err := saturation(o, loginKind{client.IMAP, client.Plain, client.Login}).measure(t.Context(), r.target(), s); err != nil {
			t.Fatal(err)
		}
		if rate := s.value(t, "logins a second"); !near(rate, 160) {
			t.Errorf("%v logins a second, of 8 clients at 50 ms each", rate)
		}
	})
}

// A target that accepts logins without the mail server is a problem.
func TestReportsInventedLogins(t *testing.T) {
	tb := newTestbed(t)
	invents := &scriptedServer{login: func(int, time.Time) (time.Duration, string) { return 0, "a OK in" }}
	target := invents.target()
	target.backend = tb.direct(Work{}).backend
	s := &sample{}
	o := &Options{Workers: 1, Duration: time.Second}
	if err := saturation(o, loginKind{client.IMAP, client.Plain, client.Login}).measure(t.Context(), target, s); err != nil {
		t.Fatal(err)
	}
	if len(s.problems) != 1 || !strings.Contains(s.problems[0], "the mail server 0") {
		t.Errorf("problems: %q", s.problems)
	}
}
