package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A session in which nothing moves ends for both sides.
func TestSilence(t *testing.T) {
	eachDoor(t, func(t *testing.T, d Listener) {
		ended := make(chan time.Time, 1)
		g, c := relayed(t, d, func(b *peer) {
			b.hear("hello")
			b.SetReadDeadline(time.Time{})
			_, err := b.r.ReadString('\n')
			if ended <- time.Now(); err == nil {
				t.Error("the backend hears more")
			}
		})
		<-time.After(30 * time.Minute)
		c.say("hello")
		begun := time.Now()
		<-time.After(g.Timeouts.Idle - time.Second)
		c.hearNothing(time.Second - time.Millisecond)
		c.seeEnd()
		if took := time.Since(begun); took != g.Timeouts.Idle || (<-ended).Sub(begun) != took {
			t.Errorf("it ended after %v", took)
		}
		if r := g.record(); r.End != EndTimeout || r.Step != StepRelay || r.Err == nil || r.FromClient != 7 {
			t.Errorf("record %+v", r)
		}
	})
}

// Whatever moves in one direction keeps the session.
func TestOneVoiceBreaksTheSilence(t *testing.T) {
	const every = 59 * time.Minute // of 60
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, c := relayed(t, imapsDoor, func(b *peer) {
				for {
					b.SetReadDeadline(time.Time{})
					if line, err := b.r.ReadString('\n'); err != nil || line == "END\r\n" {
						b.say("BYE")
						return
					}
				}
			})
			for range 24 {
				c.say("NOOP")
				<-time.After(every)
			}
			c.say("END")
			c.hear("BYE")
		})
	})
	t.Run("backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, c := relayed(t, imapsDoor, func(b *peer) {
				for range 24 {
					<-time.After(every)
					b.say("* OK Still here")
				}
				b.say("BYE")
			})
			for range 24 {
				<-time.After(every)
				c.hear("* OK …")
			}
			c.hear("BYE")
		})
	})
}

// When one side has said its last word, the other may finish, but not halfOpenClient.
func TestLastWord(t *testing.T) {
	for name, c := range map[string]struct {
		door            Listener
		client, backend func(*peer)
		most            time.Duration // where the idle limit is above it
		end             End
	}{
		"of the backend in TLS": {imapsDoor, func(*peer) {}, func(b *peer) { b.halfClose(); b.seeBreak() }, halfOpenClient, EndBackend},
		"of the client in TLS":  {imapsDoor, (*peer).halfClose, func(b *peer) { b.seeEnd(); <-time.After(time.Hour) }, halfOpenBackend, EndClient},
		"of the client":         {imapDoor, (*peer).halfClose, func(b *peer) { b.seeEnd(); <-time.After(time.Hour) }, halfOpenBackend, EndClient},
		"of the backend":        {imapDoor, func(*peer) {}, func(b *peer) { b.halfClose(); b.seeBreak() }, halfOpenClient, EndBackend},
	} {
		for idle, want := range map[time.Duration]time.Duration{time.Hour: c.most, 3 * time.Second: 3 * time.Second} {
			t.Run(name+" with "+idle.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g, p := relayedFor(t, c.door, idle, func(b *peer) {
						b.hear("hello")
						c.backend(b)
					})
					p.say("hello")
					begun := time.Now()
					c.client(p)
					var took time.Duration
					for took == 0 {
						<-time.After(time.Second)
						if synctest.Wait(); g.Stats().Open == 0 {
							took = time.Since(begun)
						}
					}
					if took != want {
						t.Errorf("it ended after %v, want %v", took, want)
					}
					if r := g.record(); r.End != c.end {
						t.Errorf("end %v", r.End)
					}
				})
			})
		}
	}
}

// A peer that reads nothing while the other talks does not outlast the limit.
func TestBlockedWrite(t *testing.T) {
	flood := func(p *peer) {
		p.SetWriteDeadline(time.Time{})
		for {
			if _, err := p.Write([]byte(strings.Repeat("x", 10_000))); err != nil {
				return
			}
		}
	}
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run("to the client "+d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _ := relayed(t, d, flood)
				begun := time.Now()
				<-time.After(g.Timeouts.Idle + lastWriteTimeout + time.Second)
				if s := g.Stats(); s.Open != 0 {
					t.Errorf("after %v: %+v", time.Since(begun), s)
				}
				if r := g.record(); r.End != EndTimeout || r.ToClient < 10_000 || r.Duration < g.Timeouts.Idle {
					t.Errorf("record %+v", r)
				}
			})
		})
		t.Run("to the backend "+d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan bool)
				g, c := relayed(t, d, func(*peer) { <-done })
				go flood(c)
				<-time.After(g.Timeouts.Idle + lastWriteTimeout + time.Second)
				if s := g.Stats(); s.Open != 0 {
					t.Errorf("stats %+v", s)
				}
				close(done)
				if r := g.record(); r.End != EndTimeout || r.FromClient < 10_000 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// One that reads slowly is no such peer.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := strings.Repeat("mail", 100_000)
		_, c := relayedFor(t, imapsDoor, 5*time.Minute, func(b *peer) {
			b.say(mail)
			b.halfClose()
			b.seeBreak()
		})
		c.SetReadDeadline(time.Time{})
		heard, buf := 0, make([]byte, 8000)
		for heard < len(mail)+2 {
			n, err := c.r.Read(buf)
			if heard += n; err != nil {
				t.Fatalf("after %d octets: %v", heard, err)
			}
			<-time.After(2 * time.Second)
		}
		c.seeEnd()
	})
}
