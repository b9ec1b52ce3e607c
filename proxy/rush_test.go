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

// queue puts a stranger in line who gives his slot back at once.
func (h *handshakes) queue() {
	one := &handshakeSlot{rank: strangers}
	one.granted = func() { h.release(one) }
	h.acquire(one)
}

// When handshakes wait for too long, newcomers are turned away before theirs, but
// nobody from a source that is known. When the rush is over,
// everybody is welcome again.
func TestRush(t *testing.T) {
	for _, d := range allDoors {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, (&judge{}).play(d.Protocol.Name()))
				ln := g.befriend(d, "198.51.100.1:1")
				give := g.hold()
				h := &g.handshakes
				for range 100 * h.slots() {
					h.queue()
				}
				h.meanHold = maxStrangerWait / 100
				if h.overloaded() {
					t.Errorf("a wait of %v is a rush", maxStrangerWait)
				}
				h.queue()
				stranger := g.from(clientAddr, ln)
				if d.TLS == Upgrade {
					g.greeted(stranger, d)
					stranger.say(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[d.Protocol.Name()])
					stranger.hear(map[string]string{"imap": "a1 NO [UNAVAILABLE] …", "pop3": "-ERR [SYS/TEMP] …"}[d.Protocol.Name()])
				}
				stranger.seeEnd()
				if r := g.told(); r.Verdict != overloadVerdict || r.End != EndRefused || r.Handshake != HandshakeNone {
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

// TestRushIsMeasured has handshakes that take their time wait for each other.
func TestRushIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(slowDoor(&now, &most))
		for range 40 * g.handshakes.slots() {
			p := g.from(clientAddr, ln)
			go func() { _, _ = p.tryTLS(nil) }()
		}
		var seen []bool
		for range 100 {
			<-time.After(time.Second / 50)
			if on := g.handshakes.overloaded(); len(seen) == 0 || seen[len(seen)-1] != on {
				seen = append(seen, on)
			}
		}
		if !slices.Equal(seen, []bool{false, true, false}) {
			t.Errorf("it is a rush: %v", seen)
		}
	})
}

// A processor is left to the sessions that are logged in, however many there are
// by now.
func TestSlotsLeaveAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var h handshakes
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

// Whoever is midway comes before the known, and these before strangers, of whom
// the newest is first.
func TestOrderOfHandshakes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var h handshakes
	var first handshakeSlot
	h.acquire(&first)
	var served []string
	for _, w := range []struct {
		name string
		rank rank
	}{
		{"old stranger", strangers}, {"old friend", known}, {"new stranger", strangers}, {"long midway", halfDone},
		{"midway", halfDone}, {"new friend", known}, {"gone", known},
	} {
		one := &handshakeSlot{rank: w.rank}
		one.granted = func() {
			served = append(served, w.name)
			h.release(one)
		}
		if h.acquire(one) {
			t.Fatal("it took a slot that is another's")
		}
		if w.name == "gone" && !h.cancel(one) {
			t.Error("it could not leave")
		}
	}
	h.release(&first)
	if want := []string{"long midway", "midway", "new friend", "old friend", "new stranger", "old stranger"}; !slices.Equal(served, want) {
		t.Errorf("served %q, want %q", served, want)
	}
	if h.inUse() != 0 {
		t.Errorf("%d are left", h.inUse())
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
			if r := g.told(); r.Verdict != overloadVerdict || r.End != EndRefused || r.Handshake != HandshakeNone {
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
		if r := g.record(); r.End != EndShutdown || r.Verdict == overloadVerdict {
			t.Errorf("record %+v", r)
		}
	})
}
