package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// two returns a gate with two backends.
func two(t *testing.T, logins int, one, other func(*peer)) *gate {
	c := BackendConfig{Addrs: []string{backendAddr, otherAddr}, Logins: logins}
	return newGateOf(t, dialogue.IMAP{}, c, map[string]func(*peer){backendAddr: one, otherAddr: other})
}

// stats returns those of one backend.
func (g *gate) stats(addr string) BackendStats {
	g.t.Helper()
	for _, s := range g.backends.Stats() {
		if s.Addr == addr {
			return s
		}
	}
	g.t.Fatalf("there is no backend %s", addr)
	return BackendStats{}
}

// TestNextBackend has one of two backends fail in every way. Nobody who logs in
// notices but by the time it takes, and it is not asked again.
func TestNextBackend(t *testing.T) {
	for name, c := range map[string]struct {
		play   func(*peer)
		took   time.Duration
		result DialResult
	}{
		"refuses":          {nil, 0, DialRefused},
		"hangs":            {func(b *peer) { b.readHeader(); b.seeBreak() }, welcomeTimeout, DialGreetingTimeout},
		"drips":            {drip, welcomeTimeout, DialGreetingTimeout},
		"talks nonsense":   {func(b *peer) { b.say("220 mail.example.org ESMTP") }, 0, DialReset},
		"says BYE":         {func(b *peer) { b.say("* BYE Too many connections.") }, 0, DialReset},
		"is logged in":     {func(b *peer) { b.say("* PREAUTH Hello.") }, 0, DialReset},
		"closes":           {func(*peer) {}, 0, DialReset},
		"resets":           {func(b *peer) { b.Conn.(*memConn).reset() }, 0, DialReset},
		"closes in a word": {func(b *peer) { b.Write([]byte("* O")) }, 0, DialReset},
		"talks for ever":   {func(b *peer) { b.Write([]byte(strings.Repeat("*", 20000))) }, 0, DialReset},
	} {
		for bad, good := range map[string]string{backendAddr: otherAddr, otherAddr: backendAddr} {
			t.Run(name+" "+bad, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := two(t, 1, (&judge{}).imap, (&judge{}).imap)
					g.play(bad, c.play)
					ln := g.open(imapDoor)
					begun := time.Now()
					for range 4 {
						p := g.from(clientAddr, ln)
						p.say("a1 LOGIN u right")
						p.hear("* OK …", "a1 OK …")
					}
					if took := time.Since(begun); took != c.took {
						t.Errorf("it took %v", took)
					}
					if n := g.dialled(bad); n != 1 || g.dialled(good) != 4 {
						t.Errorf("dialled %d and %d times", n, g.dialled(good))
					}
					s, want := g.stats(bad), [numDialResults]uint64{}
					want[c.result] = 1
					if s.Up || s.Changes != 1 || s.Dials != want || s.DialTime != 0 || s.Sessions != 0 {
						t.Errorf("stats %+v", s)
					}
					s, want = g.stats(good), [numDialResults]uint64{DialOK: 4}
					if !s.Up || s.Changes != 0 || s.Dials != want || s.Sessions != 4 || !g.backends.Healthy() {
						t.Errorf("stats %+v", s)
					}
					for _, a := range g.settled() {
						if a.Backend != good {
							t.Errorf("attempt %+v", a)
						}
					}
				})
			})
		}
	}
}

// drip never ends its greeting.
func drip(b *peer) {
	for {
		if _, err := b.Write([]byte("*")); err != nil {
			return
		}
		<-time.After(time.Second)
	}
}

func TestNoBackendIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := two(t, 1, nil, nil)
		ln := g.open(imapDoor)
		for range 3 {
			p := g.from(clientAddr, ln)
			p.say("a1 LOGIN u right")
			p.hear("* OK …", "a1 "+imapBusy)
			p.seeEnd()
		}
		if g.dialled(backendAddr) != 1 || g.dialled(otherAddr) != 1 || g.backends.Healthy() {
			t.Errorf("dialled %v", g.dials)
		}
		err := g.settled()[0].Err
		for _, why := range []string{"dial backend " + otherAddr, "refused", "no backend is up"} {
			if !strings.Contains(fmt.Sprint(err), why) {
				t.Errorf("%v says nothing of %q", err, why)
			}
		}
	})
}

// The last backend stays, unless nobody listens there: what fails may be its
// load, and must not become an outage.
func TestLastBackendStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nonsense := func(b *peer) { b.readHeader(); b.say("nonsense") }
		g := two(t, 1, nonsense, nonsense)
		ln := g.open(imapDoor)
		for range 3 {
			p := g.from(clientAddr, ln)
			p.say("a1 LOGIN u right")
			p.hear("* OK …", "a1 "+imapBusy)
			p.seeEnd()
		}
		if n := g.dialled(backendAddr) + g.dialled(otherAddr); n != 4 || !g.backends.Healthy() {
			t.Errorf("dialled %v", g.dials)
		}
		if err := g.settled()[0].Err; !strings.Contains(fmt.Sprint(err), "nonsense") {
			t.Errorf("attempt: %v", err)
		}
	})
}

func TestBackendsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := two(t, 10, (&judge{}).imap, (&judge{}).imap)
		ln := g.open(imapDoor)
		for range 10 {
			p := g.from(clientAddr, ln)
			p.say("a1 LOGIN u right")
			p.hear("* OK …", "a1 OK …")
		}
		if g.dialled(backendAddr) != 5 || g.dialled(otherAddr) != 5 {
			t.Errorf("dialled %v", g.dials)
		}
	})
}

// Logins go past a backend that has as many as it may.
func TestFullBackendIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{delay: 5 * time.Second}
		g := two(t, 2, j.imap, j.imap)
		ln := g.open(imapDoor)
		begun := time.Now()
		for range 4 {
			g.from(clientAddr, ln).say("a1 LOGIN u wrong")
			synctest.Wait()
		}
		for _, s := range g.backends.Stats() {
			if s.Logins != 2 {
				t.Errorf("%d logins at %s", s.Logins, s.Addr)
			}
		}
		p := g.from(clientAddr, ln)
		p.say("a1 LOGIN u right")
		p.hear("* OK …", "a1 OK …")
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What a client waits for before a backend has its password is bounded in all,
// however many backends fail it.
func TestAnswerIsNeverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &judge{delay: 9 * time.Second}
		slower := &judge{delay: 29 * time.Second}
		g := two(t, 1, slower.imap, slow.imap)
		ln := g.open(imapDoor)
		for range 2 {
			g.from(clientAddr, ln).say("a1 LOGIN u wrong")
			synctest.Wait()
		}
		g.play(otherAddr, nil) // 9 s from now its slot is free, but it has gone
		p := g.from(clientAddr, ln)
		p.hear("* OK …")
		begun := time.Now()
		p.say("a1 LOGIN u right")
		p.hear("a1 " + imapBusy)
		if took := time.Since(begun); took > answerMax {
			t.Errorf("it took %v", took)
		}
	})
}

// TestBackendDies has the backend break off at each step of the exchange.
func TestBackendDies(t *testing.T) {
	for name, die := range map[string]func(*peer){
		"after the greeting":  func(*peer) {},
		"after the command":   func(b *peer) { b.line() },
		"after a challenge":   func(b *peer) { b.line(); b.say("+ PDFAYj4=") },
		"after the response":  func(b *peer) { b.line(); b.say("+ PDFAYj4="); b.line() },
		"within its answer":   func(b *peer) { b.line(); b.say("+ PDFAYj4="); b.line(); b.Write([]byte("1 OK")) },
		"and talks for ever":  func(b *peer) { b.line(); b.Write([]byte(strings.Repeat("1 OK", 9000))) },
		"and talks in circle": func(b *peer) { b.line(); b.Write([]byte(strings.Repeat("* again\r\n", 90))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, func(b *peer) {
					b.readHeader()
					b.say(imapHello)
					die(b)
				})
				g.limit(strict())
				p := g.enter(imapDoor)
				p.say("a1 AUTHENTICATE CRAM-MD5", b64("u right"))
				line, _ := p.line()
				if strings.HasPrefix(line, "+") {
					line, _ = p.line()
				}
				if !strings.HasPrefix(line, "a1 "+strings.TrimSuffix(imapBusy, "…")) {
					t.Errorf("heard %q", line)
				}
				p.seeEnd()
				r := g.record()
				if a := g.settled()[0]; a.Outcome != limiter.Void || r.End != EndBackend || r.Step != StepReplay || a.Err == nil {
					t.Errorf("record %+v", r)
				}
				if n := g.charged(clientIP); n != 0 || !g.stats(backendAddr).Up {
					t.Errorf("%d tokens charged", n)
				}
			})
		})
	}
}
