package proxy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// shutdown begins a Shutdown that drains for a while, and returns how it ends.
func (g *gate) shutdown(drain time.Duration) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		ended <- g.Shutdown(ctx)
	}()
	synctest.Wait()
	return ended
}

// has demands that a channel holds a value already.
func has[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	synctest.Wait()
	select {
	case v = <-c:
	default:
		t.Error("it has not come to that yet")
	}
	return v
}

// lacks demands the contrary.
func lacks[T any](t *testing.T, c <-chan T) {
	t.Helper()
	synctest.Wait()
	if len(c) > 0 {
		t.Errorf("it has come to %v", <-c)
	}
}

// goodbyes are how the gate takes leave of those before login.
var goodbyes = map[string]string{
	"imap": "* BYE Server is shutting down, please try again later.",
	"pop3": "-ERR [SYS/TEMP] Server is shutting down, please try again later.",
}

func TestShutdownTakesLeave(t *testing.T) {
	for name, c := range map[string]struct {
		says string // after the greeting
		room Step
	}{
		"in the dialogue":   {"", StepDialogue},
		"within a command":  {"a1 LOG", StepDialogue},
		"within a literal":  {"a1 LOGIN {5+}\r\nab", StepDialogue},
		"within a response": {"a1 AUTHENTICATE PLAIN\r\nAAA", StepDialogue},
	} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, d Listener) {
				g := newGate(t, d.Protocol, nil)
				p := g.enter(d)
				if d.Protocol.Name() == "pop3" {
					c.says = strings.NewReplacer("a1 AUTHENTICATE", "AUTH", "a1 LOGIN {5+}\r\nab", "USER", "a1 LOG", "US").Replace(c.says)
				}
				p.Write([]byte(c.says))
				synctest.Wait()
				begun := time.Now()
				ended := g.shutdown(time.Hour)
				if strings.Contains(c.says, "AUTH") {
					p.hear("+ ")
				}
				p.hear(goodbyes[d.Protocol.Name()])
				p.seeEnd()
				if err := has(t, ended); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if r := g.record(); r.End != EndShutdown || r.Step != c.room || time.Since(begun) != 0 {
					t.Errorf("after %v: record %+v", time.Since(begun), r)
				}
			})
		})
	}
}

// Who waits in the tarpit has tried nothing yet.
func TestShutdownEmptiesTheTarpit(t *testing.T) {
	for name, more := range map[string]string{"silent": "", "with a full buffer": strings.Repeat("x", 20_000)} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, d Listener) {
				j := &judge{}
				g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
				g.limit(fiveSeconds())
				occupy(g)
				p := g.enter(d)
				tryLogin(p, d, "right")
				p.Write([]byte(more))
				synctest.Wait()
				ended := g.shutdown(time.Hour)
				if more == "" { // else what was not read makes TCP break off
					p.hear(goodbyes[d.Protocol.Name()])
					p.seeEnd()
				}
				if err := has(t, ended); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				<-time.After(time.Minute)
				if a := g.settled(); len(a) != 1 || a[0].Outcome != limiter.Void || g.charged(clientIP) != 0 || len(j.judged()) != 0 {
					t.Errorf("attempts %+v", a)
				}
				if r := g.record(); r.End != EndShutdown || r.Step != StepTarpit {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Of those who have not come as far as the greeting nobody takes leave.
func TestShutdownBeforeTheGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		g.ProxyFrom = append(g.ProxyFrom, limiter.Source(ap(balancer).Addr()))
		clear, secure := g.open(imapDoor), g.open(imapsDoor)
		headless, helloless := g.from(balancer, clear), g.from(clientAddr, secure)
		begun := g.from(clientAddr, secure)
		begun.Write([]byte("\x16\x03\x01\x02\x00\x01"))
		synctest.Wait()
		ended := g.shutdown(time.Hour)
		headless.seeEnd()
		helloless.seeEnd()
		begun.seeEnd()
		if err := has(t, ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for _, r := range g.allRecords() {
			if r.End != EndShutdown {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// A password that is on its way to a backend is answered first.
func TestShutdownWaitsForReplay(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		g := newGate(t, d.Protocol, (&judge{delay: 3 * time.Second}).play(d.Protocol.Name()))
		g.limit(strict())
		p := g.enter(d)
		tryLogin(p, d, "wrong")
		synctest.Wait()
		begun := time.Now()
		ended := g.shutdown(time.Hour)
		p.hearNothing(2 * time.Second)
		lacks(t, ended)
		p.hear(map[string]string{"imap": "a1 NO …", "pop3": "-ERR [AUTH] …"}[d.Protocol.Name()])
		p.hear(goodbyes[d.Protocol.Name()])
		p.seeEnd()
		if err := has(t, ended); err != nil || g.charged(clientIP) != 1 {
			t.Errorf("Shutdown: %v, %d tokens charged", err, g.charged(clientIP))
		}
		if r := g.record(); r.End != EndShutdown || g.settled()[0].Outcome != limiter.Denied || time.Since(begun) != 3*time.Second {
			t.Errorf("record %+v", r)
		}
	})
}

// Who logs in while the gate goes down is drained like the rest.
func TestShutdownDrains(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		slow := make(chan bool)
		g := newGate(t, d.Protocol, func(b *peer) {
			if d.TLS == Implicit { // it goes down during the dial, else during the replay
				<-slow
			}
			(&judge{opening: func() { <-slow }}).play(d.Protocol.Name())(b)
		})
		p := g.enter(d)
		tryLogin(p, d, "right")
		synctest.Wait()
		ended := g.shutdown(time.Hour)
		close(slow)
		p.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
		for range 10 {
			<-time.After(time.Minute)
			p.say("hello")
			p.hear("echo hello")
		}
		lacks(t, ended)
		p.Close()
		if err := has(t, ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if r := g.record(); r.End != EndClient || r.Step != StepRelay {
			t.Errorf("record %+v", r)
		}
	})
}

// The drain has an end. It is one in good order for a client in TLS.
func TestShutdownCutsInTheEnd(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		cut := make(chan time.Time, 1)
		g, p := relayed(t, d, func(b *peer) {
			b.seeBreak()
			cut <- time.Now()
		})
		begun := time.Now()
		ended := g.shutdown(time.Minute)
		p.hearNothing(time.Minute - time.Second)
		lacks(t, ended)
		p.seeEnd()
		if err := has(t, ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := (<-cut).Sub(begun); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		if r := g.record(); r.End != EndShutdown || r.Step != StepRelay {
			t.Errorf("record %+v", r)
		}
	})
}

func TestShutdownOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(imapDoor)
		synctest.Wait()
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown again: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		near, _ := ln.dial(clientAddr)
		newClient(t, near).seeEnd()
		late := newMemListener(gateAddr)
		if err := g.Serve(late, imapDoor); !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if _, err := late.Accept(); err == nil {
			t.Error("the listener is still open")
		}
		if err := new(Server).Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown of an unused server: %v", err)
		}
	})
}
