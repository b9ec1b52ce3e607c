package proxy

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// TestClose has sessions in every room, and ends them all.
func TestClose(t *testing.T) {
	hang := func(b *peer) { b.readHeader(); b.seeBreak() }
	for name, c := range map[string]struct {
		door   Listener
		play   func(*peer)
		policy limiter.Policy
		says   string
		room   Step
		within time.Duration
	}{
		"TLS":      {imapsDoor, nil, limiter.Policy{}, "", StepTLS, 0},
		"dialogue": {imapDoor, nil, limiter.Policy{}, "", StepDialogue, 0},
		"tarpit":   {imapDoor, nil, fiveSeconds(), "a1 LOGIN u wrong", StepTarpit, 0},
		"dial":     {imapDoor, hang, limiter.Policy{}, "a1 LOGIN u wrong", StepDial, welcomeTimeout},
		"replay":   {imapDoor, (&judge{delay: 20 * time.Second}).imap, limiter.Policy{}, "a1 LOGIN u wrong", StepReplay, 0},
		"exchange": {imapDoor, (&judge{}).imap, limiter.Policy{}, "a1 AUTHENTICATE CRAM-MD5", StepReplay, 0},
		"relay":    {imapDoor, (&judge{}).imap, limiter.Policy{}, "a1 LOGIN u right", StepRelay, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, c.play)
				g.limit(c.policy)
				occupy(g)
				p := g.from(clientAddr, g.open(c.door))
				if c.says != "" {
					p.say(c.says)
				}
				synctest.Wait()
				begun := time.Now()
				g.Close()
				if took := time.Since(begun); took > c.within {
					t.Errorf("it took %v", took)
				}
				for err := error(nil); err == nil; {
					_, err = p.line()
				}
				if r := g.record(); r.End != EndShutdown || r.Step != c.room {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A backend that greets when the server has closed gets no password.
func TestCloseWhileDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{opening: func() { <-time.After(time.Second) }}
		g := newGate(t, dialogue.IMAP{}, func(b *peer) {
			b.readHeader()
			<-time.After(time.Second)
			b.say(imapHello)
			j.converse(b, "imap")
		})
		g.limit(strict())
		p := g.enter(imapDoor)
		p.say("a1 LOGIN u wrong")
		synctest.Wait()
		begun := time.Now()
		g.Close()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %v", took)
		}
		if a := g.settled(); a[0].Outcome != limiter.Void || g.charged(clientIP) != 0 || len(j.judged()) != 0 {
			t.Errorf("attempts %+v", a)
		}
	})
}

// A connection that arrives as the server closes is closed.
func TestCloseMeetsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		g.init()
		near, far := newMemPair(clientAddr, gateAddr)
		g.Close()
		if g.accept(far, &imapDoor) {
			t.Error("it was accepted")
		}
		newClient(t, near).seeEnd()
	})
}

// lateListener hands out one more connection after it was closed, as a kernel may.
type lateListener struct {
	*memListener
	last net.Conn
}

func (l *lateListener) Accept() (net.Conn, error) {
	conn, err := l.memListener.Accept()
	if err != nil && l.last != nil {
		conn, l.last = l.last, nil
		return conn, nil
	}
	return conn, err
}

func TestServeEndsWithALateConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		near, far := newMemPair(clientAddr, gateAddr)
		served := make(chan error, 1)
		go func() { served <- g.Serve(&lateListener{newMemListener(gateAddr), far}, imapDoor) }()
		synctest.Wait()
		g.Close()
		if err := has(t, served); err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		newClient(t, near).seeEnd()
	})
}

// A connection without an IP address is one all the same.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, in(func(b *peer) { b.say("* BYE") }))
		g.init()
		near, far := net.Pipe()
		if !g.accept(far, &imapDoor) {
			t.Fatal("it was not accepted")
		}
		p := newClient(t, near)
		p.hear("* OK …")
		p.say("a1 LOGIN u right")
		p.hear("a1 OK …", "* BYE")
		p.seeEnd() // at once: a pipe has no half-close
		if r := g.record(); r.Client.IsValid() || r.Local.IsValid() || r.End != EndBackend || r.Duration != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

// Several listeners share a server, and end with it.
func TestServeOnSeveralListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		one, other := g.open(imapDoor), g.open(imapsDoor)
		g.from(clientAddr, one).hear("* OK …")
		g.greeted(g.from(clientAddr, other), imapsDoor)
		if s := g.Stats(); s.Open != 2 {
			t.Errorf("stats %+v", s)
		}
		for _, r := range g.allRecords() {
			if r.Listener != "imap" && r.Listener != "imaps" {
				t.Errorf("record %+v", r)
			}
		}
	})
}
