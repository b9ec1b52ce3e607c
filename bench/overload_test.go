package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/bench/client"
)

// few is the options of a round that is over at once.
func few() *Options {
	o := Defaults()
	o.Sessions, o.Workers, o.Flood, o.Settle = 4, 4, 300*time.Millisecond, 0
	o.Files = filesSpare + 2*filesEach
	return &o
}

// measureAt does one round of a work at a target that is started for it.
func measureAt(t *testing.T, h *house, w Work, name string) (*Sample, error) {
	t.Helper()
	target := h.direct(w)
	if name != direct {
		started, p, err := h.start(t.Context(), kind(t, name), w)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		target = started
	}
	target.patience = 20 * time.Second
	s := &Sample{}
	return s, w.Measure(t.Context(), target, s)
}

// Everybody is woken, and somebody logs in, under each flood.
func TestOverload(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each process of callers takes a second to end
	h, works := newHouse(t), must(overloadWorks(few()))
	for _, w := range works {
		for _, name := range []string{"postern", "haproxy", direct} {
			t.Run(w.Name+", "+name, func(t *testing.T) {
				s, err := measureAt(t, h, w, name)
				if err != nil {
					t.Fatal(err)
				}
				if s.value(t, "full rate, logins") <= 0 || s.value(t, "logins accepted, of the full rate") <= 0 || s.value(t, "wake-up, 99 %") <= 0 {
					t.Errorf("%+v", s.figures)
				}
				for _, p := range s.problems {
					if !strings.Contains(p, " logins: ") { // which may be refused
						t.Error(p)
					}
				}
			})
		}
	}
	if err := works[0].Measure(t.Context(), &Target{}, &Sample{}); !errors.Is(err, ErrNotOffered) {
		t.Errorf("without a mail server of the bench's: %v", err)
	}
}

// must returns works that there are.
func must(works []Work, err error) []Work {
	if err != nil {
		panic(err)
	}
	return works
}

// Twice the full rate is offered: once as logins of the known and once unfinished,
// or all as logins of newcomers.
func TestFloodsAreTwiceTheFullRate(t *testing.T) {
	o := few()
	for _, f := range []Flood{newcomersTwice(o, 50), besideUnfinished(o, 50)} {
		if f.Rate+f.Unfinished != 100 {
			t.Errorf("%+v", f)
		}
		known := f.number(7) >= peopleFrom && f.number(1<<20) < peopleFrom+o.people()
		if known != (f.Unfinished > 0) {
			t.Errorf("logins are from %d to %d: %+v", f.number(0), f.number(1<<20), f)
		}
	}
}

// What is accepted at the onset or when the flood is over does not count as accepted
// in time, but it is no failure.
func TestAcceptedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &porter{tls: serverTLS(t), takes: 500 * time.Millisecond, answer: func(visit) string { return "a OK in\r\n" }}
		r, err := Flood{Rate: 100, Onset: 995 * time.Millisecond, Duration: 2 * time.Second, Patience: time.Minute, From: 3, Of: 10}.run(t.Context(), p.target())
		if err != nil {
			t.Fatal(err)
		}
		if r.InTime != 100 || r.Logins.Accepted() != 200 || r.Late.All() != 200 {
			t.Errorf("%d of %d logins in time, %d begun", r.InTime, r.Logins.Accepted(), r.Late.All())
		}
		accounts := map[string]bool{}
		for _, v := range p.visits {
			accounts[v.account] = true
		}
		if len(accounts) != 10 || !accounts["user000003@bench.example"] {
			t.Errorf("accounts: %v", accounts)
		}
	})
}

// Unfinished handshakes never come so far as to log in.
func TestUnfinishedHandshakesDoNotLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &porter{tls: serverTLS(t), answer: func(visit) string { return "a OK in\r\n" }}
		r, err := Flood{Rate: 10, Unfinished: 50, Duration: 2 * time.Second, Patience: time.Minute, Strangers: 5}.run(t.Context(), p.target())
		if err != nil {
			t.Fatal(err)
		}
		if len(p.visits) != 20 || r.Begun != 100 || r.Responded != 100 {
			t.Errorf("%d logins; %d unfinished, %d responded to", len(p.visits), r.Begun, r.Responded)
		}
	})
}

// What callers in another process have counted arrives as it was.
func TestTallyTravels(t *testing.T) {
	begun := time.Now()
	sent, got := NewTally(begun), &Tally{}
	for i := range 100 {
		sent.Add(begun.Add(time.Duration(i)*50*time.Millisecond), time.Duration(i)*time.Millisecond, client.Answer(i%3), nil)
	}
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if got.Failures() != sent.Failures() || got.Accepted() != 34 || got.Millis(99) != sent.Millis(99) || len(got.Seconds()) != 5 {
		t.Errorf("%s, %d accepted, 99 %% %v ms", got.Failures(), got.Accepted(), got.Millis(99))
	}
	if json.Unmarshal([]byte("{}"), got) == nil {
		t.Error("nothing is a tally")
	}
}

// A line that never comes was slow.
func TestLinesThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, tally := &wakeups{}, NewTally(time.Now())
		w.heard.Store(3)
		if err := w.await(t.Context(), tally, 5); err != nil {
			t.Fatal(err)
		}
		if tally.Unanswered() != 2 || !near(tally.Millis(50), 10000) {
			t.Errorf("%s, median %v ms", tally.Failures(), tally.Millis(50))
		}
	})
}

// Callers that cannot do what they are told say so.
func TestCallersThatFail(t *testing.T) {
	h := newHouse(t)
	if _, err := h.flood(t.Context(), Flood{Certificate: "none"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	if err := RunFlood("none", strings.NewReader(""), nil); err == nil {
		t.Error("an order that is none is obeyed")
	}
}
