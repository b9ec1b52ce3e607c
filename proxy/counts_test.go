package proxy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// theBackend is the key of the backend of most tests in Counts.
const theBackend = "imap " + backendAddr

// elsewhere are Counts of siblings that have logins at the backend.
func elsewhere(s SlotCounts) Counts { return Counts{Slots: map[string]SlotCounts{theBackend: s}} }

// expectCounts checks Counts, and that a change was reported since the last call.
func (proxy *testProxy) expectCounts(changed <-chan struct{}, connections int, slots SlotCounts) {
	proxy.t.Helper()
	receivedNow(proxy.t, changed)
	want := map[string]SlotCounts{}
	if slots != (SlotCounts{}) {
		want[theBackend] = slots
	}
	if c := proxy.Counts(); c.Connections != connections || !maps.Equal(c.Slots, want) {
		proxy.t.Errorf("got %+v, want %d connections and slots %v", c, connections, want)
	}
}

// Counts are those of this process. Each change is reported.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _, ln := newProxyWithSlots(t, 8)
		proxy.MaxConnections = 4
		makeKnown(proxy, knownAddr, "u", "right")
		changed := proxy.Changed()
		notReceived(t, changed)
		proxy.tryPassword(ln, "198.51.100.1:1", "wrong")
		proxy.expectCounts(changed, 1, SlotCounts{1, 1, 0})
		proxy.tryPassword(ln, knownAddr, "wrong")
		proxy.expectCounts(changed, 2, SlotCounts{2, 1, 0})
		exchange := proxy.beginExchange(ln, "198.51.101.1:1", beginsExchange[false])
		proxy.expectCounts(changed, 3, SlotCounts{3, 2, 1})
		proxy.CountElsewhere(Counts{0, 0, map[string]SlotCounts{theBackend: {3, 2, 1}}})
		notReceived(t, changed)
		<-time.After(2 * time.Second)
		proxy.expectCounts(changed, 3, SlotCounts{1, 1, 1})
		exchange.Close()
		proxy.expectCounts(changed, 2, SlotCounts{})
		idle := proxy.connect("198.51.102.1:1", ln)
		proxy.expectCounts(changed, 3, SlotCounts{})
		idle.Close()
		proxy.expectCounts(changed, 2, SlotCounts{})
		notReceived(t, changed)
	})
}

// Changes are not noted before anybody has asked for them.
func TestChangesOfCountsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _, ln := newProxyWithSlots(t, 8)
		proxy.tryPassword(ln, clientAddr, "right").expect("a1 OK …")
		if n := len(proxy.siblings.changed); n != 0 {
			t.Errorf("got %d changes noted, want none", n)
		}
		proxy.CountElsewhere(Counts{})
		proxy.connect(clientAddr, ln)
		receivedNow(t, proxy.Changed())
	})
}

// Connections of siblings count towards MaxConnections, and not towards MaxDescriptors.
func TestConnectionsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 5, &fakeBackend{})
		proxy.MaxDescriptors = 10
		proxy.CountElsewhere(Counts{Connections: 3})
		inside := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		inside.login()
		if s := proxy.Stats(); s.MaxConnections != 2 {
			t.Errorf("got stats %+v, want MaxConnections 2", s)
		}
		waiting := proxy.connectAndExpect(ln, "198.51.100.2:1", "* OK …")
		proxy.connectAndExpect(ln, "198.51.100.3:1", "* OK …").login()
		waiting.expectEOF() // evicted
		refuse := func(client string) {
			proxy.connectAndExpect(ln, client, "* BYE [UNAVAILABLE] …").expectEOF()
			synctest.Wait() // until its session does not count any more
		}
		refuse("198.51.100.4:1")
		proxy.CountElsewhere(Counts{Connections: 2})
		proxy.connectAndExpect(ln, "198.51.100.5:1", "* OK …").login()
		refuse("198.51.100.6:1")
		proxy.CountElsewhere(Counts{Connections: 20})
		refuse("198.51.100.7:1")
		inside.send("hello")
		inside.expect("echo hello")
		proxy.CountElsewhere(Counts{})
		proxy.connectAndExpect(ln, "198.51.100.8:1", "* OK …").login()
		proxy.connectAndExpect(ln, "198.51.100.9:1", "* OK …")
		if s := proxy.Stats(); s.MaxConnections != 5 || s.Open != 5 || s.Prelogin != 1 {
			t.Errorf("got stats %+v, want 5 of 5 open, 1 before login", s)
		}
	})
}

// Clients before login in a process that accepts no more are evicted for new ones elsewhere.
func TestEvictsPreloginForSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 3, &fakeBackend{})
		proxy.CountElsewhere(Counts{Connections: 3, Prelogin: 2})
		for range 2 {
			proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …").login()
		}
		proxy.connectAndExpect(ln, "198.51.100.2:1", "* BYE [UNAVAILABLE] …")
	})
	synctest.Test(t, func(t *testing.T) {
		proxy, ln := newProxyWithMaxConnections(t, 3, &fakeBackend{})
		inside := proxy.connectAndExpect(ln, "198.51.100.1:1", "* OK …")
		inside.login()
		first, second := proxy.connectAndExpect(ln, "198.51.100.2:1", "* OK …"), proxy.connectAndExpect(ln, "198.51.100.3:1", "* OK …")
		proxy.CountElsewhere(Counts{Connections: 2}) // it accepts itself: none is evicted
		proxy.StopAccepting()
		if c := proxy.Counts(); c.Connections != 3 || c.Prelogin != 2 {
			t.Errorf("got %+v, want 3, 2 of them before login", c)
		}
		proxy.CountElsewhere(Counts{Connections: 1})
		first.expectEOF()
		second.login()
		if c := proxy.Counts(); c.Connections != 2 || c.Prelogin != 0 {
			t.Errorf("got %+v, want 2, none before login", c)
		}
		proxy.CountElsewhere(Counts{Connections: 9})
		inside.send("hello")
		inside.expect("echo hello")
	})
}

// With all slots taken by siblings both the known and strangers wait. Those that siblings
// give back go to the known first, and to strangers as far as they may have them.
func TestSlotsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 8
		proxy, fake, ln := newProxyWithSlots(t, slots)
		fake.delay = 0
		makeKnown(proxy, knownAddr, "u", "right")
		proxy.CountElsewhere(elsewhere(SlotCounts{slots, 1, 0}))
		stranger := proxy.tryPassword(ln, "198.51.100.1:1", "wrong")
		known := proxy.tryPassword(ln, knownAddr, "right")
		stranger.expectNothing(time.Second)
		known.expectNothing(time.Second)
		if known, strangers := proxy.backends.Waiting(); known != 1 || strangers != 1 {
			t.Errorf("got %d known and %d strangers waiting, want 1 and 1", known, strangers)
		}
		proxy.CountElsewhere(Counts{Slots: map[string]SlotCounts{"pop3 " + backendAddr: {}, theBackend: {slots - 1, 1, 0}}})
		known.expectAtOnce("a1 OK …")
		stranger.expectNothing(time.Second)
		proxy.CountElsewhere(elsewhere(SlotCounts{slots - slots/reservedSlots, 1, 0}))
		stranger.expectNothing(time.Second) // the others are reserved for the known
		proxy.CountElsewhere(elsewhere(SlotCounts{slots - slots/reservedSlots - 1, 1, 0}))
		stranger.expectAtOnce("a1 NO …")
	})
}

// Of the slots for which strangers go first, siblings may have some already.
func TestStrangersElsewhere(t *testing.T) {
	for strangers, want := range map[int]string{0: "stranger", 1: "known"} {
		t.Run(fmt.Sprint(strangers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, fake, ln := newProxyWithSlots(t, strangerSlots)
				fake.delay = time.Hour
				makeKnown(proxy, knownAddr, "u", "right")
				proxy.CountElsewhere(elsewhere(SlotCounts{strangerSlots, strangers, 0}))
				proxy.tryPassword(ln, knownAddr, "wrong")
				proxy.tryPassword(ln, "198.51.100.1:1", "wrong")
				proxy.CountElsewhere(elsewhere(SlotCounts{strangerSlots - 1, strangers, 0}))
				left := map[[2]int]string{{1, 0}: "stranger", {0, 1}: "known"}
				known, others := proxy.backends.Waiting()
				if got := left[[2]int{known, others}]; got != want {
					t.Errorf("got %d known and %d strangers waiting, want the %s served", known, others, want)
				}
			})
		})
	}
}

// Exchanges of siblings count towards the slots of exchanges.
func TestExchangesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 2 * exchangeSlots
		proxy, _, ln := newProxyWithSlots(t, slots)
		proxy.CountElsewhere(elsewhere(SlotCounts{2, 2, 2}))
		hanging := proxy.beginExchange(ln, "198.51.100.1:1", beginsExchange[false])
		proxy.tryPassword(ln, "203.0.113.1:1", "right").expectAtOnce("a1 OK …")
		hanging.expectNothing(time.Second)
		proxy.CountElsewhere(elsewhere(SlotCounts{2, 2, 1}))
		hanging.expectAtOnce("+ …")
	})
}

// Attempts request, cancel and release slots at random while those of siblings change. No
// attempt waits while a slot is free, and none gets one that siblings have.
func TestSlotsElsewhereAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 20
		r := rand.New(rand.NewPCG(3, 4))
		proxy := newProxyWithTwoBackends(t, slots, nil, nil)
		b := proxy.backends
		stranger := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP})
		defer stranger.Settle(time.Now(), limiter.Void)
		theirs := map[string]SlotCounts{}
		requestAtRandom(t, r, b, func() *slotRequest {
			if r.IntN(3) == 0 {
				n := r.IntN(slots + 1)
				theirs["imap "+[]string{backendAddr, otherAddr}[r.IntN(2)]] = SlotCounts{Logins: n, Strangers: r.IntN(n + 1)}
				proxy.CountElsewhere(Counts{Slots: theirs})
			}
			a := &slotRequest{waiter: newWaiter(&session{server: &Server{}})}
			if r.IntN(3) > 0 {
				a.priority = stranger.Priority()
			}
			return a
		}, func(_, inside []*slotRequest) {
			known, strangers := b.Waiting()
			for _, s := range b.all {
				taken := s.logins + theirs["imap "+s.addr].Logins
				if known > 0 && taken < slots || strangers > 0 && taken < slots-slots/reservedSlots {
					t.Fatalf("got %d known and %d strangers waiting with %d slots taken, want none while a slot is free", known, strangers, taken)
				}
			}
			if b.all[0].logins+b.all[1].logins != len(inside) || max(b.all[0].logins, b.all[1].logins) > slots {
				t.Fatalf("got %d and %d logins, want %d", b.all[0].logins, b.all[1].logins, len(inside))
			}
		})
	})
}

// Backends of different protocols at one address are counted apart, and a backend that is
// not known here is ignored.
func TestCountsOfProtocols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		pop3 := NewBackends(dialogue.POP3{}, BackendConfig{Addrs: []string{backendAddr}, Logins: 1})
		proxy.Backends["pop3"] = pop3
		proxy.CountElsewhere(Counts{Slots: map[string]SlotCounts{"pop3 " + backendAddr: {1, 0, 0}, "imap 192.0.2.99:143": {10, 10, 10}}})
		mail, post := &slotRequest{waiter: newWaiter(&session{server: &Server{}})}, &slotRequest{waiter: newWaiter(&session{server: &Server{}})}
		for pool, r := range map[*Backends]*slotRequest{proxy.backends: mail, pop3: post} {
			if _, err := pool.requestSlot(r); err != nil {
				t.Fatal(err)
			}
		}
		if mail.assigned == nil || post.assigned != nil {
			t.Errorf("got backends %v and %v, want one for IMAP alone", mail.assigned, post.assigned)
		}
		if c := proxy.Counts(); !maps.Equal(c.Slots, map[string]SlotCounts{theBackend: {1, 0, 0}}) {
			t.Errorf("got %+v", c)
		}
		proxy.backends.release(mail)
		pop3.cancelRequest(post)
	})
}
