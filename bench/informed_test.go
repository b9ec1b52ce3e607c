package bench

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/bench/client"
	"postern/limiter/traffic"
)

// someLogin is a login with the right password.
var someLogin = traffic.Login{Try: 1, Tries: 1, Addr: netip.MustParseAddr("64.1.2.3"), Account: "x@example.org", Secret: traffic.Secret("x@example.org")}

// oneLogin makes a login at p and returns its outcome, and what p saw.
func oneLogin(t *testing.T, p *proxyHeaderServer, l traffic.Login) (what string, seen seenLogin) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		r, err := newTrafficRun(p.target(), now, now, now, now, 0)
		if err != nil {
			t.Fatal(err)
		}
		what = outcome(r.login(t.Context(), l))
		synctest.Wait()
	})
	if len(p.logins) != 1 {
		t.Fatalf("got %d logins, want 1", len(p.logins))
	}
	return what, p.logins[0]
}

func TestTokensAreSent(t *testing.T) {
	l := someLogin
	l.Token = true
	what, seen := oneLogin(t, &proxyHeaderServer{answer: checkPassword}, l)
	if what != accepted || !seen.token || seen.account != l.Account || seen.secret != l.Secret {
		t.Errorf("%s: the server saw %+v", what, seen)
	}
	l.Secret = "wrong"
	if what, _ := oneLogin(t, &proxyHeaderServer{answer: checkPassword}, l); what != denied {
		t.Errorf("wrong token: %s", what)
	}
}

// A client that leaves a challenge unanswered leaves when it should. A target
// that sends none, or hangs up first, is noticed.
func TestHangUp(t *testing.T) {
	l := traffic.Login{Class: traffic.Attacker, Addr: someLogin.Addr, Hold: 1900 * time.Millisecond}
	for _, tc := range []struct {
		server *proxyHeaderServer
		want   string
		held   time.Duration
	}{
		{&proxyHeaderServer{}, errLeft.Error(), l.Hold},
		{&proxyHeaderServer{noCRAM: true}, "unexpected answer", 0},
		{&proxyHeaderServer{maxIdle: time.Second}, "connection lost", time.Second},
	} {
		if what, seen := oneLogin(t, tc.server, l); what != tc.want || seen.held != tc.held {
			t.Errorf("got %s after %v, want %s after %v", what, seen.held, tc.want, tc.held)
		}
	}
}

// An idle client sends nothing for as long as it should. A target that closes
// the connection is noticed.
func TestIdleClient(t *testing.T) {
	l := traffic.Login{Class: traffic.Attacker, Addr: someLogin.Addr, Idle: time.Minute}
	for _, tc := range []struct {
		server *proxyHeaderServer
		want   string
		held   time.Duration
	}{{&proxyHeaderServer{}, errLeft.Error(), l.Idle}, {&proxyHeaderServer{maxIdle: time.Second}, "connection lost", time.Second}} {
		if what, seen := oneLogin(t, tc.server, l); what != tc.want || seen.held != tc.held {
			t.Errorf("got %s after %v, want %s after %v", what, seen.held, tc.want, tc.held)
		}
	}
}

// An idle device connects again when the target closes its connections.
func TestIdleClientConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &proxyHeaderServer{answer: checkPassword, maxIdle: time.Second}
		runTraffic(t, p, traffic.Steady(traffic.SharedIdle, phase, 2))
		n := 0
		for _, l := range p.logins {
			if l.held == time.Second {
				n++
			}
		}
		if n < 2*40 { // in 20 s, with pauses of 5 s to 10 s
			t.Errorf("got %d idle connections, want at least two of each of 40", n)
		}
	})
}

func TestImpatientClient(t *testing.T) {
	l := someLogin
	l.Patience = time.Second
	for delay, want := range map[time.Duration]string{0: accepted, 2 * time.Second: unanswered} {
		if what, _ := oneLogin(t, &proxyHeaderServer{answer: checkPassword, delay: delay}, l); what != want {
			t.Errorf("answer after %v: %s, want %s", delay, what, want)
		}
	}
}

// A device resumes the session of its first login. A target that does not resume
// it is noticed.
func TestDeviceResumes(t *testing.T) {
	config := serverTLS(t)
	for name, resumes := range map[string]bool{"tickets": true, "no tickets": false} {
		t.Run(name, func(t *testing.T) {
			p := &proxyHeaderServer{answer: checkPassword, tls: config.Clone()}
			p.tls.SessionTicketsDisabled = !resumes
			l := someLogin
			l.Device = 7
			devices, err := useDevices(t.Context(), p.target(), []traffic.Login{someLogin, l})
			if err != nil {
				t.Fatal(err)
			}
			r := trafficRun{target: p.target(), devices: devices}
			l.Addr = netip.MustParseAddr("64.96.0.1")
			if answer, err := r.login(t.Context(), l); err != nil || answer != client.Accepted {
				t.Errorf("%v, %v", answer, err)
			}
			if len(p.logins) != 2 || p.logins[0].resumed || p.logins[1].resumed != resumes || p.logins[1].addr != l.Addr {
				t.Errorf("the server saw %+v", p.logins)
			}
			if n := r.notResumed.Load(); (n == 0) != resumes {
				t.Errorf("%d sessions count as not resumed", n)
			}
		})
	}
	p := &proxyHeaderServer{answer: refuseAll, tls: config}
	l := someLogin
	l.Device = 7
	if _, err := useDevices(t.Context(), p.target(), []traffic.Login{l}); err == nil || !strings.Contains(err.Error(), busy) {
		t.Errorf("a device that is refused: %v", err)
	}
	var noTLS target
	if _, err := useDevices(t.Context(), &noTLS, []traffic.Login{l}); !errors.Is(err, errNotOffered) {
		t.Errorf("a target without TLS: %v", err)
	}
}

// A client counts by its last try, which may be after the attack.
func TestClientsCountByTheirLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries := map[string]int{}
		p := &proxyHeaderServer{answer: func(l seenLogin) string {
			mu.Lock()
			defer mu.Unlock()
			if tries[l.account]++; strings.HasPrefix(l.account, "newcomer") && tries[l.account] < 3 {
				return refuseAll(l)
			}
			return checkPassword(l)
		}}
		start := time.Now()
		r, err := newTrafficRun(p.target(), start, start, start, start.Add(phase), 0)
		if err != nil {
			t.Fatal(err)
		}
		r.retryUntil = r.until.Add(retryTime)
		r.run(t.Context(), traffic.New(1, traffic.Normal, start))
		newcomers := r.clients[traffic.Newcomer]
		if n := newcomers.all(); newcomers.acceptedShare() != 100 || n < 20 || n > 60 {
			t.Errorf("%.1f %% of %d newcomers accepted, want all", newcomers.acceptedShare(), n)
		}
		if share := r.attack[traffic.Newcomer].acceptedShare(); share > 50 {
			t.Errorf("%.1f %% of their tries accepted, want a third or less", share)
		}
	})
}

// Every row has the rates of its name, and fits into the rate that -most allows.
func TestInformedRowsAreScaled(t *testing.T) {
	for most, scale := range map[float64]float64{1200: 1, 106: .1} {
		o := Defaults().Attack
		o.MaxRate = most
		p := informedRows[1].plan(&o)
		rate := (p.attack.Times(p.baseline+p.onset) - 1) * p.normal
		if near := rate / (1000 * scale); near < .99 || near > 1.01 || p.attack.Accounts != int(1000*scale) {
			t.Errorf("-most %v: %v/s with %d accounts", most, rate, p.attack.Accounts)
		}
		if says := strings.Contains(p.about, "10 % of its size"); says != (scale < 1) {
			t.Errorf("-most %v: %s", most, p.about)
		}
	}
	for _, row := range informedRows {
		o := Defaults()
		if p := row.plan(&o.Attack); p.attack.Peak()*p.normal > o.Attack.MaxRate+1 {
			t.Errorf("%s: up to %v logins a second", row.name, p.attack.Peak()*p.normal)
		}
		for _, g := range row.goals {
			if clientName(g.class) == "" {
				t.Errorf("%s: no figure for the goal of class %v", row.name, g.class)
			}
		}
	}
}

// Guesses count as tested if the right one is let in.
func TestGuessesThatAreTested(t *testing.T) {
	var mu sync.Mutex
	guesses := map[string]int{}
	for _, tc := range []struct {
		name   string
		answer func(seenLogin) string
		tested int
		fails  bool
	}{
		{name: "all", answer: checkPassword, tested: guessPairs},
		{name: "ten", answer: func(l seenLogin) string {
			mu.Lock()
			defer mu.Unlock()
			if guesses[l.account]++; guesses[l.account] > 10 {
				return "a NO [AUTHENTICATIONFAILED] no\r\n"
			}
			return checkPassword(l)
		}, tested: 10},
		{name: "none is answered", answer: refuseAll, fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sample{}
				err := measureGuesses(t.Context(), (&proxyHeaderServer{answer: tc.answer}).target(), s)
				if tc.fails {
					if err == nil {
						t.Error("no error")
					}
				} else if n := s.value(t, testedFigure); err != nil || n != float64(tc.tested) {
					t.Errorf("got %v tested, %v, want %d", n, err, tc.tested)
				}
			})
		})
	}
	if err := measureGuesses(t.Context(), &target{listeners: map[listener]string{{client.IMAP, client.Plain}: ""}, tls: &tls.Config{}}, &sample{}); !errors.Is(err, errNotOffered) {
		t.Errorf("a target that believes no addresses: %v", err)
	}
}

// Every guess of an attack without a proxy reaches the mail server.
func TestReachedWithoutProxy(t *testing.T) {
	tb := newTestbed(t)
	o := Defaults().Attack
	o.MaxRate, o.Baseline, o.Duration = 100, time.Second, 2*time.Second
	for _, row := range informedRows {
		if row.kind != traffic.Spray48 {
			continue
		}
		target, s := tb.direct(Work{proxyHeader: true}), &sample{}
		target.timeout = time.Minute
		if err := row.plan(&o).measure(t.Context(), target, s); err != nil {
			t.Fatal(err)
		}
		if reached := s.value(t, reachedFigure); reached < 90 || reached > 110 {
			t.Errorf("%.1f %% reached the mail server, want all", reached)
		}
	}
}
