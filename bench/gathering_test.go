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

// phase is how long there is peace, and then the attack.
const phase = 20 * time.Second

// gather plays the crowd of seed 1 at p: peace and then the attack.
func gather(t *testing.T, p *porter, a traffic.Attack) *gathering {
	t.Helper()
	begun := time.Now()
	g, err := newGathering(p.target(), begun, begun.Add(phase), begun.Add(phase), begun.Add(2*phase), (a.Peak()-1)*traffic.Normal)
	if err != nil {
		t.Fatal(err)
	}
	g.play(t.Context(), traffic.New(1, traffic.Normal, begun, a))
	return g
}

// What comes is the crowd, login for login: it is for the tests of crowd to say what that is like.
func TestTheCrowdComesAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begun := &porter{answer: right}, time.Now()
		attack := traffic.Steady(traffic.Wide, phase, 3)
		g := gather(t, p, attack)
		byTime := func(a, b visit) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.account, b.account)) }
		slices.SortFunc(p.visits, byTime)
		var want []visit
		for c := traffic.New(1, traffic.Normal, begun, attack); ; {
			l := c.Next()
			if l.At.After(g.until) {
				break
			}
			want = append(want, visit{l.At, l.Addr, l.Account, l.Secret})
		}
		slices.SortFunc(want, byTime)
		if !slices.Equal(p.visits, want) {
			t.Errorf("%d logins came of %d, or others, or at other times", len(p.visits), len(want))
		}
		if n := g.attempts(); n != len(want) {
			t.Errorf("%d of %d logins are counted", n, len(want))
		}
	})
}

func TestOnlyAttackersAndStalePhonesAreDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gather(t, &porter{answer: right}, traffic.Steady(traffic.Few, phase, 3))
		for k, share := range map[traffic.Class]float64{
			traffic.Phone: 100, traffic.Traveller: 100, traffic.Newcomer: 100, traffic.Stale: 0, traffic.Attacker: 0,
		} {
			for name, c := range map[string]census{"peace": g.peace, "siege": g.siege} {
				all := c[k].All()
				if name == "peace" && k == traffic.Attacker {
					if all != 0 {
						t.Errorf("%d attackers in peace", all)
					}
				} else if all == 0 || c[k].Share() != share {
					t.Errorf("%s: %.1f %% of %d %vs accepted", name, c[k].Share(), all, k)
				}
			}
		}
	})
}

// What is slow is told, and counted from the time a client was due.
func TestWaitingIsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gather(t, &porter{answer: right, takes: 2 * time.Second}, traffic.Steady(traffic.Few, phase, 2))
		if ms := g.siege[traffic.Phone].Millis(50); ms < 1990 || ms > 2010 {
			t.Errorf("median %v ms, the target takes 2 s", ms)
		}
	})
}

// Whoever gets no answer leaves and is not accepted; the play ends all the same.
func TestNobodyWaitsForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		g := gather(t, &porter{answer: right, takes: time.Hour}, traffic.Steady(traffic.Few, phase, 3))
		if took := time.Since(begun); took > g.until.Sub(begun)+peoplePatience+time.Second {
			t.Errorf("it took %v", took)
		}
		known := g.siege[traffic.Phone]
		if known.Share() != 0 || known.All() == 0 || known.Millis(50) < 9900 {
			t.Errorf("%.1f %% of %d accepted after %v ms", known.Share(), known.All(), known.Millis(50))
		}
	})
	g, err := newGathering(new(porter).target(), time.Time{}, time.Time{}, time.Time{}, time.Time{}, 6000)
	if err != nil {
		t.Fatal(err)
	}
	if n := 6000 * g.attackers.Patience.Seconds(); n > waitingMost {
		t.Errorf("up to %v attackers wait at once", n)
	}
}

// While the line forms, nobody is counted among those under attack, but all are played.
func TestOnsetIsPlayedAndNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Defaults()
		v := o.siege(traffic.Wide, 4.27)
		if peak := v.attack.Peak(); peak != 20 {
			t.Errorf("the wave is %v times normal, 1200 a second are 20", peak)
		}
		p, begun := &porter{answer: right}, time.Now()
		from := begun.Add(v.peace)
		g, err := newGathering(p.target(), begun, from, from.Add(v.onset), from.Add(v.onset+10*time.Second), 0)
		if err != nil {
			t.Fatal(err)
		}
		g.play(t.Context(), traffic.New(1, v.normal, begun, v.attack))
		if n := g.onset[traffic.Attacker].All(); n < 3*1000 || n > 3*1300 {
			t.Errorf("%d attackers in a wave of 3 seconds", n)
		}
		if n := g.siege[traffic.Attacker].All(); n < 10*170 || n > 10*220 {
			t.Errorf("%d attackers in the 10 seconds that count, at 3.27 times 60", n)
		}
		if g.peace[traffic.Attacker].All() != 0 || g.attempts() != len(p.visits) {
			t.Errorf("%d attackers in peace; %d of %d logins counted in all", g.peace[traffic.Attacker].All(), g.attempts(), len(p.visits))
		}
	})
}

// Newcomers who are told to come again do so, twice.
func TestNewcomersComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &porter{answer: func(visit) string { return "a NO [UNAVAILABLE] later\r\n" }}
		gather(t, p, traffic.Steady(traffic.Few, phase, 2))
		tries := map[string]int{}
		for _, v := range p.visits {
			if strings.HasPrefix(v.account, "newcomer") {
				tries[v.account]++
			}
		}
		if tries["newcomer0@example.org"] != 3 {
			t.Errorf("the first newcomer tried %d times", tries["newcomer0@example.org"])
		}
		for account, n := range tries {
			if n > 3 {
				t.Errorf("%s tried %d times", account, n)
			}
		}
	})
}

func TestFrom(t *testing.T) {
	home, hopper := netip.MustParseAddr("64.1.2.3"), netip.MustParseAddr("2001:db8:8001:2::1")
	for _, tc := range []struct {
		target     Target
		addr, want string
	}{
		{Target{announce: true}, home.String(), home.String()},
		{Target{announce: true, loopback: true}, hopper.String(), hopper.String()},
		{Target{loopback: true}, home.String(), "127.1.2.3"},
		{Target{loopback: true}, hopper.String(), ""},
		{Target{}, home.String(), ""},
	} {
		got, err := tc.target.From(netip.MustParseAddr(tc.addr))
		if tc.want == "" {
			if !errors.Is(err, ErrNotOffered) {
				t.Errorf("%+v: %v from %s, %v", tc.target, got, tc.addr, err)
			}
		} else if err != nil || got.String() != tc.want {
			t.Errorf("%+v: %v from %s, %v", tc.target, got, tc.addr, err)
		}
	}
}
