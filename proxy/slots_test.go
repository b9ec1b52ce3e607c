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

// tryPassword returns a client that has sent a login, once that waits or is answered.
func (proxy *testProxy) tryPassword(ln *memListener, addr, password string) *peer {
	proxy.t.Helper()
	client := proxy.connect(addr, ln)
	client.expect("* OK …")
	client.send("a1 LOGIN u " + password)
	synctest.Wait()
	return client
}

// newProxyWithSlots returns a proxy with one backend that takes a second to deny a
// login and has few login slots.
func newProxyWithSlots(t *testing.T, logins int) (*testProxy, *fakeBackend, *memListener) {
	fake := &fakeBackend{delay: time.Second}
	proxy := newTestProxyWith(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: logins}, map[string]func(*peer){backendAddr: fake.imap})
	p := allRules()
	p.Pair, p.Account, p.Source.Tokens = limiter.Rate{}, limiter.Rate{}, 1000
	proxy.setPolicy(p)
	return proxy, fake, proxy.listen(imapListener)
}

// knownAddr is where the account is known.
const knownAddr = "203.0.113.7:40000"

// Login slots go to the known first, and then to strangers of one network after the
// other.
func TestSlotOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, fake, ln := newProxyWithSlots(t, 1)
		makeKnown(proxy, knownAddr, "u", "right")
		for _, c := range [][2]string{
			{"198.51.100.1:1", "first"}, {"198.51.100.1:2", "a1"}, {"198.51.100.2:1", "a2"}, {"198.51.100.3:1", "a3"},
			{"192.0.2.1:1", "b1"}, {"192.0.2.1:2", "b2"}, {knownAddr, "mistyped"}, {knownAddr, "right"},
		} {
			proxy.tryPassword(ln, c[0], c[1])
		}
		if known, strangers := proxy.backends.Waiting(); known != 2 || strangers != 5 {
			t.Errorf("got %d known and %d strangers waiting, want 2 and 5", known, strangers)
		}
		<-time.After(8 * time.Second)
		synctest.Wait()
		if want := []string{"first", "mistyped", "right", "a1", "b1", "a2", "b2", "a3"}; !slices.Equal(fake.checked(), want) {
			t.Errorf("got  %q\nwant %q", fake.checked(), want)
		}
		for _, a := range proxy.settledAttempts() {
			if want := (limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleBackend, Wait: a.Waited, Known: a.Client.String() == knownAddr, Near: a.Client.String() == knownAddr}); a.Waited > 0 && a.Verdict != want {
				t.Errorf("got attempt %+v, want Verdict %v", a, want)
			}
		}
	})
}

// Some slots are reserved for the known.
func TestSlotsReservedForKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _, ln := newProxyWithSlots(t, 2*reservedSlots)
		makeKnown(proxy, knownAddr, "u", "right")
		for i := range 2 * reservedSlots {
			proxy.tryPassword(ln, fmt.Sprintf("198.51.%d.1:1", i), "wrong")
		}
		if s := proxy.backendStats(backendAddr); s.Logins != 2*reservedSlots-2 {
			t.Errorf("got %d slots of strangers, want %d", s.Logins, 2*reservedSlots-2)
		}
		start := time.Now()
		proxy.tryPassword(ln, knownAddr, "right").expect("a1 OK …")
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want %v", took, 0)
		}
	})
}

// An attempt whose client closes while it waits for a slot is void, and gives its place
// up.
func TestClosingDuringSlotWait(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"closes":      func(client *peer) { client.Close() },
		"half-closes": func(client *peer) { client.closeWrite() },
		"resets":      func(client *peer) { client.Conn.(*memConn).reset() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, fake, ln := newProxyWithSlots(t, 1)
				proxy.tryPassword(ln, "198.51.100.1:1", "first")
				client := proxy.tryPassword(ln, clientAddr, "wrong")
				next := proxy.tryPassword(ln, "192.0.2.1:1", "right")
				leave(client)
				synctest.Wait()
				a := proxy.settledAttempts()
				if len(a) != 1 || !a[0].Gone || a[0].Outcome != limiter.Void || a[0].Err == nil || a[0].Backend != "" || a[0].Verdict.Rule != limiter.RuleNone {
					t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
				}
				next.expect("a1 OK …")
				if want := []string{"first", "right"}; !slices.Equal(fake.checked(), want) || proxy.charged(clientIP) != 0 || proxy.looks(clientIP) != 1 {
					t.Errorf("got passwords %q checked, %d tokens charged and %d looks, want %q, 0 and 1", fake.checked(), proxy.charged(clientIP), proxy.looks(clientIP), want)
				}
			})
		})
	}
}

// Strangers go first for a part of the slots, even if more of the known come than a backend
// can serve. They get no more while the known queue.
func TestSlotsOfStrangersWhileKnownQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, first = 2 * strangerSlots, 2
		proxy := newTestProxyWith(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}, Logins: slots}, nil)
		ask := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP})
		defer ask.Settle(time.Now(), limiter.Void)
		b, inside := proxy.backends, map[bool][]*slotRequest{} // by whether they are strangers
		queue := map[bool][]*slotRequest{}
		request := func(stranger bool) {
			r := &slotRequest{waiter: newWaiter(&session{server: &Server{}})}
			if stranger {
				r.priority = ask.Priority()
			}
			if _, err := b.requestSlot(r); err != nil {
				t.Fatal(err)
			}
			queue[stranger] = append(queue[stranger], r)
		}
		sort := func() {
			for stranger := range queue {
				for len(queue[stranger]) > 0 && queue[stranger][0].assigned != nil { // in the order of arrival
					inside[stranger] = append(inside[stranger], queue[stranger][0])
					queue[stranger] = queue[stranger][1:]
				}
			}
		}
		release := func(stranger bool) {
			t.Helper()
			b.release(inside[stranger][0])
			inside[stranger] = inside[stranger][1:]
			request(false) // the known keep coming
			sort()
			if len(queue[false]) == 0 || len(queue[true]) == 0 {
				t.Fatalf("got %d known and %d strangers in the queue, want some of both", len(queue[false]), len(queue[true]))
			}
		}
		for range 2 * slots {
			request(false)
			sort()
		}
		for range 5 * first {
			request(true)
			sort()
		}
		if len(inside[false]) != slots {
			t.Fatalf("got %d slots of the known, want %d", len(inside[false]), slots)
		}
		for i := range slots { // each slot that a known attempt gives back
			release(false)
			if want := min(i+1, first); len(inside[true]) != want || len(inside[false]) != slots-want {
				t.Fatalf("got %d slots of strangers and %d of the known, want %d and %d", len(inside[true]), len(inside[false]), want, slots-want)
			}
		}
		for range 3 * first { // and those of strangers go to strangers again
			release(true)
			if len(inside[true]) != first {
				t.Fatalf("got %d slots of strangers, want %d", len(inside[true]), first)
			}
		}
		for _, all := range []map[bool][]*slotRequest{queue, inside} {
			for _, r := range append(all[false], all[true]...) {
				b.cancelRequest(r)
				b.release(r)
			}
		}
	})
}

// An attempt that waits for a slot gets one when another backend comes up.
func TestSlotAtBackendThatComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{delay: 9 * time.Second}
		proxy := newProxyWithTwoBackends(t, 1, fake.imap, fake.imap)
		proxy.backends.all[1].set(false)
		ln := proxy.listen(imapListener)
		proxy.tryPassword(ln, "198.51.100.1:1", "first")
		client := proxy.tryPassword(ln, clientAddr, "right")
		client.expectNothing(time.Second)
		proxy.backends.probe(t.Context(), proxy.backends.all[1])
		start := time.Now()
		client.expect("a1 OK …")
		if took := time.Since(start); took != 0 || proxy.settledAttempts()[0].Backend != otherAddr {
			t.Errorf("took %v with attempts %+v, want 0 and the other backend", took, proxy.settledAttempts())
		}
	})
}

// An attempt that has tried the backend with a free slot waits for the other, before
// those that come later.
func TestSlotAtAnotherBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithTwoBackends(t, 1, nil, nil)
		one, other := proxy.backends.all[0], proxy.backends.all[1]
		request := func(tried ...*backend) *slotRequest {
			a := &slotRequest{tried: tried, waiter: newWaiter(&session{server: &Server{}})}
			if _, err := proxy.backends.requestSlot(a); err != nil {
				t.Fatal(err)
			}
			return a
		}
		first := request(other)
		waits, also := request(one), request(one)
		if first.assigned != one || waits.assigned != other || also.assigned != nil {
			t.Errorf("got backends %v, %v, %v, want the first, the second and none", first.assigned, waits.assigned, also.assigned)
		}
		unrestricted := request()
		proxy.backends.release(first)
		if unrestricted.assigned != one || also.assigned != nil {
			t.Errorf("got backends %v, %v, want the first and none", unrestricted.assigned, also.assigned)
		}
		proxy.backends.release(waits)
		if also.assigned != other {
			t.Errorf("got backend %v, want the second", also.assigned)
		}
		for _, a := range []*slotRequest{unrestricted, also} {
			proxy.backends.cancelRequest(a)
			proxy.backends.release(a)
		}
		if _, err := proxy.backends.requestSlot(&slotRequest{tried: proxy.backends.all, waiter: newWaiter(&session{server: &Server{}})}); err != errNoBackend {
			t.Errorf("with all backends tried: got %v, want %v", err, errNoBackend)
		}
	})
}

// requestAtRandom requests, cancels and releases slots of b at random, and in the end gives
// all back. After each step it calls check with the requests that wait and those that have
// a slot.
func requestAtRandom(t *testing.T, r *rand.Rand, b *Backends, request func() *slotRequest, check func(waiting, inside []*slotRequest)) {
	t.Helper()
	var waiting, inside []*slotRequest
	for range 20_000 {
		switch n := r.IntN(10); {
		case n < 5:
			a := request()
			if _, err := b.requestSlot(a); err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, a)
		case n < 6 && len(waiting) > 0:
			i := r.IntN(len(waiting))
			b.cancelRequest(waiting[i])
			b.release(waiting[i])
			waiting = slices.Delete(waiting, i, i+1)
		case len(inside) > 0:
			i := r.IntN(len(inside))
			b.release(inside[i])
			inside = slices.Delete(inside, i, i+1)
		}
		waiting = slices.DeleteFunc(waiting, func(a *slotRequest) bool {
			if a.assigned != nil {
				inside = append(inside, a)
			}
			return a.assigned != nil
		})
		check(waiting, inside)
	}
	for _, a := range append(waiting, inside...) {
		b.cancelRequest(a)
		b.release(a)
	}
}

// Attempts request, cancel and release slots at random. No backend has more logins than
// it may, and no attempt waits while a slot is free.
func TestSlotsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		proxy := newProxyWithTwoBackends(t, 20, nil, nil)
		b := proxy.backends
		stranger := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP})
		defer stranger.Settle(time.Now(), limiter.Void)
		requestAtRandom(t, r, b, func() *slotRequest {
			a := &slotRequest{waiter: newWaiter(&session{server: &Server{}})} // with the priority of the known
			if r.IntN(3) > 0 {
				a.priority = stranger.Priority()
			}
			return a
		}, func(waiting, inside []*slotRequest) {
			known, strangers := b.Waiting()
			logins := b.all[0].logins + b.all[1].logins
			if logins != len(inside) || known+strangers != len(waiting) || max(b.all[0].logins, b.all[1].logins) > 20 {
				t.Fatalf("got %d logins and %d known and %d strangers waiting, want %d logins and %d waiting", logins, known, strangers, len(inside), len(waiting))
			}
			if known > 0 && logins < 40 || strangers > 0 && min(b.all[0].logins, b.all[1].logins) < 20-20/reservedSlots {
				t.Fatalf("got %d known and %d strangers waiting with %d logins, want none while a slot is free", known, strangers, logins)
			}
		})
	})
}
