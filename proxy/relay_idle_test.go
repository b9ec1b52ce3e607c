package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A session that is idle for too long ends for both sides.
func TestIdleSessionEnds(t *testing.T) {
	forEachListener(t, func(t *testing.T, l Listener) {
		ended := make(chan time.Time, 1)
		proxy, client := newRelayedClient(t, l, func(b *peer) {
			b.expect("hello")
			b.SetReadDeadline(time.Time{})
			_, err := b.r.ReadString('\n')
			if ended <- time.Now(); err == nil {
				t.Error("the backend got more")
			}
		})
		<-time.After(30 * time.Minute)
		client.send("hello")
		start := time.Now()
		<-time.After(proxy.Timeouts.Idle - time.Second)
		client.expectNothing(time.Second - time.Millisecond)
		client.expectEOF()
		if took := time.Since(start); took != proxy.Timeouts.Idle || (<-ended).Sub(start) != took {
			t.Errorf("ended after %v, want %v", took, proxy.Timeouts.Idle)
		}
		if r := proxy.finalRecord(); r.End != EndTimeout || r.Step != StepRelay || r.Err == nil || r.FromClient != 7 {
			t.Errorf("got record %+v, want End %v, Step %v", r, EndTimeout, StepRelay)
		}
	})
}

// Data in one direction keeps the session open.
func TestDataInOneDirectionIsNotIdle(t *testing.T) {
	const every = 59 * time.Minute // the limit is 60
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, client := newRelayedClient(t, imapsListener, func(b *peer) {
				for {
					b.SetReadDeadline(time.Time{})
					if line, err := b.r.ReadString('\n'); err != nil || line == "END\r\n" {
						b.send("BYE")
						return
					}
				}
			})
			for range 24 {
				client.send("NOOP")
				<-time.After(every)
			}
			client.send("END")
			client.expect("BYE")
		})
	})
	t.Run("backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, client := newRelayedClient(t, imapsListener, func(b *peer) {
				for range 24 {
					<-time.After(every)
					b.send("* OK Still here")
				}
				b.send("BYE")
			})
			for range 24 {
				<-time.After(every)
				client.expect("* OK …")
			}
			client.expect("BYE")
		})
	})
}

// When one side has closed its sending direction the other may go on for a limited
// time.
func TestHalfOpenSessionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		listener        Listener
		client, backend func(*peer)
		most            time.Duration // if the idle limit is longer
		end             End
	}{
		"backend closes, in TLS": {imapsListener, func(*peer) {}, func(b *peer) { b.closeWrite(); b.expectClosed() }, halfOpenClient, EndBackend},
		"client closes, in TLS":  {imapsListener, (*peer).closeWrite, func(b *peer) { b.expectEOF(); <-time.After(time.Hour) }, halfOpenBackend, EndClient},
		"client closes":          {imapListener, (*peer).closeWrite, func(b *peer) { b.expectEOF(); <-time.After(time.Hour) }, halfOpenBackend, EndClient},
		"backend closes":         {imapListener, func(*peer) {}, func(b *peer) { b.closeWrite(); b.expectClosed() }, halfOpenClient, EndBackend},
	} {
		for idle, want := range map[time.Duration]time.Duration{time.Hour: c.most, 3 * time.Second: 3 * time.Second} {
			t.Run(name+" with "+idle.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy, client := newRelayedClientWithIdle(t, c.listener, idle, func(b *peer) {
						b.expect("hello")
						c.backend(b)
					})
					client.send("hello")
					start := time.Now()
					c.client(client)
					var took time.Duration
					for took == 0 {
						<-time.After(time.Second)
						if synctest.Wait(); proxy.Stats().Open == 0 {
							took = time.Since(start)
						}
					}
					if took != want {
						t.Errorf("ended after %v, want %v", took, want)
					}
					if r := proxy.finalRecord(); r.End != c.end {
						t.Errorf("got end %v, want %v", r.End, c.end)
					}
				})
			})
		}
	}
}

// A peer that reads nothing while the other sends does not outlast the idle limit.
func TestBlockedWrite(t *testing.T) {
	flood := func(client *peer) {
		client.SetWriteDeadline(time.Time{})
		for {
			if _, err := client.Write([]byte(strings.Repeat("x", 10_000))); err != nil {
				return
			}
		}
	}
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run("to the client "+l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, _ := newRelayedClient(t, l, flood)
				start := time.Now()
				<-time.After(proxy.Timeouts.Idle + lastWriteTimeout + time.Second)
				if s := proxy.Stats(); s.Open != 0 {
					t.Errorf("after %v: got stats %+v, want no session", time.Since(start), s)
				}
				if r := proxy.finalRecord(); r.End != EndTimeout || r.ToClient < 10_000 || r.Duration < proxy.Timeouts.Idle {
					t.Errorf("got record %+v, want End %v", r, EndTimeout)
				}
			})
		})
		t.Run("to the backend "+l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan bool)
				proxy, client := newRelayedClient(t, l, func(*peer) { <-done })
				go flood(client)
				<-time.After(proxy.Timeouts.Idle + lastWriteTimeout + time.Second)
				if s := proxy.Stats(); s.Open != 0 {
					t.Errorf("got stats %+v, want Open %v", s, 0)
				}
				close(done)
				if r := proxy.finalRecord(); r.End != EndTimeout || r.FromClient < 10_000 {
					t.Errorf("got record %+v, want End %v", r, EndTimeout)
				}
			})
		})
	}
}

// A peer that reads slowly keeps its session.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := strings.Repeat("mail", 100_000)
		_, client := newRelayedClientWithIdle(t, imapsListener, 5*time.Minute, func(b *peer) {
			b.send(mail)
			b.closeWrite()
			b.expectClosed()
		})
		client.SetReadDeadline(time.Time{})
		read, buf := 0, make([]byte, 8000)
		for read < len(mail)+2 {
			n, err := client.r.Read(buf)
			if read += n; err != nil {
				t.Fatalf("after %d bytes: got %v", read, err)
			}
			<-time.After(2 * time.Second)
		}
		client.expectEOF()
	})
}
