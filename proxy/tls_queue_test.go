package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// handshakeTime is how long a handshake on a slowTLSListener takes.
const handshakeTime = 200 * time.Millisecond

// slowTLSListener is an IMAPS listener whose handshakes count how many compute at once.
func slowTLSListener(now, most *atomic.Int32) Listener {
	l := imapsListener
	l.Config = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-time.After(handshakeTime)
		return &imapsListener.Config.Certificates[0], nil
	}}
	return l
}

// inUse is how many slots are taken and how many handshakes wait for one.
func (q *handshakeQueue) inUse() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.taken
	for r := range q.queues {
		n += q.queues[r].Len()
	}
	return n
}

// takeHandshakeSlots takes all slots, and returns how to give them back.
func (proxy *testProxy) takeHandshakeSlots() (give func()) {
	proxy.t.Helper()
	held := make([]handshakeSlot, proxy.handshakes.slots())
	for i := range held {
		if !proxy.handshakes.acquire(&held[i]) {
			proxy.t.Fatal("no slot is free")
		}
	}
	return func() {
		for i := range held {
			proxy.handshakes.release(&held[i])
		}
	}
}

// addStranger queues a stranger that gives its slot back at once.
func (q *handshakeQueue) addStranger() {
	slot := &handshakeSlot{rank: rankStranger}
	slot.granted = func() { q.release(slot) }
	q.acquire(slot)
}

// listenWithKnown serves l, and makes the source addr known by a login.
func (proxy *testProxy) listenWithKnown(l Listener, addr string) *memListener {
	proxy.t.Helper()
	p := sourceRule()
	p.KnownTTL = time.Hour
	proxy.setPolicy(p)
	ln := proxy.listen(l)
	known := proxy.connect(addr, ln)
	proxy.awaitGreeting(known, l)
	sendLogin(known, l, "right")
	known.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
	return ln
}

// firstRecord returns the first record.
func (proxy *testProxy) firstRecord() Record {
	proxy.t.Helper()
	synctest.Wait()
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	if len(proxy.records) == 0 {
		proxy.t.Fatal("got no record")
	}
	return proxy.records[0]
}

// No more handshakes compute at once than there are slots.
func TestHandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(slowTLSListener(&now, &most))
		slots := proxy.handshakes.slots()
		ended := make(chan bool)
		start := time.Now()
		for range 4 * slots {
			client := proxy.connect(clientAddr, ln)
			go func() {
				_, err := client.tryTLS(nil)
				ended <- err == nil
			}()
		}
		for range 4 * slots {
			if !<-ended {
				t.Error("got a handshake that failed")
			}
		}
		if n := int(most.Load()); n != slots {
			t.Errorf("got %d handshakes at once, want %d", n, slots)
		}
		if took := time.Since(start); took != 4*handshakeTime {
			t.Errorf("took %v, want %v", took, 4*handshakeTime)
		}
		if synctest.Wait(); proxy.handshakes.inUse() != 0 {
			t.Errorf("got %d slots in use, want none", proxy.handshakes.inUse())
		}
	})
}

// When as many strangers wait as may, the next are refused before their handshake, with
// an answer and without a reset. The known are not refused.
func TestFullHandshakeQueueRefusesStrangers(t *testing.T) {
	for _, l := range allListeners {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, l.Protocol, (&fakeBackend{}).protocolFunc(l.Protocol.Name()))
				ln := proxy.listenWithKnown(l, "198.51.100.1:1")
				give := proxy.takeHandshakeSlots()
				h := &proxy.handshakes
				for range maxStrangers*h.slots() - 1 {
					h.addStranger()
				}
				if h.full() {
					t.Errorf("got the queue full with %d strangers", maxStrangers*h.slots()-1)
				}
				h.addStranger()
				stranger := proxy.connect(clientAddr, ln)
				if l.TLS == Upgrade {
					proxy.awaitGreeting(stranger, l)
					stranger.send(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[l.Protocol.Name()])
					stranger.expect(map[string]string{"imap": "a1 NO [UNAVAILABLE] …", "pop3": "-ERR [SYS/TEMP] …"}[l.Protocol.Name()])
					stranger.expectEOF()
				} else {
					stranger.expectAlert()
				}
				if r := proxy.firstRecord(); r.Verdict != overloaded || r.End != EndRefused || r.Handshake != HandshakeNone {
					t.Errorf("got record %+v, want Verdict %v, End %v, Handshake %v", r, overloaded, EndRefused, HandshakeNone)
				}
				known := proxy.connect("198.51.100.1:2", ln)
				if l.TLS == Upgrade {
					proxy.awaitGreeting(known, l)
					known.send(map[string]string{"imap": "a1 STARTTLS", "pop3": "STLS"}[l.Protocol.Name()])
					known.expect(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[l.Protocol.Name()])
				}
				time.AfterFunc(time.Millisecond, give)
				known.startTLS(nil)
				synctest.Wait() // the queue is empty once the known has given back its slot
				proxy.awaitGreeting(proxy.connect(clientAddr, ln), l)
			})
		})
	}
}

// A few handshakes that take long, as on a busy machine, all succeed, whatever the
// order of their clients.
func TestSlowHandshakesAllSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(slowTLSListener(&now, &most))
		clients := int(maxStrangerWait/handshakeTime-1) * proxy.handshakes.slots()
		results := make(chan error)
		for range clients {
			client := proxy.connect(clientAddr, ln)
			go func() {
				_, err := client.tryTLS(nil)
				results <- err
			}()
		}
		for range clients {
			if err := <-results; err != nil {
				t.Errorf("handshake: got %v", err)
			}
		}
	})
}

// Clients that come again as soon as they are served, as on a busy machine, are all served
// in time: none is passed over for those that come later.
func TestSlowHandshakesAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(slowTLSListener(&now, &most))
		clients := int(maxStrangerWait/handshakeTime) / 2 * proxy.handshakes.slots()
		results := make(chan error)
		for i := range clients {
			go func() {
				var failed error
				for j := range 5 {
					near, _ := ln.dial(fmt.Sprintf("203.0.113.7:%d", 1000*(i+1)+j))
					failed = errors.Join(failed, tls.Client(near, &tls.Config{InsecureSkipVerify: true}).Handshake())
					near.Close()
				}
				results <- failed
			}()
		}
		for range clients {
			if err := <-results; err != nil {
				t.Errorf("handshake: got %v", err)
			}
		}
	})
}

// One processor is left to other work, and the number of processors may change.
func TestHandshakeSlotsLeaveAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var h handshakeQueue
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		runtime.GOMAXPROCS(processors)
		slots := make([]handshakeSlot, 10)
		for i := range slots {
			h.acquire(&slots[i])
		}
		if h.taken != want {
			t.Errorf("%d processors: got %d slots, want %d", processors, h.taken, want)
		}
		for i := range slices.Backward(slots) {
			if !h.cancel(&slots[i]) {
				h.release(&slots[i])
			}
		}
		if h.inUse() != 0 {
			t.Fatalf("%d processors: got %d slots in use, want none", processors, h.inUse())
		}
	}
}

// Handshakes that are computed in part come first, then the known, then strangers, each
// the longest-waiting first, however long they have waited.
func TestOrderOfHandshakes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	want := []string{"started 1", "started 2", "known 1", "known 2", "stranger 1", "stranger 2"}
	for _, waited := range []time.Duration{0, maxStrangerWait - 1} {
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
				slot := h.add(t, w.rank, func() { served = append(served, w.name) })
				if w.name == "cancelled" && !h.cancel(slot) {
					t.Error("cancel: got false, want true")
				}
			}
			wait(waited)
			h.release(&first)
			if !slices.Equal(served, want) {
				t.Errorf("after %v: got %q, want %q", waited, served, want)
			}
			if h.inUse() != 0 {
				t.Errorf("got %d slots in use, want none", h.inUse())
			}
		})
	}
}

// Under overload the newest come first until no more than overload wait. Handshakes that
// are computed in part keep their order.
func TestOrderOfHandshakesUnderOverload(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for r, want := range map[rank][]int{
		rankStarted:  {1, 2, 3, 4, 5},
		rankKnown:    {overload + 2, overload + 1, 1, 2, 3},
		rankStranger: {overload + 2, overload + 1, 1, 2, 3},
	} {
		var h handshakeQueue
		var first handshakeSlot
		h.acquire(&first)
		var served []int
		for i := range overload + 2 {
			h.add(t, r, func() { served = append(served, i+1) })
		}
		h.release(&first)
		if !slices.Equal(served[:5], want) || len(served) != overload+2 {
			t.Errorf("rank %v: got %v, want %v first and %d in all", r, served, want, overload+2)
		}
	}
}

// add queues a handshake that calls served when it gets a slot, and gives the slot back.
func (q *handshakeQueue) add(t *testing.T, r rank, served func()) *handshakeSlot {
	t.Helper()
	slot := &handshakeSlot{rank: r}
	slot.granted = func() {
		served()
		q.release(slot)
	}
	if q.acquire(slot) {
		t.Fatal("got a slot that is in use")
	}
	return slot
}

// A stranger that gets no slot in time is refused without a handshake. The known wait
// for as long as a handshake may take.
func TestWaitForHandshakeSlot(t *testing.T) {
	for _, served := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
			ln := proxy.listenWithKnown(imapsListener, "198.51.100.1:1")
			give := proxy.takeHandshakeSlots()
			start := time.Now()
			connect := func(addr string) (ended chan time.Duration) {
				client, ended := proxy.connect(addr, ln), make(chan time.Duration, 1)
				client.timeout = time.Minute
				go func() {
					if _, err := client.tryTLS(nil); err != nil {
						ended <- time.Since(start)
					} else {
						ended <- 0
					}
				}()
				return ended
			}
			stranger, known := connect(clientAddr), connect("198.51.100.1:2")
			if took := <-stranger; took != maxStrangerWait {
				t.Errorf("stranger: refused after %v, want %v", took, maxStrangerWait)
			}
			if r := proxy.firstRecord(); r.Verdict != overloaded || r.End != EndRefused || r.Handshake != HandshakeNone {
				t.Errorf("got record %+v, want Verdict %v, End %v, Handshake %v", r, overloaded, EndRefused, HandshakeNone)
			}
			if served {
				give()
				if took := <-known; took != 0 {
					t.Errorf("known: refused after %v, want a handshake", took)
				}
				return
			}
			if took := <-known; took != proxy.Timeouts.Handshake {
				t.Errorf("known: refused after %v, want %v", took, proxy.Timeouts.Handshake)
			}
			give()
		})
	}
}

// A session that waits for a slot ends at once when the server shuts down.
func TestShutdownInHandshakeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		ln := proxy.listen(imapsListener)
		defer proxy.takeHandshakeSlots()()
		client := proxy.connect(clientAddr, ln)
		go func() { _, _ = client.tryTLS(nil) }()
		synctest.Wait()
		if n := proxy.handshakes.inUse(); n != proxy.handshakes.slots()+1 {
			t.Fatalf("got %d handshakes in the queue or with a slot, want %d", n, proxy.handshakes.slots()+1)
		}
		start := time.Now()
		if err := proxy.Shutdown(t.Context(), Grace{Total: time.Hour}); err != nil || time.Since(start) != 0 {
			t.Errorf("took %v, %v; want 0", time.Since(start), err)
		}
		if r := proxy.finalRecord(); r.End != EndShutdown || r.Verdict == overloaded {
			t.Errorf("got record %+v, want End %v", r, EndShutdown)
		}
	})
}
