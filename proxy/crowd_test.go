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

// crowded returns a gate that holds few connections.
func crowded(t *testing.T, most int, j *judge) (*gate, *memListener) {
	g := newGate(t, dialogue.IMAP{}, j.imap)
	p := strict()
	p.KnownTTL = time.Hour
	g.limit(p)
	g.MaxConnections = most
	return g, g.open(imapDoor)
}

// arrives returns a client that has been greeted, or turned away.
func (g *gate) arrives(ln *memListener, addr, hears string) *peer {
	g.t.Helper()
	p := g.from(addr, ln)
	p.hear(hears)
	return p
}

// login takes a greeted client in.
func (p *peer) login() {
	p.t.Helper()
	p.say("a1 LOGIN u right")
	p.hear("a1 OK …")
	synctest.Wait()
}

// Those who have waited longest before login make room, one for each newcomer.
func TestNewcomersFindRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 3, &judge{})
		var all []*peer
		for i := range 10 {
			all = append(all, g.arrives(ln, fmt.Sprintf("203.0.113.%d:1", i+1), "* OK …"))
			synctest.Wait()
			if n := g.Stats().Open; n > 3 {
				t.Errorf("%d are open", n)
			}
			if i >= 3 {
				all[i-3].seeEnd()
			}
		}
		evicted := 0
		for _, p := range all[7:] {
			p.Close()
		}
		for _, r := range g.allRecords() {
			if r.End == EndEvicted {
				evicted++
			}
			if r.Verdict.Rule != limiter.RuleNone || r.Step != StepDialogue {
				t.Errorf("record %+v", r)
			}
		}
		if evicted != 7 {
			t.Errorf("%d were evicted", evicted)
		}
	})
}

// A source that a login was accepted from belongs here: its others go last.
func TestWhoBelongsGoesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 4, &judge{})
		g.arrives(ln, "203.0.113.7:1", "* OK …").login()
		oldest := g.arrives(ln, "203.0.113.7:2", "* OK …")
		stranger := g.arrives(ln, "198.51.100.1:1", "* OK …")
		second := g.arrives(ln, "203.0.113.7:3", "* OK …")
		g.arrives(ln, "203.0.113.7:4", "* OK …")
		stranger.seeEnd()
		oldest.hearNothing(time.Second)
		g.arrives(ln, "203.0.113.7:5", "* OK …")
		oldest.seeEnd() // only who belong are left
		second.hearNothing(time.Second)
	})
}

// The search for a stranger is bounded: it is made with all doors waiting.
func TestSearchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, evictScan+2, &judge{})
		g.arrives(ln, "203.0.113.7:1", "* OK …").login()
		oldest := g.arrives(ln, "203.0.113.7:2", "* OK …")
		for range evictScan - 1 {
			g.arrives(ln, "203.0.113.7:3", "* OK …")
		}
		stranger := g.arrives(ln, "198.51.100.1:1", "* OK …")
		g.arrives(ln, "198.51.100.2:1", "* OK …")
		oldest.seeEnd()
		stranger.hearNothing(time.Second)
		g.arrives(ln, "198.51.100.3:1", "* OK …") // now it is the last that is looked at
		g.arrives(ln, "198.51.100.4:1", "* OK …")
		stranger.seeEnd()
	})
}

// With everybody logged in it is the newcomer who goes, and is told so where that
// is cheap.
func TestNobodyMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 2, &judge{})
		secure := g.open(imapsDoor)
		g.arrives(ln, "203.0.113.7:1", "* OK …").login()
		last := g.arrives(ln, "203.0.113.7:2", "* OK …")
		last.login()
		g.arrives(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busy).seeEnd()
		g.from("198.51.100.1:2", secure).seeAlert()
		synctest.Wait()
		g.mu.Lock()
		for _, r := range g.records {
			if want := (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleMaxConnections}); r.Verdict != want || r.End != EndRefused || r.Step != StepConnect {
				t.Errorf("record %+v", r)
			}
		}
		if len(g.records) != 2 {
			t.Errorf("%d records", len(g.records))
		}
		g.mu.Unlock()
		last.Close()
		synctest.Wait()
		g.arrives(ln, "198.51.100.1:3", "* OK …")
	})
}

// One who has been turned away, and has not gone yet, makes room for nobody.
func TestWhoIsTurnedAwayMakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 1, &judge{})
		g.ProxyFrom = append(g.ProxyFrom, limiter.Source(ap(balancer).Addr()))
		g.arrives(ln, "203.0.113.7:1", "* OK …").login()
		g.from(balancer, ln) // which takes its time over the header
		synctest.Wait()
		g.arrives(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busy).seeEnd()
	})
}

// One who has not even said who it is goes like the rest.
func TestWhoHasNotArrivedMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 2, &judge{})
		g.ProxyFrom = append(g.ProxyFrom, limiter.Source(ap(balancer).Addr()))
		silent := g.from(balancer, ln)
		second := g.arrives(ln, "198.51.100.1:1", "* OK …")
		g.arrives(ln, "198.51.100.2:1", "* OK …")
		silent.seeEnd()
		second.hearNothing(time.Second)
	})
}

// Connections before login take one descriptor each and sessions two, and any mix
// that fits is let in.
func TestDescriptorsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 8, &judge{})
		g.MaxDescriptors = 8
		var all []*peer
		arrive := func(stays int) {
			t.Helper()
			all = append(all, g.arrives(ln, fmt.Sprintf("203.0.%d.1:1", len(all)), "* OK …"))
			synctest.Wait()
			if n := g.Stats().Open; n != stays {
				t.Errorf("%d are open, %d fit", n, stays)
			}
		}
		login := func(who, stays, most int) {
			t.Helper()
			all[who].login()
			if s := g.Stats(); s.Open != stays || s.MaxConnections != most {
				t.Errorf("%d of %d are open, %d of %d fit", s.Open, s.MaxConnections, stays, most)
			}
		}
		for i := range 7 {
			arrive(i + 1)
		}
		login(6, 7, 7) // with its second descriptor all are taken
		login(5, 6, 6) // for which the first leaves
		all[0].seeEnd()
		arrive(6) // for which the second leaves
		all[1].seeEnd()
		login(4, 5, 5)
		login(7, 4, 4) // nobody is left before login
		all[2].seeEnd()
		all[3].seeEnd()
		g.arrives(ln, "198.51.100.1:1", "* BYE [UNAVAILABLE] "+busy).seeEnd()
		all[4].Close()
		synctest.Wait()
		arrive(4)
		arrive(5)
		login(8, 4, 4)
		all[9].seeEnd()
	})
}

// Who is evicted from the tarpit has tried nothing, and goes at once.
func TestEvictedFromTheTarpit(t *testing.T) {
	for name, more := range map[string]string{"silent": "", "with a full buffer": strings.Repeat("x", 20_000)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				g := newGate(t, dialogue.IMAP{}, j.imap)
				g.limit(fiveSeconds())
				g.MaxConnections = 1
				occupy(g)
				ln := g.open(imapDoor)
				p := g.arrives(ln, clientAddr, "* OK …")
				p.say("a1 LOGIN u wrong")
				p.Write([]byte(more))
				synctest.Wait()
				g.arrives(ln, "198.51.100.1:1", "* OK …")
				synctest.Wait()
				if s := g.Stats(); s.Open != 1 || s.Tarpit != 0 {
					t.Errorf("stats %+v", s)
				}
				p.seeBreak()
				<-time.After(time.Minute)
				if a := g.settled(); len(a) != 1 || a[0].Outcome != limiter.Void || len(j.judged()) != 0 || g.charged(clientIP) != 0 {
					t.Errorf("attempts %+v", a)
				}
			})
		})
	}
}

func TestNoLimitOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, ln := crowded(t, 0, &judge{})
		for range 300 {
			g.arrives(ln, clientAddr, "* OK …")
		}
		if s := g.Stats(); s.Open != 300 || s.MaxConnections != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}
