package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A backend that fails, in whatever way, costs those who log in no more than the time
// until its failure is noticed, and is not tried again.
func TestNextBackend(t *testing.T) {
	for name, c := range map[string]struct {
		play   func(*peer)
		took   time.Duration
		result DialResult
	}{
		"refuses":               {nil, 0, DialRefused},
		"does not greet":        {func(b *peer) { b.readHeader(); b.expectClosed() }, greetingTimeout, DialGreetingTimeout},
		"greets slowly":         {sendEndlessGreeting, greetingTimeout, DialGreetingTimeout},
		"sends nonsense":        {func(b *peer) { b.send("220 mail.example.org ESMTP") }, 0, DialReset},
		"sends BYE":             {func(b *peer) { b.send("* BYE Too many connections.") }, 0, DialReset},
		"is logged in":          {func(b *peer) { b.send("* PREAUTH Hello.") }, 0, DialReset},
		"closes":                {func(*peer) {}, 0, DialReset},
		"resets":                {func(b *peer) { b.Conn.(*memConn).reset() }, 0, DialReset},
		"closes within a line":  {func(b *peer) { b.Write([]byte("* O")) }, 0, DialReset},
		"sends an endless line": {func(b *peer) { b.Write([]byte(strings.Repeat("*", 20000))) }, 0, DialReset},
	} {
		for bad, good := range map[string]string{backendAddr: otherAddr, otherAddr: backendAddr} {
			t.Run(name+" "+bad, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyWithTwoBackends(t, 1, (&fakeBackend{}).imap, (&fakeBackend{}).imap)
					proxy.setBackend(bad, c.play)
					ln := proxy.listen(imapListener)
					start := time.Now()
					for range 4 {
						client := proxy.connect(clientAddr, ln)
						client.send("a1 LOGIN u right")
						client.expect("* OK …", "a1 OK …")
					}
					if took := time.Since(start); took != c.took {
						t.Errorf("took %v, want %v", took, c.took)
					}
					if n := proxy.dialCount(bad); n != 1 || proxy.dialCount(good) != 4 {
						t.Errorf("got %d and %d dials, want 1 and 4", n, proxy.dialCount(good))
					}
					s, want := proxy.backendStats(bad), [numDialResults]uint64{}
					want[c.result] = 1
					if s.Up || s.Changes != 1 || s.Dials != want || s.DialTime != 0 || s.Sessions != 0 {
						t.Errorf("got stats %+v, want Sessions %v", s, 0)
					}
					s, want = proxy.backendStats(good), [numDialResults]uint64{DialOK: 4}
					if !s.Up || s.Changes != 0 || s.Dials != want || s.Sessions != 4 || !proxy.backends.Healthy() {
						t.Errorf("got stats %+v, want Sessions %v", s, 4)
					}
					for _, a := range proxy.settledAttempts() {
						if a.Backend != good {
							t.Errorf("got attempt %+v", a)
						}
					}
				})
			})
		}
	}
}

// sendEndlessGreeting never ends its greeting.
func sendEndlessGreeting(b *peer) {
	for {
		if _, err := b.Write([]byte("*")); err != nil {
			return
		}
		<-time.After(time.Second)
	}
}

func TestAllBackendsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithTwoBackends(t, 1, nil, nil)
		ln := proxy.listen(imapListener)
		for range 3 {
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 "+imapBusy)
			client.expectEOF()
		}
		if proxy.dialCount(backendAddr) != 1 || proxy.dialCount(otherAddr) != 1 || proxy.backends.Healthy() {
			t.Errorf("got dials %v, want one of each backend", proxy.dials)
		}
		err := proxy.settledAttempts()[0].Err
		for _, why := range []string{"dial backend " + otherAddr, "refused", "no backend is up"} {
			if !strings.Contains(fmt.Sprint(err), why) {
				t.Errorf("got error %v, want %q in it", err, why)
			}
		}
	})
}

// The last backend remains up unless the connection is refused. Any other failure may be
// due to load, and must not become an outage.
func TestLastBackendStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nonsense := func(b *peer) { b.readHeader(); b.send("nonsense") }
		proxy := newProxyWithTwoBackends(t, 1, nonsense, nonsense)
		ln := proxy.listen(imapListener)
		for range 3 {
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 "+imapBusy)
			client.expectEOF()
		}
		if n := proxy.dialCount(backendAddr) + proxy.dialCount(otherAddr); n != 4 || !proxy.backends.Healthy() {
			t.Errorf("got dials %v and health %t, want 4 dials and a healthy pool", proxy.dials, proxy.backends.Healthy())
		}
		if err := proxy.settledAttempts()[0].Err; !strings.Contains(fmt.Sprint(err), "nonsense") {
			t.Errorf("got error %v, want the backend's greeting in it", err)
		}
	})
}

func TestLoginsAreSpreadOverBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithTwoBackends(t, 10, (&fakeBackend{}).imap, (&fakeBackend{}).imap)
		ln := proxy.listen(imapListener)
		for range 10 {
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 OK …")
		}
		if proxy.dialCount(backendAddr) != 5 || proxy.dialCount(otherAddr) != 5 {
			t.Errorf("got dials %v, want 5 of each backend", proxy.dials)
		}
	})
}

// A backend whose login slots are all in use gets no more logins.
func TestFullBackendGetsNoLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{delay: 5 * time.Second}
		proxy := newProxyWithTwoBackends(t, 2, fake.imap, fake.imap)
		ln := proxy.listen(imapListener)
		start := time.Now()
		for range 4 {
			proxy.connect(clientAddr, ln).send("a1 LOGIN u wrong")
			synctest.Wait()
		}
		for _, s := range proxy.backends.Stats() {
			if s.Logins != 2 {
				t.Errorf("got %d logins at %s, want 2", s.Logins, s.Addr)
			}
		}
		client := proxy.connect(clientAddr, ln)
		client.send("a1 LOGIN u right")
		client.expect("* OK …", "a1 OK …")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v, want %v", took, 5*time.Second)
		}
	})
}
