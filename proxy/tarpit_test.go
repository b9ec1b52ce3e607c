package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Attempts enter and leave at random. The counts are compared with those of a list.
func TestTarpitCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	limits := TarpitLimits{Source: 2, Network: 4, Total: 9}
	pit := tarpit{limits: limits}
	var inside []netip.Addr
	among := func(block func(netip.Addr) netip.Prefix, addr netip.Addr) (n int) {
		for _, g := range inside {
			if block(g) == block(addr) {
				n++
			}
		}
		return n
	}
	refused := map[bool]int{}
	for range 20_000 {
		if len(inside) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(inside))
			pit.leave(inside[i], false)
			inside = append(inside[:i], inside[i+1:]...)
		}
		addr := netip.MustParseAddr(fmt.Sprintf([]string{"203.0.%d.%d", "2001:db8:%d:%d::1"}[r.IntN(2)], r.IntN(3), r.IntN(3)))
		ok := pit.enter(addr, false, 1)
		step := len(inside) < limits.Total && among(limiter.Source, addr) < limits.Source && among(limiter.Network, addr) < limits.Network
		if refused[!ok]++; ok != step {
			t.Fatalf("with %d attempts: got a place %t, want %t", len(inside), ok, step)
		}
		if ok {
			inside = append(inside, addr)
		}
		if pit.size() != len(inside) {
			t.Fatalf("got size %d, want %d", pit.size(), len(inside))
		}
	}
	if refused[true] < 1000 || refused[false] < 1000 {
		t.Errorf("got %v, want 1000 refused and 1000 accepted at least", refused)
	}
	for _, g := range inside {
		pit.leave(g, false)
	}
	if len(pit.waiting) != 0 || pit.size() != 0 {
		t.Errorf("empty: got counts %v, want none", pit.waiting)
	}
}

// Without limits there is always a place.
func TestTarpitWithoutLimits(t *testing.T) {
	var pit tarpit
	for range 10_000 {
		if !pit.enter(clientIP, false, 1) {
			t.Fatal("got no place")
		}
	}
}

func TestTarpitConcurrently(t *testing.T) {
	pit := tarpit{limits: TarpitLimits{Total: 5}}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if pit.enter(clientIP, false, 1) {
					pit.leave(clientIP, false)
				}
				if n := pit.size(); n > 5 {
					t.Errorf("got %d attempts, want at most 5", n)
				}
			}
		})
	}
	all.Wait()
	if pit.size() != 0 || len(pit.waiting) != 0 {
		t.Errorf("got %d attempts, want none", pit.size())
	}
}

// Tokens of the global bucket go to the known first, and then to strangers of one
// network after the other. An attempt whose client closes gives its place up.
func TestGlobalTokenOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		proxy.setPolicy(oneLoginPerSecond())
		makeKnown(proxy, knownAddr, "u", "right")
		takeGlobalToken(proxy)
		ln := proxy.listen(imapListener)
		start := time.Now()
		var closing *peer
		for _, c := range [][2]string{
			{"198.51.100.1:1", "a1"}, {"198.51.100.2:1", "a2"}, {"198.51.100.3:1", "a3"}, {"192.0.2.1:1", "b1"}, {"192.0.2.1:2", "closed"}, {knownAddr, "right"},
		} {
			client := proxy.tryPassword(ln, c[0], c[1])
			if c[1] == "closed" {
				closing = client
			}
		}
		closing.Close()
		synctest.Wait()
		if s, l := proxy.Stats(), proxy.Limiter.Stats(time.Now()); s.Tarpit != 5 || l.WaitKnown != 1 || l.WaitStrangers != 4 {
			t.Errorf("got stats %+v, %+v, want 5 in the tarpit, 1 known and 4 strangers", s, l)
		}
		var order []string
		for i := range 5 {
			<-time.After(time.Until(start.Add(time.Duration(i+1) * time.Second)))
			synctest.Wait()
			order = append(order, fake.checked()[i:]...)
		}
		if want := []string{"right", "a1", "b1", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("got  %q\nwant %q", order, want)
		}
	})
}

// An attempt that gets no token in time is refused when its time is up.
func TestGlobalTokenTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		p := oneLoginPerFiveSeconds()
		p.KnownTTL = time.Hour
		proxy.setPolicy(p)
		takeGlobalToken(proxy)
		ln := proxy.listen(imapListener)
		start := time.Now()
		stranger := proxy.tryPassword(ln, "198.51.100.1:1", "wrong")
		for i := range 2 { // come later and are served first
			account := fmt.Sprint("u", i)
			makeKnown(proxy, knownAddr, account, "right")
			client := proxy.connect(fmt.Sprintf("203.0.113.7:%d", 2+i), ln)
			client.send("a1 LOGIN " + account + " right")
			synctest.Wait()
		}
		stranger.expect("a1 " + imapBusy)
		if took := time.Since(start); took != proxy.TarpitMax {
			t.Errorf("took %v, want %v", took, proxy.TarpitMax)
		}
		stranger.expectEOF()
		synctest.Wait()
		for _, a := range proxy.settledAttempts() {
			if want := (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}); a.Client == mustAddrPort("198.51.100.1:1") && (a.Verdict != want || a.Outcome != limiter.Void || a.Gone || a.Waited != proxy.TarpitMax) {
				t.Errorf("got attempt %+v, want Verdict %v, Outcome %v", a, want, limiter.Void)
			}
		}
	})
}

// 5,000 strangers from 500 addresses wait at once. The tarpit is bounded, every attempt
// is answered in time, and the known are served at once meanwhile.
func TestManyAttemptsInTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.setPolicy(limiter.Policy{Global: limiter.Rate{Tokens: 100, Per: time.Second}, KnownShare: 60, KnownTTL: time.Hour})
		proxy.Tarpit = TarpitLimits{Source: 10, Network: 100, Total: 4000}
		for range 100 {
			takeGlobalToken(proxy)
		}
		ln := proxy.listen(imapListener)
		start := time.Now()
		var waiting []*peer
		for i := range 5000 {
			client := proxy.connect(fmt.Sprintf("198.51.%d.%d:%d", i%50, i/50%10, i), ln)
			client.send("a1 LOGIN u wrong")
			waiting = append(waiting, client)
		}
		synctest.Wait()
		if s := proxy.Stats(); s.Tarpit > 4000 || s.Tarpit < 900 {
			t.Errorf("got %d attempts in the tarpit, want 900 to 4000", s.Tarpit)
		}
		for i := range 20 {
			account := fmt.Sprint("known", i)
			makeKnown(proxy, knownAddr, account, "right")
			client := proxy.connect(knownAddr, ln)
			client.expect("* OK …")
			asked := time.Now()
			client.send("a1 LOGIN " + account + " right")
			client.expect("a1 OK …")
			if took := time.Since(asked); took > 10*time.Millisecond {
				t.Errorf("known: took %v, want at most 10ms", took)
			}
			<-time.After(200 * time.Millisecond)
		}
		outcomes := map[string]int{}
		for _, client := range waiting {
			client.expect("* OK …")
			line, _ := client.readLine()
			outcomes[line[:len("a1 NO [UN")]]++
			client.Close()
		}
		if took := time.Since(start); took > proxy.TarpitMax+time.Second || outcomes["a1 NO [AU"] < 900 || outcomes["a1 NO [AU"]+outcomes["a1 NO [UN"] != 5000 {
			t.Errorf("took %v with answers %v", took, outcomes)
		}
	})
}
