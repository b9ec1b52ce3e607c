package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// beginExchange returns a client that has begun an exchange, once that waits or has got
// its challenge.
func (proxy *testProxy) beginExchange(ln *memListener, addr, command string) *peer {
	proxy.t.Helper()
	client := proxy.connect(addr, ln)
	client.expect("* OK …")
	client.send("a1 " + command)
	synctest.Wait()
	return client
}

// expectAtOnce reads a line that must have come already.
func (p *peer) expectAtOnce(line string) {
	p.t.Helper()
	start := time.Now()
	p.expect(line)
	if took := time.Since(start); took != 0 {
		p.t.Errorf("%s: %q took %v, want 0", p.name, line, took)
	}
}

// Few exchanges of one network have a login slot at a time; others wait for one of them to
// end. Neither logins with a password nor those that are known from their source do.
func TestFewExchangesOfOneNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _, ln := newProxyWithSlots(t, 40)
		makeKnown(proxy, "198.51.100.99:1", "u", "right")
		var inside []*peer
		for i := range networkExchanges {
			client := proxy.beginExchange(ln, fmt.Sprintf("198.51.100.%d:1", i), beginsExchange[false])
			client.expectAtOnce("+ …")
			inside = append(inside, client)
		}
		next := proxy.beginExchange(ln, "198.51.100.50:1", beginsExchange[false])
		last := proxy.beginExchange(ln, "198.51.100.51:1", "AUTHENTICATE SCRAM-SHA-256 "+b64("n,,n=other,r=nonce"))
		next.expectNothing(time.Second)
		if known, strangers := proxy.backends.Waiting(); known != 0 || strangers != 2 {
			t.Errorf("got %d known and %d strangers waiting, want 0 and 2", known, strangers)
		}
		proxy.beginExchange(ln, "198.51.101.1:1", beginsExchange[false]).expectAtOnce("+ …")
		proxy.beginExchange(ln, "198.51.100.99:1", beginsExchange[true]).expectAtOnce("+ …")
		proxy.tryPassword(ln, "198.51.100.50:2", "right").expectAtOnce("a1 OK …")

		inside[0].Close()
		next.expectAtOnce("+ …")
		last.expectNothing(time.Second)
		inside[1].send(b64("u right"))
		inside[1].expectAtOnce("a1 OK …")
		last.expectAtOnce("+ …")
		if a := proxy.settledAttempts(); !a[1].Abandoned || a[1].Outcome != limiter.Void {
			t.Errorf("got attempts %+v, want Abandoned", a)
		}
	})
}

// Exchanges of all networks together have a part of the login slots.
func TestExchangesHaveFewSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 2 * exchangeSlots
		proxy, _, ln := newProxyWithSlots(t, slots)
		var hanging []*peer
		for i := range slots {
			if i == slots/exchangeSlots {
				<-time.After(time.Second) // so that no slot becomes free at the moment in which the others give up
			}
			hanging = append(hanging, proxy.beginExchange(ln, fmt.Sprintf("198.51.%d.1:1", i), beginsExchange[false]))
		}
		if s := proxy.backendStats(backendAddr); s.Logins != slots/exchangeSlots {
			t.Errorf("got %d exchanges with a slot, want %d", s.Logins, slots/exchangeSlots)
		}
		hanging[0].expectAtOnce("+ …")
		hanging[1].expectAtOnce("+ …")
		for i := range slots {
			proxy.tryPassword(ln, fmt.Sprintf("203.0.%d.1:1", i), "right").expectAtOnce("a1 OK …")
		}
		hanging[2].expectNothing(time.Second)
		hanging[0].send(b64("u right"))
		hanging[2].expectAtOnce("+ …")
		hanging[slots-1].expect("a1 " + imapBusy) // 10 s are up
	})
}

// Where there is a single slot, exchanges and logins with a password get it in turn.
func TestExchangesAndPasswordsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, fake, ln := newProxyWithSlots(t, 1)
		hanging := proxy.beginExchange(ln, "198.51.100.1:1", beginsExchange[false])
		var exchanges, passwords []*peer
		for i := range 3 {
			exchanges = append(exchanges, proxy.beginExchange(ln, fmt.Sprintf("198.51.%d.1:1", i), beginsExchange[false]))
			passwords = append(passwords, proxy.tryPassword(ln, fmt.Sprintf("203.0.%d.1:1", i), "wrong"))
		}
		start := time.Now()
		for i := range 3 {
			hanging.Close()
			passwords[i].expect("a1 NO …")
			exchanges[i].expectAtOnce("+ …")
			hanging = exchanges[i]
		}
		if took := time.Since(start); took != 3*time.Second || len(fake.checked()) != 3 {
			t.Errorf("took %v with %d passwords checked, want 3s and 3", took, len(fake.checked()))
		}
	})
}

// A client that leaves while it waits for its turn takes nothing from those behind it,
// whether it waits for its network or for a slot.
func TestExchangeLeavesWhileItWaits(t *testing.T) {
	for name, c := range map[string]struct {
		slots int
		addr  func(i int) string
	}{
		"for its network": {8 * exchangeSlots, func(int) string { return "198.51.100.1:1" }},
		"for a slot":      {networkExchanges * exchangeSlots, func(i int) string { return fmt.Sprintf("198.51.%d.1:1", i) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, _, ln := newProxyWithSlots(t, c.slots)
				var all []*peer
				for i := range networkExchanges + 3 {
					all = append(all, proxy.beginExchange(ln, c.addr(i), beginsExchange[false]))
				}
				all[networkExchanges].Close()
				synctest.Wait()
				if a := proxy.settledAttempts(); len(a) != 1 || !a[0].Gone || a[0].Abandoned || a[0].Backend != "" {
					t.Errorf("got attempts %+v, want one that is gone", a)
				}
				for i := range 2 {
					all[i].Close()
					all[networkExchanges+1+i].expectAtOnce("+ …")
				}
			})
		})
	}
}

// Exchanges and other logins request, cancel and release slots at random. No limit is
// exceeded, nobody waits while they could have a slot, and nothing is left in the end.
func TestExchangesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 20
		r := rand.New(rand.NewPCG(3, 4))
		proxy := newProxyWithTwoBackends(t, slots, nil, nil)
		b := proxy.backends
		stranger := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP})
		defer stranger.Settle(time.Now(), limiter.Void)
		requestAtRandom(t, r, b, func() *slotRequest {
			a := &slotRequest{waiter: newWaiter(&session{server: &Server{}}), priority: stranger.Priority()}
			if r.IntN(3) > 0 {
				a.exchange = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(r.IntN(6)), 0}), 24)
			}
			return a
		}, func(waiting, inside []*slotRequest) { checkExchanges(t, b, waiting, inside) })
		if known, strangers := b.Waiting(); known+strangers+len(b.networks)+b.all[0].exchanges+b.all[1].exchanges != 0 {
			t.Errorf("got %d waiting and %d networks, want none", known+strangers, len(b.networks))
		}
	})
}

// checkExchanges checks the limits of two backends with those that wait for a slot and
// those that have one.
func checkExchanges(t *testing.T, b *Backends, waiting, inside []*slotRequest) {
	t.Helper()
	few, most := b.slots/exchangeSlots, b.slots-b.slots/reservedSlots
	exchanges, networks := map[*backend]int{}, map[netip.Prefix]int{}
	for _, a := range inside {
		if a.exchange.IsValid() {
			exchanges[a.assigned]++
			networks[a.exchange]++
		}
	}
	full := true
	for _, s := range b.all {
		if s.logins > most || s.exchanges > few || s.exchanges != exchanges[s] {
			t.Fatalf("got %d logins and %d exchanges, want at most %d and %d, and %d counted", s.logins, s.exchanges, most, few, exchanges[s])
		}
		full = full && (s.logins == most || s.exchanges == few)
	}
	for network, n := range networks {
		if n > networkExchanges {
			t.Fatalf("got %d exchanges of %v, want at most %d", n, network, networkExchanges)
		}
	}
	for _, a := range waiting {
		if a.exchange.IsValid() && !full && networks[a.exchange] < networkExchanges {
			t.Fatalf("an exchange of %v waits while a slot is free", a.exchange)
		}
		if !a.exchange.IsValid() && b.all[0].logins+b.all[1].logins < 2*most {
			t.Fatal("a login with a password waits while a slot is free")
		}
	}
	if _, strangers := b.Waiting(); strangers != len(waiting) {
		t.Fatalf("got %d waiting, want %d", strangers, len(waiting))
	}
}

// Which logins need an answer of the client depends on the mechanism.
func TestWhichLoginsWaitForTheClient(t *testing.T) {
	for mechanism, want := range map[string]bool{
		"PLAIN": false, "XOAUTH2": false, "OAUTHBEARER": false, "EXTERNAL": false, "CRAM-MD5": true, "SCRAM-SHA-1": true, "SCRAM-SHA-256": true,
	} {
		r := dialogue.Request{Mechanism: mechanism, HasResponse: mechanism != "CRAM-MD5"}
		if r.WaitsForClient() != want {
			t.Errorf("%s: got %t, want %t", mechanism, !want, want)
		}
	}
}
