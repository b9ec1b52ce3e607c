package bench

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter/traffic"
)

// phase is the duration of the baseline, and of the attack.
const phase = 20 * time.Second

// runTraffic runs the traffic of seed 1 at p: baseline, then attack.
func runTraffic(t *testing.T, p *proxyHeaderServer, a traffic.Attack) *trafficRun {
	t.Helper()
	start := time.Now()
	r, err := newTrafficRun(p.target(), start, start.Add(phase), start.Add(phase), start.Add(2*phase), (a.Peak()-1)*traffic.Normal)
	if err != nil {
		t.Fatal(err)
	}
	r.run(t.Context(), traffic.New(1, traffic.Normal, start, a))
	return r
}

// The target gets the traffic of the generator, login for login.
func TestSendsGeneratedTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := &proxyHeaderServer{answer: checkPassword}, time.Now()
		attack := traffic.Steady(traffic.Wide, phase, 3)
		r := runTraffic(t, p, attack)
		byTime := func(a, b seenLogin) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.account, b.account)) }
		slices.SortFunc(p.logins, byTime)
		var want []seenLogin
		for c := traffic.New(1, traffic.Normal, start, attack); ; {
			l := c.Next()
			if l.At.After(r.until) {
				break
			}
			want = append(want, seenLogin{at: l.At, addr: l.Addr, account: l.Account, secret: l.Secret})
		}
		slices.SortFunc(want, byTime)
		if !slices.Equal(p.logins, want) {
			t.Errorf("got %d logins, want %d, or they differ", len(p.logins), len(want))
		}
		if n := r.attempts(); n != len(want) {
			t.Errorf("got %d logins counted, want %d", n, len(want))
		}
	})
}

func TestOnlyAttackersAndStalePhonesAreDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runTraffic(t, &proxyHeaderServer{answer: checkPassword}, traffic.Steady(traffic.Few, phase, 3))
		for k, share := range map[traffic.Class]float64{
			traffic.Phone: 100, traffic.Traveller: 100, traffic.Newcomer: 100, traffic.Stale: 0, traffic.Attacker: 0,
		} {
			for name, c := range map[string]resultsByClass{"baseline": r.baseline, "attack": r.attack} {
				all := c[k].all()
				if name == "baseline" && k == traffic.Attacker {
					if all != 0 {
						t.Errorf("got %d attackers in the baseline, want none", all)
					}
				} else if all == 0 || c[k].acceptedShare() != share {
					t.Errorf("%s: %.1f %% of %d logins of class %v accepted", name, c[k].acceptedShare(), all, k)
				}
			}
		}
	})
}

// The delay of the target is the latency.
func TestDelayIsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runTraffic(t, &proxyHeaderServer{answer: checkPassword, delay: 2 * time.Second}, traffic.Steady(traffic.Few, phase, 2))
		if ms := r.attack[traffic.Phone].millis(50); ms < 1990 || ms > 2010 {
			t.Errorf("median: got %v ms, want 2000", ms)
		}
	})
}

// Clients without an answer give up and are not accepted. The run ends.
func TestClientsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := runTraffic(t, &proxyHeaderServer{answer: checkPassword, delay: time.Hour}, traffic.Steady(traffic.Few, phase, 3))
		if took := time.Since(start); took > r.until.Sub(start)+userTimeout+time.Second {
			t.Errorf("it took %v", took)
		}
		known := r.attack[traffic.Phone]
		if known.acceptedShare() != 0 || known.all() == 0 || known.millis(50) < 9900 {
			t.Errorf("%.1f %% of %d accepted after %v ms", known.acceptedShare(), known.all(), known.millis(50))
		}
	})
	r, err := newTrafficRun(new(proxyHeaderServer).target(), time.Time{}, time.Time{}, time.Time{}, time.Time{}, 6000)
	if err != nil {
		t.Fatal(err)
	}
	if n := 6000 * r.attackers.Timeout.Seconds(); n > maxWaitingAttackers {
		t.Errorf("got up to %v attackers that wait, want at most %d", n, maxWaitingAttackers)
	}
}

// Logins of the onset take place, but do not count as under attack.
func TestOnsetDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Defaults()
		p := o.Attack.plan(traffic.Wide, 4.27)
		if peak := p.attack.Peak(); peak != 20 {
			t.Errorf("wave: got %v times normal, want 20", peak)
		}
		server, start := &proxyHeaderServer{answer: checkPassword}, time.Now()
		from := start.Add(p.baseline)
		r, err := newTrafficRun(server.target(), start, from, from.Add(p.onset), from.Add(p.onset+10*time.Second), 0)
		if err != nil {
			t.Fatal(err)
		}
		r.run(t.Context(), traffic.New(1, p.normal, start, p.attack))
		if n := r.onset[traffic.Attacker].all(); n < 3*1000 || n > 3*1300 {
			t.Errorf("got %d attackers in a wave of 3 s, want 3000 to 3900", n)
		}
		if n := r.attack[traffic.Attacker].all(); n < 10*170 || n > 10*220 {
			t.Errorf("got %d attackers in the 10 s that count, want about 10 × 3.27 × 60", n)
		}
		if r.baseline[traffic.Attacker].all() != 0 || r.attempts() != len(server.logins) {
			t.Errorf("%d attackers in the baseline; %d of %d logins counted", r.baseline[traffic.Attacker].all(), r.attempts(), len(server.logins))
		}
	})
}

// Newcomers that are refused try again, twice.
func TestNewcomersTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &proxyHeaderServer{answer: refuseAll}
		runTraffic(t, p, traffic.Steady(traffic.Few, phase, 2))
		tries := map[string]int{}
		for _, l := range p.logins {
			if strings.HasPrefix(l.account, "newcomer") {
				tries[l.account]++
			}
		}
		if tries["newcomer0@example.org"] != 3 {
			t.Errorf("first newcomer: got %d tries, want 3", tries["newcomer0@example.org"])
		}
		for account, n := range tries {
			if n > 3 {
				t.Errorf("%s: got %d tries, want at most 3", account, n)
			}
		}
	})
}

func TestSourceAddresses(t *testing.T) {
	home, hopper := netip.MustParseAddr("64.1.2.3"), netip.MustParseAddr("2001:db8:8001:2::1")
	for _, tc := range []struct {
		target     target
		addr, want string
	}{
		{target{proxyHeader: true}, home.String(), home.String()},
		{target{proxyHeader: true, loopback: true}, hopper.String(), hopper.String()},
		{target{loopback: true}, home.String(), "127.1.2.3"},
		{target{loopback: true}, hopper.String(), ""},
		{target{}, home.String(), ""},
	} {
		got, err := tc.target.sourceFor(netip.MustParseAddr(tc.addr))
		if tc.want == "" {
			if !errors.Is(err, errNotOffered) {
				t.Errorf("%+v: %v from %s, %v", tc.target, got, tc.addr, err)
			}
		} else if err != nil || got.String() != tc.want {
			t.Errorf("%+v: %v from %s, %v", tc.target, got, tc.addr, err)
		}
	}
}
