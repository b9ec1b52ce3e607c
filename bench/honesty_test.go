package bench

import (
	"bufio"
	"context"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/bench/client"
)

// A rogue is a target that behaves as badly as it is told to.
type rogue struct {
	// login says how long the n-th login takes and how it is answered: "" is
	// never.
	login func(n int, at time.Time) (takes time.Duration, answer string)
	n     atomic.Int64
}

// target is r, at the other end of pipes.
func (r *rogue) target() *Target {
	return &Target{
		Name: "rogue", patience: 5 * time.Second,
		doors: map[door]string{{client.IMAP, client.Plain}: "pipe"},
		dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go r.serve(theirs)
			return ours, nil
		},
	}
}

// serve is one connection.
func (r *rogue) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	c.Write([]byte("* OK come\r\n"))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.Contains(line, "LOGIN") {
			c.Write([]byte("* BYE\r\na OK bye\r\n"))
			return
		}
		takes, answer := r.login(int(r.n.Add(1)), time.Now())
		<-time.After(takes)
		if answer != "" {
			c.Write([]byte(answer + "\r\n"))
		}
	}
}

// come lets clients log in at r in an open loop and returns the sample.
func come(t *testing.T, r *rogue, rate float64, d time.Duration) *Sample {
	t.Helper()
	s := &Sample{}
	w := steady(&Options{Rate: rate, Duration: d}, loginKind{client.IMAP, client.Plain, client.Login}, rate)
	if err := w.Measure(t.Context(), r.target(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// near reports whether a figure is what it must be, up to the histogram's
// three digits.
func near(got, want float64) bool { return math.Abs(got-want) <= want/500 }

func TestLatencyIsWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &rogue{login: func(n int, _ time.Time) (time.Duration, string) {
			if n%50 == 0 {
				return 400 * time.Millisecond, "a OK in"
			}
			return 30 * time.Millisecond, "a OK in"
		}}
		s := come(t, slow, 100, 10*time.Second)
		if p50, p99 := s.value(t, "login, median"), s.value(t, "login, 99 %"); !near(p50, 30) || !near(p99, 400) {
			t.Errorf("median %v ms, 99 %% %v ms; it takes 30, and 400 one time in 50", p50, p99)
		}
		if s.value(t, "accepted") != 100 || len(s.problems) > 0 {
			t.Errorf("problems with an honest target: %q", s.problems)
		}
	})
}

// A target that stalls for a second makes a hundred clients wait, not one.
func TestStallIsChargedForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		stalls := &rogue{login: func(_ int, at time.Time) (time.Duration, string) {
			if since := at.Sub(begun); since >= 4*time.Second && since < 5*time.Second {
				return 5*time.Second - since, "a OK in"
			}
			return 0, "a OK in"
		}}
		s := come(t, stalls, 100, 10*time.Second)
		// A tenth of the clients wait half a second on average, one of a hundred 900 ms and more.
		if p50, p99 := s.value(t, "login, median"), s.value(t, "login, 99 %"); p50 > 1 || !near(p99, 900) {
			t.Errorf("median %v ms, 99 %% %v ms", p50, p99)
		}
	})
}

// A target with one worker that stalls makes those who come later wait in line:
// their time counts from when they were due, though they are served at once
// when their turn comes.
func TestQueueCountsFromWhenClientsWereDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := make(chan struct{}, 1)
		single := &rogue{login: func(n int, _ time.Time) (time.Duration, string) {
			worker <- struct{}{}
			defer func() { <-worker }()
			if n == 1 {
				<-time.After(time.Second)
			}
			return 0, "a OK in"
		}}
		s := come(t, single, 100, 2*time.Second)
		if p50 := s.value(t, "login, median"); p50 > 10 {
			t.Errorf("median %v ms: half of the clients came later", p50)
		}
		if p99 := s.value(t, "login, 99 %"); !near(p99, 980) {
			t.Errorf("99 %% %v ms", p99)
		}
	})
}

func TestDroppedAnswersAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drops := &rogue{login: func(n int, _ time.Time) (time.Duration, string) {
			if n%10 == 0 {
				return 0, ""
			}
			return 0, "a OK in"
		}}
		s := come(t, drops, 100, 2*time.Second)
		if share := s.value(t, "accepted"); share != 90 {
			t.Errorf("accepted: %v %%", share)
		}
		if p99 := s.value(t, "login, 99 %"); !near(p99, 5000) {
			t.Errorf("99 %% took %v ms: who gets no answer waits as long as clients do", p99)
		}
		if want := "of 200 logins: 20 × no answer in time"; len(s.problems) != 1 || s.problems[0] != want {
			t.Errorf("problems: %q", s.problems)
		}
	})
}

// To refuse quickly is no merit: it must not make the latency better.
func TestRefusalsDoNotCountAsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []string{"a NO [UNAVAILABLE] later", "a NO [AUTHENTICATIONFAILED] no", "what?", "a OK in"}
		refuses := &rogue{login: func(n int, _ time.Time) (time.Duration, string) {
			answer := answers[n%len(answers)]
			if answer == "a OK in" {
				return 200 * time.Millisecond, answer
			}
			return 0, answer
		}}
		s := come(t, refuses, 100, 2*time.Second)
		if p50, share := s.value(t, "login, median"), s.value(t, "accepted"); !near(p50, 200) || share != 25 {
			t.Errorf("median %v ms, accepted %v %%", p50, share)
		}
		want := "of 200 logins: 50 × denied, 50 × to be tried later, 50 × wrong answer"
		if len(s.problems) != 1 || s.problems[0] != want {
			t.Errorf("problems: %q", s.problems)
		}
	})
}

// A closed loop is as fast as the target, and ends when its time is up.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rogue{login: func(int, time.Time) (time.Duration, string) { return 50 * time.Millisecond, "a OK in" }}
		s := &Sample{}
		o := &Options{Workers: 8, Duration: 10 * time.Second}
		if err := saturation(o, loginKind{client.IMAP, client.Plain, client.Login}).Measure(t.Context(), r.target(), s); err != nil {
			t.Fatal(err)
		}
		if rate := s.value(t, "logins a second"); !near(rate, 160) {
			t.Errorf("%v logins a second, of 8 clients at 50 ms each", rate)
		}
	})
}

// A target that lets everybody in without asking the mail server is found out.
func TestInventedLoginsAreShown(t *testing.T) {
	h := newHouse(t)
	invents := &rogue{login: func(int, time.Time) (time.Duration, string) { return 0, "a OK in" }}
	target := invents.target()
	target.Backend = h.direct(Work{}).Backend
	s := &Sample{}
	o := &Options{Workers: 1, Duration: time.Millisecond}
	if err := saturation(o, loginKind{client.IMAP, client.Plain, client.Login}).Measure(t.Context(), target, s); err != nil {
		t.Fatal(err)
	}
	if len(s.problems) != 1 || !strings.Contains(s.problems[0], "the mail server knows of 0") {
		t.Errorf("problems: %q", s.problems)
	}
}
