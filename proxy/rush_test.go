package proxy

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// queue queues a stranger that gives its slot back at once.
func (h *handshakeQueue) queue() {
	slot := &handshakeSlot{rank: rankStranger}
	slot.granted = func() { h.release(slot) }
	h.acquire(slot)
}

// When as many strangers wait as may, the next are refused before their handshake, with
// an answer and without a reset. The known are not refused.
func TestFullHandshakeQueueRefusesStrangers(t *testing.T) {
	for _, d := range allDoors {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, (&judge{}).play(d.Protocol.Name()))
				ln := g.befriend(d, "198.51.100.1:1")
				give := g.hold()
				h := &g.handshakes
				for range maxStrangers*h.slots() - 1 {
					h.queue()
				}
				if h.full() {
					t.Errorf("full with %d strangers", maxStrangers*h.slots()-1)
				}
				h.queue()
				stranger := g.from(clientAddr, ln)
				if d.TLS == Upgrade {
					g.greeted(stranger, d)
					stranger.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
					stranger.hear(map[string]string{"imap": "a1 NO [UNAVAILABLE] …", "pop3": "-ERR [SYS/TEMP] …"}[d.Protocol.Name()])
					stranger.seeEnd()
				} else {
					stranger.seeAlert()
				}
				if r := g.told(); r.Verdict != overloaded || r.End != EndRefused || r.Handshake != HandshakeNone {
					t.Errorf("record %+v", r)
				}
				neighbour := g.from("198.51.100.1:2", ln)
				if d.TLS == Upgrade {
					g.greeted(neighbour, d)
					neighbour.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
					neighbour.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
				}
				time.AfterFunc(time.Millisecond, give)
				neighbour.startTLS(nil)
				g.greeted(g.from(clientAddr, ln), d)
			})
		})
	}
}

// A few handshakes that take long, as on a busy machine, are all made, whatever the order
// of their clients.
func TestSlowHandshakesAllSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(slowDoor(&now, &most))
		clients := int(maxStrangerWait/computes-1) * g.handshakes.slots()
		results := make(chan error)
		for range clients {
			p := g.from(clientAddr, ln)
			go func() {
				_, err := p.tryTLS(nil)
				results <- err
			}()
		}
		for range clients {
			if err := <-results; err != nil {
				t.Errorf("handshake: %v", err)
			}
		}
	})
}

// A processor is left to the sessions that are logged in, however many there are
// by now.
func TestSlotsLeaveAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var h handshakeQueue
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		runtime.GOMAXPROCS(processors)
		turns := make([]handshakeSlot, 10)
		for i := range turns {
			h.acquire(&turns[i])
		}
		if h.taken != want {
			t.Errorf("%d processors: %d compute at once", processors, h.taken)
		}
		for i := range slices.Backward(turns) {
			if !h.cancel(&turns[i]) {
				h.release(&turns[i])
			}
		}
		if h.inUse() != 0 {
			t.Fatalf("%d processors: %d are left", processors, h.inUse())
		}
	}
}

// Handshakes that are computed in part come first, then the known, then strangers, each
// the longest-waiting first. Under overload, when that one has waited for overloadWait,
// the newest of the known and of strangers come first.
func TestOrderOfHandshakes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for waited, want := range map[time.Duration][]string{
		overloadWait - 1: {"started 1", "started 2", "known 1", "known 2", "stranger 1", "stranger 2"},
		overloadWait:     {"started 1", "started 2", "known 2", "known 1", "stranger 2", "stranger 1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var h handshakeQueue
			var first handshakeSlot
			h.acquire(&first)
			var served []string
			for _, w := range []struct {
				name string
				rank rank
			}{
				{"stranger 1", rankStranger}, {"known 1", rankKnown}, {"stranger 2", rankStranger}, {"started 1", rankStarted},
				{"started 2", rankStarted}, {"known 2", rankKnown}, {"cancelled", rankKnown},
			} {
				slot := &handshakeSlot{rank: w.rank}
				slot.granted = func() {
					served = append(served, w.name)
					h.release(slot)
				}
				if h.acquire(slot) {
					t.Fatal("got a slot that is taken")
				}
				if w.name == "cancelled" && !h.cancel(slot) {
					t.Error("cancel: got false, want true")
				}
			}
			<-time.After(waited)
			h.release(&first)
			if !slices.Equal(served, want) {
				t.Errorf("after %v served %q, want %q", waited, served, want)
			}
			if h.inUse() != 0 {
				t.Errorf("%d slots are in use", h.inUse())
			}
		})
	}
}

// befriend serves d, and has somebody log in there whose source is then known.
func (g *gate) befriend(d Listener, addr string) *memListener {
	g.t.Helper()
	p := strict()
	p.KnownTTL = time.Hour
	g.limit(p)
	ln := g.open(d)
	friend := g.from(addr, ln)
	g.greeted(friend, d)
	tryLogin(friend, d, "right")
	friend.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
	return ln
}

// told returns the first record that there is by now.
func (g *gate) told() Record {
	g.t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.records) == 0 {
		g.t.Fatal("no connection has ended")
	}
	return g.records[0]
}

// A stranger for whom no slot is free in time is turned away without a handshake.
// The known wait for as long as a handshake may take.
func TestWaitForASlot(t *testing.T) {
	for _, served := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
			ln := g.befriend(imapsDoor, "198.51.100.1:1")
			give := g.hold()
			begun := time.Now()
			tries := func(addr string) (ended chan time.Duration) {
				p, ended := g.from(addr, ln), make(chan time.Duration, 1)
				p.patience = time.Minute
				go func() {
					if _, err := p.tryTLS(nil); err != nil {
						ended <- time.Since(begun)
					} else {
						ended <- 0
					}
				}()
				return ended
			}
			stranger, friend := tries(clientAddr), tries("198.51.100.1:2")
			if took := <-stranger; took != maxStrangerWait {
				t.Errorf("a stranger was turned away after %v", took)
			}
			if r := g.told(); r.Verdict != overloaded || r.End != EndRefused || r.Handshake != HandshakeNone {
				t.Errorf("record %+v", r)
			}
			if served {
				give()
				if took := <-friend; took != 0 {
					t.Errorf("a friend was turned away after %v", took)
				}
				return
			}
			if took := <-friend; took != g.Timeouts.Handshake {
				t.Errorf("a friend was turned away after %v", took)
			}
			give()
		})
	}
}

// Whoever waits for a slot leaves at once when the session must end.
func TestStoppedBeforeHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(imapsDoor)
		defer g.hold()()
		p := g.from(clientAddr, ln)
		go func() { _, _ = p.tryTLS(nil) }()
		synctest.Wait()
		if n := g.handshakes.inUse(); n != g.handshakes.slots()+1 {
			t.Fatalf("%d wait or hold a slot", n)
		}
		begun := time.Now()
		if err := g.Shutdown(t.Context()); err != nil || time.Since(begun) != 0 {
			t.Errorf("it took %v: %v", time.Since(begun), err)
		}
		if r := g.record(); r.End != EndShutdown || r.Verdict == overloaded {
			t.Errorf("record %+v", r)
		}
	})
}
