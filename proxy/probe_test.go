package proxy

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// watch lets a gate's backends be probed until the test ends, or the returned
// function is called.
func (g *gate) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { g.backends.Watch(ctx) })
	stop = func() {
		cancel()
		watching.Wait()
	}
	g.t.Cleanup(stop)
	synctest.Wait()
	return stop
}

// offering is an IMAP backend that can do what words say.
func offering(words string) func(*peer) {
	return func(b *peer) {
		b.readHeader()
		b.say("* OK [CAPABILITY " + words + "] ready")
		b.seeBreak()
	}
}

func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, offering("IMAP4rev1 X-ONE"))
		stop := g.watch()
		if n := g.dialled(backendAddr); n != 1 {
			t.Errorf("%d probes at the start", n)
		}
		<-time.After(time.Minute + 500*time.Millisecond)
		s := g.stats(backendAddr)
		if n := g.dialled(backendAddr); n != 7 || !s.Up || s.Changes != 0 || s.Dials[DialOK] != 7 || s.ProbeError != "" || s.Sessions != 0 {
			t.Errorf("%d probes after a minute: %+v", n, s)
		}
		g.play(backendAddr, nil)
		<-time.After(10 * time.Second)
		s = g.stats(backendAddr)
		if s.Up || s.Changes != 1 || s.Dials[DialRefused] == 0 || !strings.Contains(s.ProbeError, "refused") || !strings.Contains(s.ProbeError, backendAddr) || g.backends.Healthy() {
			t.Errorf("when it is down: %+v", s)
		}
		before := g.dialled(backendAddr)
		<-time.After(10 * time.Second)
		if n := g.dialled(backendAddr) - before; n != 10 {
			t.Errorf("%d probes in 10 s when it is down", n)
		}
		g.play(backendAddr, offering("IMAP4rev1 X-TWO"))
		<-time.After(1100 * time.Millisecond)
		s = g.stats(backendAddr)
		if !s.Up || s.Changes != 2 || s.ProbeError != "" || !g.backends.Healthy() {
			t.Errorf("when it is up again: %+v", s)
		}
		if got := *g.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"IMAP4rev1", "X-TWO"}) {
			t.Errorf("offered %v", got)
		}
		stop()
		before = g.dialled(backendAddr)
		<-time.After(time.Minute)
		if n := g.dialled(backendAddr) - before; n != 0 {
			t.Errorf("%d probes after the end", n)
		}
	})
}

// Before they are probed, backends count as up, and clients are offered what
// every server does.
func TestBeforeTheFirstProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		fresh := NewBackends(dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}})
		fresh.connect = g.connect
		g.backends, g.Backends = fresh, map[string]*Backends{"imap": fresh}
		if !fresh.Healthy() {
			t.Error("the backends count as down")
		}
		c := g.enter(imapDoor)
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
	})
}

// Learn asks all backends once, and waits no longer than it may.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(b *peer) { b.readHeader(); b.seeBreak() }
		g := two(t, 1, offering("IMAP4rev1 X-ONE"), silent)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		g.backends.Learn(ctx)
		if took := time.Since(begun); took != 2*time.Second || g.dialled(backendAddr) != 1 || g.dialled(otherAddr) != 1 {
			t.Errorf("after %v dialled %v", took, g.dials)
		}
		if got := *g.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"IMAP4rev1", "X-ONE"}) || !g.stats(otherAddr).Up {
			t.Errorf("offered %v", got)
		}
	})
}

// A backend that fails a login is probed soon, and not only when its turn comes.
func TestFailedBackendIsProbedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		g := newGate(t, dialogue.IMAP{}, j.imap)
		g.watch()
		g.play(backendAddr, nil)
		ln := g.open(imapDoor)
		p := g.from(clientAddr, ln)
		p.say("a1 LOGIN u right")
		p.hear("* OK …", "a1 "+imapBusy)
		g.play(backendAddr, j.imap)
		begun := time.Now()
		for !g.backends.Healthy() {
			<-time.After(100 * time.Millisecond)
		}
		if took := time.Since(begun); took > 2*probePause {
			t.Errorf("it is up again after %v", took)
		}
	})
}

// A probe does not trust a backend that only takes connections.
func TestProbeWantsAGreeting(t *testing.T) {
	for name, play := range map[string]func(*peer){
		"silence":  func(b *peer) { b.readHeader(); b.seeBreak() },
		"nonsense": func(b *peer) { b.say("+OK this is POP3") },
		"the end":  func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, play)
				g.watch()
				<-time.After(probeMisses * (welcomeTimeout + probePause))
				synctest.Wait()
				if s := g.stats(backendAddr); s.Up || s.ProbeError == "" || s.Dials[DialOK] != 0 {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// One probe that fails may be chance, two in a row are not.
func TestOneMissIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		g := newGate(t, dialogue.IMAP{}, func(b *peer) { // fails every other time
			if probes++; probes%2 == 0 {
				offering("IMAP4rev1")(b)
			}
		})
		g.watch()
		<-time.After(time.Minute)
		if s := g.stats(backendAddr); !s.Up || s.Changes != 0 || s.Dials[DialReset] < 5 || s.Dials[DialOK] < 5 {
			t.Errorf("stats %+v", s)
		}
		g.play(backendAddr, func(*peer) {})
		<-time.After(time.Minute)
		if s := g.stats(backendAddr); s.Up || s.Changes != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// An end of Watch in the middle of a probe is not the backend's fault.
func TestEndOfWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, func(b *peer) { b.readHeader(); b.seeBreak() })
		stop := g.watch()
		begun := time.Now()
		stop()
		if s := g.stats(backendAddr); !s.Up || s.ProbeError != "" || time.Since(begun) != welcomeTimeout {
			t.Errorf("after %v: %+v", time.Since(begun), s)
		}
	})
}

// Clients are offered what all backends that are up can do, and no less for
// those that are down.
func TestCapabilitiesAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := two(t, 1, offering("IMAP4rev1 A B C AUTH=PLAIN"), offering("IMAP4rev1 C B D AUTH=PLAIN AUTH=LOGIN"))
		g.watch()
		offered := func(want ...string) {
			t.Helper()
			if got := []string(*g.backends.offered.Load()); !reflect.DeepEqual(got, want) {
				t.Errorf("offered %v, want %v", got, want)
			}
		}
		offered("IMAP4rev1", "B", "C", "AUTH=PLAIN")
		g.play(otherAddr, nil)
		<-time.After(21 * time.Second)
		offered("IMAP4rev1", "A", "B", "C", "AUTH=PLAIN")
		p := g.from(clientAddr, g.open(imapDoor))
		p.hear("* OK [CAPABILITY IMAP4rev1 A B C STARTTLS AUTH=PLAIN] Ready.")
		g.play(backendAddr, nil)
		<-time.After(21 * time.Second)
		offered("IMAP4rev1", "A", "B", "C", "AUTH=PLAIN") // what was known last
		g.play(otherAddr, offering("IMAP4rev1 X AUTH=PLAIN"))
		<-time.After(2 * time.Second)
		offered("IMAP4rev1", "X", "AUTH=PLAIN")
	})
}

func TestProbeOfPOP3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.POP3{}, func(b *peer) {
			b.readHeader()
			b.say("+OK ready")
			b.hear("CAPA")
			b.say("+OK", "TOP", "SASL PLAIN", ".")
			b.seeBreak()
		})
		g.watch()
		if got := *g.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"TOP", "SASL PLAIN"}) {
			t.Errorf("offered %v", got)
		}
		if s := g.stats(backendAddr); !s.Up || s.DialTime != 0 || s.Dials[DialOK] != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A probe is announced as a client in TLS at the gate's own address, or the
// backend would hide what needs TLS.
func TestProbeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan announced, 1)
		g := newGate(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			seen <- parse(t, b.header)
		})
		g.watch()
		want := announced{
			client: "192.0.2.1:50000", local: backendAddr, tls: true,
			version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256",
		}
		if got := <-seen; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

// Probes take no login slots, and do not wait for them.
func TestProbesNeedNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{delay: 25 * time.Second}
		g := newGateOf(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}}, map[string]func(*peer){backendAddr: j.imap})
		p := g.enter(imapDoor)
		p.say("a1 LOGIN u wrong")
		synctest.Wait()
		g.watch()
		<-time.After(20 * time.Second)
		synctest.Wait()
		if s := g.stats(backendAddr); s.Dials[DialOK] != 4 || s.Logins != 1 {
			t.Errorf("stats %+v", s)
		}
		p.hear("a1 NO …")
	})
}

func TestDialTimeIsSummed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			<-time.After(time.Second)
			b.say(imapHello)
			b.seeBreak()
		})
		g.watch()
		<-time.After(15 * time.Second)
		if s := g.stats(backendAddr); s.DialTime != 2*time.Second || s.Dials[DialOK] != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}
