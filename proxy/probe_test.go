package proxy

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// backendWithCapabilities is an IMAP backend with capabilities.
func backendWithCapabilities(list string) func(*peer) {
	return func(b *peer) {
		b.readHeader()
		b.send("* OK [CAPABILITY " + list + "] ready")
		b.expectClosed()
	}
}

func TestProbeInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, backendWithCapabilities("IMAP4rev1 X-ONE"))
		stop := proxy.watchBackends()
		if n := proxy.dialCount(backendAddr); n != 1 {
			t.Errorf("got %d probes at the start, want 1", n)
		}
		<-time.After(time.Minute + 500*time.Millisecond)
		s := proxy.backendStats(backendAddr)
		if n := proxy.dialCount(backendAddr); n != 7 || !s.Up || s.Changes != 0 || s.Dials[DialOK] != 7 || s.ProbeError != nil || s.Sessions != 0 {
			t.Errorf("after a minute: got %d probes, stats %+v, want 7 probes and up", n, s)
		}
		proxy.setBackend(backendAddr, nil)
		<-time.After(10 * time.Second)
		s = proxy.backendStats(backendAddr)
		if s.Up || s.Changes != 1 || s.Dials[DialRefused] == 0 || !errors.Is(s.ProbeError, syscall.ECONNREFUSED) || !strings.Contains(s.ProbeError.Error(), backendAddr) || proxy.backends.Healthy() {
			t.Errorf("backend down: got stats %+v", s)
		}
		before := proxy.dialCount(backendAddr)
		<-time.After(10 * time.Second)
		if n := proxy.dialCount(backendAddr) - before; n != 10 {
			t.Errorf("backend down: got %d probes in 10 s, want 10", n)
		}
		proxy.setBackend(backendAddr, backendWithCapabilities("IMAP4rev1 X-TWO"))
		<-time.After(1100 * time.Millisecond)
		s = proxy.backendStats(backendAddr)
		if !s.Up || s.Changes != 2 || s.ProbeError != nil || !proxy.backends.Healthy() {
			t.Errorf("backend up again: got stats %+v", s)
		}
		if got := *proxy.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"IMAP4rev1", "X-TWO"}) {
			t.Errorf("got capabilities %v, want IMAP4rev1 and X-TWO", got)
		}
		stop()
		before = proxy.dialCount(backendAddr)
		<-time.After(time.Minute)
		if n := proxy.dialCount(backendAddr) - before; n != 0 {
			t.Errorf("got %d probes after Watch had ended, want none", n)
		}
	})
}

// Until they are probed backends count as up, and clients are offered what every server
// has.
func TestBeforeTheFirstProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		fresh := NewBackends(dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}})
		fresh.connect = proxy.dialBackend
		proxy.backends, proxy.Backends = fresh, map[string]*Backends{"imap": fresh}
		if !fresh.Healthy() {
			t.Error("got no healthy backend")
		}
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u right")
		client.expect("a1 OK …")
	})
}

// Learn probes all backends once, and returns by the deadline.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := func(b *peer) { b.readHeader(); b.expectClosed() }
		proxy := newProxyWithTwoBackends(t, 1, backendWithCapabilities("IMAP4rev1 X-ONE"), idle)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		proxy.backends.Learn(ctx)
		if took := time.Since(start); took != 2*time.Second || proxy.dialCount(backendAddr) != 1 || proxy.dialCount(otherAddr) != 1 {
			t.Errorf("took %v with dials %v, want 2s and one of each backend", took, proxy.dials)
		}
		if got := *proxy.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"IMAP4rev1", "X-ONE"}) || !proxy.backendStats(otherAddr).Up {
			t.Errorf("got capabilities %v, want IMAP4rev1 and X-ONE", got)
		}
	})
}

// A backend that fails a login is probed soon.
func TestFailedBackendIsProbedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		proxy.watchBackends()
		proxy.setBackend(backendAddr, nil)
		ln := proxy.listen(imapListener)
		client := proxy.connect(clientAddr, ln)
		client.send("a1 LOGIN u right")
		client.expect("* OK …", "a1 "+imapBusy)
		proxy.setBackend(backendAddr, fake.imap)
		start := time.Now()
		for !proxy.backends.Healthy() {
			<-time.After(100 * time.Millisecond)
		}
		if took := time.Since(start); took > 2*probePause {
			t.Errorf("up again after %v, want at most %v", took, 2*probePause)
		}
	})
}

// A backend that accepts connections and does not greet is down.
func TestProbeNeedsGreeting(t *testing.T) {
	for name, play := range map[string]func(*peer){
		"nothing":  func(b *peer) { b.readHeader(); b.expectClosed() },
		"nonsense": func(b *peer) { b.send("+OK this is POP3") },
		"a close":  func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, play)
				proxy.watchBackends()
				<-time.After(probeMisses * (greetingTimeout + probePause))
				synctest.Wait()
				if s := proxy.backendStats(backendAddr); s.Up || s.ProbeError == nil || s.Dials[DialOK] != 0 {
					t.Errorf("got stats %+v", s)
				}
			})
		})
	}
}

// TestHeaderErrors: a backend that closes behind the PROXY header without a word may not
// accept the header. Other failures, and those without a header, have another cause.
func TestHeaderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		play    func(*peer)
		version ProxyVersion
		want    bool
	}{
		"closes":               {func(b *peer) { b.readHeader() }, ProxyV2, true},
		"resets":               {func(b *peer) { b.Conn.(*memConn).reset() }, ProxyV2, true},
		"closes, v1":           {func(b *peer) { b.readHeader() }, ProxyV1, true},
		"closes, no header":    {func(*peer) {}, ProxyOff, false},
		"closes within a line": {func(b *peer) { b.readHeader(); b.Write([]byte("* O")) }, ProxyV2, false},
		"sends BYE":            {func(b *peer) { b.readHeader(); b.send("* BYE full") }, ProxyV2, false},
		"does not greet":       {func(b *peer) { b.readHeader(); b.expectClosed() }, ProxyV2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, c.play)
				proxy.backends.config.Proxy = c.version
				proxy.backends.Learn(t.Context())
				err := proxy.backendStats(backendAddr).ProbeError
				closed, got := errors.AsType[*HeaderError](err)
				if err == nil || got != c.want {
					t.Fatalf("got %v, want a HeaderError: %t", err, c.want)
				}
				if got && (!closed.Gateway.IsValid() || !strings.Contains(closed.Remedy(), "haproxy_trusted_networks must contain "+closed.Gateway.String())) {
					t.Errorf("got the remedy %q for %v", closed.Remedy(), closed.Gateway)
				}
			})
		})
	}
}

// One probe that fails does not take a backend down, two in a row do.
func TestOneFailedProbeIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) { // fails every other time
			if probes++; probes%2 == 0 {
				backendWithCapabilities("IMAP4rev1")(b)
			}
		})
		proxy.watchBackends()
		<-time.After(time.Minute)
		if s := proxy.backendStats(backendAddr); !s.Up || s.Changes != 0 || s.Dials[DialReset] < 5 || s.Dials[DialOK] < 5 {
			t.Errorf("got stats %+v", s)
		}
		proxy.setBackend(backendAddr, func(*peer) {})
		<-time.After(time.Minute)
		if s := proxy.backendStats(backendAddr); s.Up || s.Changes != 1 {
			t.Errorf("got stats %+v", s)
		}
	})
}

// A probe that the end of Watch interrupts does not count as failed.
func TestWatchEndsDuringProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) { b.readHeader(); b.expectClosed() })
		stop := proxy.watchBackends()
		start := time.Now()
		stop()
		if s := proxy.backendStats(backendAddr); !s.Up || s.ProbeError != nil || time.Since(start) != greetingTimeout {
			t.Errorf("took %v with stats %+v, want %v and up", time.Since(start), s, greetingTimeout)
		}
	})
}

// Clients are offered the capabilities that all backends have which are up.
func TestCapabilitiesAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyWithTwoBackends(t, 1, backendWithCapabilities("IMAP4rev1 A B C AUTH=PLAIN"), backendWithCapabilities("IMAP4rev1 C B D AUTH=PLAIN AUTH=LOGIN"))
		proxy.watchBackends()
		offered := func(want ...string) {
			t.Helper()
			if got := []string(*proxy.backends.offered.Load()); !reflect.DeepEqual(got, want) {
				t.Errorf("got capabilities %v, want %v", got, want)
			}
		}
		offered("IMAP4rev1", "B", "C", "AUTH=PLAIN")
		proxy.setBackend(otherAddr, nil)
		<-time.After(21 * time.Second)
		offered("IMAP4rev1", "A", "B", "C", "AUTH=PLAIN")
		client := proxy.connect(clientAddr, proxy.listen(imapListener))
		client.expect("* OK [CAPABILITY IMAP4rev1 A B C STARTTLS AUTH=PLAIN] Ready.")
		proxy.setBackend(backendAddr, nil)
		<-time.After(21 * time.Second)
		offered("IMAP4rev1", "A", "B", "C", "AUTH=PLAIN") // the last offer remains
		proxy.setBackend(otherAddr, backendWithCapabilities("IMAP4rev1 X AUTH=PLAIN"))
		<-time.After(2 * time.Second)
		offered("IMAP4rev1", "X", "AUTH=PLAIN")
	})
}

func TestProbePOP3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.POP3{}, func(b *peer) {
			b.readHeader()
			b.send("+OK ready")
			b.expect("CAPA")
			b.send("+OK", "TOP", "SASL PLAIN", ".")
			b.expectClosed()
		})
		proxy.watchBackends()
		if got := *proxy.backends.offered.Load(); !reflect.DeepEqual(got, dialogue.Capabilities{"TOP", "SASL PLAIN"}) {
			t.Errorf("got capabilities %v, want TOP and SASL PLAIN", got)
		}
		if s := proxy.backendStats(backendAddr); !s.Up || s.DialTime != 0 || s.Dials[DialOK] != 1 {
			t.Errorf("got stats %+v", s)
		}
	})
}

// A probe announces a client in TLS at the proxy's own address, or the backend would
// hide what needs TLS.
func TestProbeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan announcedClient, 1)
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			seen <- parseHeader(t, b.header)
		})
		proxy.watchBackends()
		want := announcedClient{
			client: "192.0.2.1:50000", local: backendAddr, tls: true,
			version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256",
		}
		if got := <-seen; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

// Probes take no login slots and do not wait for them.
func TestProbesNeedNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{delay: 25 * time.Second}
		proxy := newTestProxyWith(t, dialogue.IMAP{}, BackendConfig{Addrs: []string{backendAddr}}, map[string]func(*peer){backendAddr: fake.imap})
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u wrong")
		synctest.Wait()
		proxy.watchBackends()
		<-time.After(20 * time.Second)
		synctest.Wait()
		if s := proxy.backendStats(backendAddr); s.Dials[DialOK] != 4 || s.Logins != 1 {
			t.Errorf("got stats %+v, want Logins %v", s, 1)
		}
		client.expect("a1 NO …")
	})
}

func TestDialTimeIsSummed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			<-time.After(time.Second)
			b.send(imapHello)
			b.expectClosed()
		})
		proxy.watchBackends()
		<-time.After(15 * time.Second)
		if s := proxy.backendStats(backendAddr); s.DialTime != 2*time.Second || s.Dials[DialOK] != 2 {
			t.Errorf("got stats %+v", s)
		}
	})
}
