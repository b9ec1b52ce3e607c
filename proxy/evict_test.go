package proxy

import (
	"strings"
	"testing"
	"testing/synctest"

	"postern/limiter"
)

// Whom a backend is judging when it is evicted, or is about to, is judged to the
// end.
func TestEvictedFromReplay(t *testing.T) {
	for name, want := range map[string]limiter.Outcome{
		"replay wrong": limiter.Denied, "replay right": limiter.Accepted, "dial wrong": limiter.Denied, "dial right": limiter.Accepted,
	} {
		room, password, _ := strings.Cut(name, " ")
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := make(chan bool)
				j := &judge{opening: func() { <-slow }}
				g, ln := crowded(t, 1, j)
				if room == "dial" {
					g.play(backendAddr, func(b *peer) {
						<-slow
						j.imap(b)
					})
				}
				p := g.arrives(ln, clientAddr, "* OK …")
				p.say("a1 LOGIN u " + password)
				synctest.Wait()
				g.arrives(ln, "198.51.100.1:1", "* OK …").Close()
				close(slow)
				p.hear("a1 …")
				p.seeEnd()
				synctest.Wait()
				charged := map[limiter.Outcome]int{limiter.Denied: 1}[want]
				if a := g.settled(); len(a) != 1 || a[0].Outcome != want || g.charged(clientIP) != charged {
					t.Errorf("attempts %+v, %d tokens charged", a, g.charged(clientIP))
				}
				if s := g.Stats(); s.Relay != 0 || s.Open != 0 {
					t.Errorf("stats %+v", s)
				}
				for _, r := range g.allRecords() {
					if r.Client.String() == clientAddr && r.End != EndEvicted {
						t.Errorf("record %+v", r)
					}
				}
			})
		})
	}
}

// Who has been told to go, and has not gone yet, is not told again: the next
// newcomer needs another's place.
func TestEvictedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan bool)
		g, ln := crowded(t, 2, &judge{opening: func() { <-slow }})
		first := g.arrives(ln, clientAddr, "* OK …")
		first.say("a1 LOGIN u wrong")
		synctest.Wait()
		second := g.arrives(ln, "198.51.100.1:1", "* OK …")
		g.arrives(ln, "198.51.100.2:1", "* OK …") // in the place of the first, who is being judged
		g.arrives(ln, "198.51.100.3:1", "* OK …")
		second.seeEnd()
		close(slow)
		first.hear("a1 NO …")
		first.seeEnd()
	})
}
