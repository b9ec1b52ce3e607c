package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// ask has a client from addr try a password, and returns once it waits or is
// answered.
func (g *gate) ask(ln *memListener, addr, password string) *peer {
	g.t.Helper()
	c := g.from(addr, ln)
	c.hear("* OK …")
	c.say("a1 LOGIN u " + password)
	synctest.Wait()
	return c
}

// few returns a gate with one backend that takes a second over a denial, and has
// few login slots.
func few(t *testing.T, logins int) (*gate, *judge, *memListener) {
	j := &judge{delay: time.Second}
	g := newGateOf(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: logins}, map[string]func(*peer){backendAddr: j.imap})
	p := all()
	p.Pair, p.Account, p.Source = limiter.Rate{}, limiter.Rate{}, limiter.Rate{}
	g.limit(p)
	return g, j, g.open(imapDoor)
}

// home is where the account is known.
const home = "203.0.113.7:40000"

// Login slots go to the known, and then to one network after the other.
func TestSlotsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, j, ln := few(t, 1)
		welcome(g, home, "u", "right")
		for _, c := range [][2]string{
			{"198.51.100.1:1", "first"}, {"198.51.100.1:2", "a1"}, {"198.51.100.2:1", "a2"}, {"198.51.100.3:1", "a3"},
			{"192.0.2.1:1", "b1"}, {"192.0.2.1:2", "b2"}, {home, "mistyped"}, {home, "right"},
		} {
			g.ask(ln, c[0], c[1])
		}
		if known, strangers := g.backends.Waiting(); known != 2 || strangers != 5 {
			t.Errorf("%d known and %d strangers wait", known, strangers)
		}
		<-time.After(8 * time.Second)
		synctest.Wait()
		if want := []string{"first", "mistyped", "right", "a1", "b1", "a2", "b2", "a3"}; !slices.Equal(j.judged(), want) {
			t.Errorf("got  %q\nwant %q", j.judged(), want)
		}
		for _, a := range g.settled() {
			if want := (limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleBackend, Wait: a.Waited, Known: a.Client.String() == home, Near: a.Client.String() == home}); a.Waited > 0 && a.Verdict != want {
				t.Errorf("attempt %+v", a)
			}
		}
	})
}

// A part of the slots is never a stranger's, so somebody known finds one at once.
func TestSlotsOfTheKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, ln := few(t, 2*reservedSlots)
		welcome(g, home, "u", "right")
		for i := range 2 * reservedSlots {
			g.ask(ln, fmt.Sprintf("198.51.%d.1:1", i), "wrong")
		}
		if s := g.stats(backendAddr); s.Logins != 2*reservedSlots-2 {
			t.Errorf("strangers have %d slots", s.Logins)
		}
		begun := time.Now()
		g.ask(ln, home, "right").hear("a1 OK …")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// Who leaves while it waits for a slot has tried nothing, and its place is gone.
func TestLeavingTheQueueForASlot(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"closes":      func(p *peer) { p.Close() },
		"half-closes": func(p *peer) { p.halfClose() },
		"resets":      func(p *peer) { p.Conn.(*memConn).reset() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, j, ln := few(t, 1)
				g.ask(ln, "198.51.100.1:1", "first")
				c := g.ask(ln, clientAddr, "wrong")
				next := g.ask(ln, "192.0.2.1:1", "right")
				leave(c)
				synctest.Wait()
				a := g.settled()
				if len(a) != 1 || !a[0].Gone || a[0].Outcome != limiter.Void || a[0].Err == nil || a[0].Backend != "" || a[0].Verdict.Rule != limiter.RuleNone {
					t.Errorf("attempts %+v", a)
				}
				next.hear("a1 OK …")
				if want := []string{"first", "right"}; !slices.Equal(j.judged(), want) || g.charged(clientIP) != 0 {
					t.Errorf("judged %q", j.judged())
				}
			})
		})
	}
}

// Who waits for a slot is served when another backend comes up.
func TestSlotAtABackendThatComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{delay: 9 * time.Second}
		g := two(t, 1, j.imap, j.imap)
		g.backends.all[1].set(false)
		ln := g.open(imapDoor)
		g.ask(ln, "198.51.100.1:1", "first")
		c := g.ask(ln, clientAddr, "right")
		c.hearNothing(time.Second)
		g.backends.probe(t.Context(), g.backends.all[1])
		begun := time.Now()
		c.hear("a1 OK …")
		if took := time.Since(begun); took != 0 || g.settled()[0].Backend != otherAddr {
			t.Errorf("it took %v: %+v", took, g.settled())
		}
	})
}

// Who has tried the backend that is free waits for the other, behind nobody new.
func TestSlotAtAnotherBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := two(t, 1, nil, nil)
		one, other := g.backends.all[0], g.backends.all[1]
		apply := func(tried ...*backend) *slotRequest {
			a := &slotRequest{tried: tried, waiter: newWaiter(&session{server: &Server{}})}
			if _, err := g.backends.requestSlot(a); err != nil {
				t.Fatal(err)
			}
			return a
		}
		first := apply(other)
		waits, also := apply(one), apply(one)
		if first.assigned != one || waits.assigned != other || also.assigned != nil {
			t.Errorf("given %v, %v, %v", first.assigned, waits.assigned, also.assigned)
		}
		anybody := apply()
		g.backends.release(one)
		if anybody.assigned != one || also.assigned != nil {
			t.Errorf("given %v, %v", anybody.assigned, also.assigned)
		}
		g.backends.release(other)
		if also.assigned != other {
			t.Errorf("given %v", also.assigned)
		}
		for _, a := range []*slotRequest{anybody, also} {
			g.backends.release(g.backends.cancelRequest(a))
		}
		if _, err := g.backends.requestSlot(&slotRequest{tried: g.backends.all, waiter: newWaiter(&session{server: &Server{}})}); err != errNoBackend {
			t.Errorf("with nobody left to ask: %v", err)
		}
	})
}

// TestSlotsAreCounted has a random crowd apply, withdraw and release. No backend
// has more logins than it may, and nobody waits for a slot that is free.
func TestSlotsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		g := two(t, 20, nil, nil)
		b := g.backends
		stranger := g.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP})
		defer stranger.Settle(time.Now(), limiter.Void)
		var waiting, inside []*slotRequest
		for range 20_000 {
			switch n := r.IntN(10); {
			case n < 5:
				a := &slotRequest{waiter: newWaiter(&session{server: &Server{}})} // whose order is that of the known
				if r.IntN(3) > 0 {
					a.priority = stranger.Priority()
				}
				if _, err := b.requestSlot(a); err != nil {
					t.Fatal(err)
				}
				waiting = append(waiting, a)
			case n < 6 && len(waiting) > 0:
				i := r.IntN(len(waiting))
				b.release(b.cancelRequest(waiting[i]))
				waiting = slices.Delete(waiting, i, i+1)
			case len(inside) > 0:
				i := r.IntN(len(inside))
				b.release(inside[i].assigned)
				inside = slices.Delete(inside, i, i+1)
			}
			waiting = slices.DeleteFunc(waiting, func(a *slotRequest) bool {
				if a.assigned != nil {
					inside = append(inside, a)
				}
				return a.assigned != nil
			})
			known, strangers := b.Waiting()
			logins := b.all[0].logins + b.all[1].logins
			if logins != len(inside) || known+strangers != len(waiting) || max(b.all[0].logins, b.all[1].logins) > 20 {
				t.Fatalf("%d are inside and %d wait: %d logins, %d and %d wait", len(inside), len(waiting), logins, known, strangers)
			}
			if known > 0 && logins < 40 || strangers > 0 && min(b.all[0].logins, b.all[1].logins) < 20-20/reservedSlots {
				t.Fatalf("%d known and %d strangers wait with %d logins", known, strangers, logins)
			}
		}
		for _, a := range append(waiting, inside...) {
			b.release(b.cancelRequest(a))
		}
	})
}
