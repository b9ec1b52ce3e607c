package proxy

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Close ends sessions in every step.
func TestCloseInEveryStep(t *testing.T) {
	hang := func(b *peer) { b.readHeader(); b.expectClosed() }
	for name, c := range map[string]struct {
		listener Listener
		play     func(*peer)
		policy   limiter.Policy
		sends    string
		step     Step
		within   time.Duration
	}{
		"TLS":      {imapsListener, nil, limiter.Policy{}, "", StepTLS, 0},
		"dialogue": {imapListener, nil, limiter.Policy{}, "", StepDialogue, 0},
		"tarpit":   {imapListener, nil, oneLoginPerFiveSeconds(), "a1 LOGIN u wrong", StepTarpit, 0},
		"dial":     {imapListener, hang, limiter.Policy{}, "a1 LOGIN u wrong", StepDial, greetingTimeout},
		"replay":   {imapListener, (&fakeBackend{delay: 20 * time.Second}).imap, limiter.Policy{}, "a1 LOGIN u wrong", StepReplay, 0},
		"exchange": {imapListener, (&fakeBackend{}).imap, limiter.Policy{}, "a1 AUTHENTICATE CRAM-MD5", StepReplay, 0},
		"relay":    {imapListener, (&fakeBackend{}).imap, limiter.Policy{}, "a1 LOGIN u right", StepRelay, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, c.play)
				proxy.setPolicy(c.policy)
				takeGlobalToken(proxy)
				client := proxy.connect(clientAddr, proxy.listen(c.listener))
				if c.sends != "" {
					client.send(c.sends)
				}
				synctest.Wait()
				start := time.Now()
				proxy.Close()
				if took := time.Since(start); took > c.within {
					t.Errorf("took %v, want at most %v", took, c.within)
				}
				for err := error(nil); err == nil; {
					_, err = client.readLine()
				}
				if r := proxy.finalRecord(); r.End != EndShutdown || r.Step != c.step {
					t.Errorf("got record %+v, want End %v, Step %v", r, EndShutdown, c.step)
				}
			})
		})
	}
}

// A backend that greets after Close gets no password.
func TestCloseDuringDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{onGreeted: func() { <-time.After(time.Second) }}
		proxy := newTestProxy(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			<-time.After(time.Second)
			b.send(imapHello)
			fake.serveLogin(b, "imap")
		})
		proxy.setPolicy(sourceRule())
		client := proxy.connectGreeted(imapListener)
		client.send("a1 LOGIN u wrong")
		synctest.Wait()
		start := time.Now()
		proxy.Close()
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want %v", took, time.Second)
		}
		if a := proxy.settledAttempts(); a[0].Outcome != limiter.Void || proxy.charged(clientIP) != 0 || len(fake.checked()) != 0 {
			t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
		}
	})
}

// When Close returns all records have been handed over.
func TestCloseWaitsForRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		var records atomic.Int32
		proxy.Done = func(Record) {
			<-time.After(time.Millisecond)
			records.Add(1)
		}
		proxy.connectGreeted(imapListener)
		proxy.Close()
		if n := records.Load(); n != 1 {
			t.Errorf("got %d records when Close returned, want 1", n)
		}
		<-time.After(time.Second)
	})
}
