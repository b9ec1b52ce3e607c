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

// shortOptions returns the options of a very short round.
func shortOptions() *Options {
	o := Defaults()
	o.Sessions, o.Workers, o.Flood, o.Settle = 4, 4, 300*time.Millisecond, 0
	o.Files = filesReserved + 2*filesPerShare
	return &o
}

// measureAt does one round of a work at a target that it starts and stops.
func measureAt(t *testing.T, tb *testbed, w Work, name string) (*sample, error) {
	t.Helper()
	target := tb.direct(w)
	if name != direct {
		started, p, err := tb.start(t.Context(), findKind(t, name), w)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		target = started
	}
	target.timeout = time.Minute
	s := &sample{}
	return s, w.measure(t.Context(), target, s)
}

// During each flood sessions are woken and logins are accepted.
func TestOverload(t *testing.T) {
	for i, w := range must(overloadWorks(shortOptions())) {
		for _, name := range []string{"postern", "haproxy", direct} {
			t.Run(w.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				s, err := measureAt(t, newTestbed(t), w, name)
				if err != nil {
					t.Fatal(err)
				}
				// How many are accepted in time depends on the machine; that any are
				// accepted does not.
				if s.value(t, "full rate, logins") <= 0 || s.value(t, "CPU per login") < 0 || s.value(t, "wake-up, 99 %") <= 0 {
					t.Errorf("%+v", s.figures)
				}
				if s.has("unfinished handshakes responded to") != (i == 1) {
					t.Errorf("unfinished handshakes: %+v", s.figures)
				}
				for _, p := range s.problems {
					if !strings.Contains(p, " logins: ") { // logins may be refused
						t.Error(p)
					}
				}
			})
		}
	}
}

func TestOverloadNeedsStandIn(t *testing.T) {
	for _, w := range must(overloadWorks(shortOptions())) {
		if err := w.measure(t.Context(), &target{}, &sample{}); !errors.Is(err, errNotOffered) {
			t.Errorf("remote target: got %v, want %v", err, errNotOffered)
		}
	}
}

// must returns works without an error.
func must(works []Work, err error) []Work {
	if err != nil {
		panic(err)
	}
	return works
}

// A flood is twice the full rate: all of it logins of newcomers, or half of it
// logins of known users and half of it unfinished handshakes.
func TestFloodsAreTwiceTheFullRate(t *testing.T) {
	o := shortOptions()
	for _, f := range []floodConfig{doubleLogins(o, 50), withUnfinished(o, 50)} {
		if f.Rate+f.Unfinished != 100 {
			t.Errorf("%+v", f)
		}
		known := f.account(7) >= firstUser && f.account(1<<20) < firstUser+o.floodUsers()
		if known != (f.Unfinished > 0) {
			t.Errorf("logins are from %d to %d: %+v", f.account(0), f.account(1<<20), f)
		}
	}
}

// Logins accepted during the onset or after the end do not count as accepted in
// time, and not as failures.
func TestAcceptedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &proxyHeaderServer{tls: serverTLS(t), delay: 500 * time.Millisecond, answer: acceptAll}
		r, err := floodConfig{Rate: 100, Onset: 995 * time.Millisecond, Duration: 2 * time.Second, Timeout: time.Minute, FirstAccount: 3, Accounts: 10}.run(t.Context(), p.target())
		if err != nil {
			t.Fatal(err)
		}
		if r.InTime != 100 || r.Logins.accepted() != 200 || r.Late.all() != 200 {
			t.Errorf("%d of %d logins in time, %d start", r.InTime, r.Logins.accepted(), r.Late.all())
		}
		accounts := map[string]bool{}
		for _, l := range p.logins {
			accounts[l.account] = true
		}
		if len(accounts) != 10 || !accounts["user000003@bench.example"] {
			t.Errorf("accounts: %v", accounts)
		}
	})
}

// Unfinished handshakes never log in.
func TestUnfinishedHandshakesDoNotLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &proxyHeaderServer{tls: serverTLS(t), answer: acceptAll}
		r, err := floodConfig{Rate: 10, Unfinished: 50, Duration: 2 * time.Second, Timeout: time.Minute, FirstStranger: 5}.run(t.Context(), p.target())
		if err != nil {
			t.Fatal(err)
		}
		if len(p.logins) != 20 || r.Started != 100 || r.Responded != 100 {
			t.Errorf("%d logins; %d unfinished, %d responded to", len(p.logins), r.Started, r.Responded)
		}
	})
}

// Results survive JSON, in which another process sends them.
func TestResultsAsJSON(t *testing.T) {
	start := time.Now()
	sent, got := newResults(start), &results{}
	for i := range 100 {
		sent.add(start.Add(time.Duration(i)*50*time.Millisecond), time.Duration(i)*time.Millisecond, client.Answer(i%3), nil)
	}
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if got.failures() != sent.failures() || got.accepted() != 34 || got.millis(99) != sent.millis(99) || len(got.perSecond()) != 5 {
		t.Errorf("%s, %d accepted, 99 %% %v ms", got.failures(), got.accepted(), got.millis(99))
	}
	if json.Unmarshal([]byte("{}"), got) == nil {
		t.Error("an empty object is accepted")
	}
}

// A notification that never arrives counts as slow.
func TestMissingNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, res := &wakeups{}, newResults(time.Now())
		w.received.Store(3)
		if err := w.await(t.Context(), res, 5); err != nil {
			t.Fatal(err)
		}
		if res.unanswered() != 2 || !near(res.millis(50), 10000) {
			t.Errorf("%s, median %v ms", res.failures(), res.millis(50))
		}
	})
}

// The process of a flood reports its errors.
func TestFloodErrors(t *testing.T) {
	tb := newTestbed(t)
	if _, err := tb.flood(t.Context(), floodConfig{Certificate: "none"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	if err := RunFlood("none", strings.NewReader(""), nil); err == nil {
		t.Error("a configuration that is not JSON is accepted")
	}
}
