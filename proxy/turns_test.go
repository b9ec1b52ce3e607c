package proxy

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// narrow is a policy under which one login a second reaches a backend.
func narrow() limiter.Policy {
	return limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: time.Second}, KnownTTL: time.Hour}
}

// The lane is for the known, and then for one network after the other. Who leaves
// gives up its turn, and others come the sooner.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		g := newGate(t, dialogue.IMAP{}, j.imap)
		g.limit(narrow())
		welcome(g, home, "u", "right")
		occupy(g)
		ln := g.open(imapDoor)
		begun := time.Now()
		var gone *peer
		for _, c := range [][2]string{
			{"198.51.100.1:1", "a1"}, {"198.51.100.2:1", "a2"}, {"198.51.100.3:1", "a3"}, {"192.0.2.1:1", "b1"}, {"192.0.2.1:2", "gone"}, {home, "right"},
		} {
			p := g.ask(ln, c[0], c[1])
			if c[1] == "gone" {
				gone = p
			}
		}
		gone.Close()
		synctest.Wait()
		if s, l := g.Stats(), g.Limiter.Stats(time.Now()); s.Tarpit != 5 || l.WaitKnown != 1 || l.WaitStrangers != 4 {
			t.Errorf("stats %+v, %+v", s, l)
		}
		var order []string
		for i := range 5 {
			<-time.After(time.Until(begun.Add(time.Duration(i+1) * time.Second)))
			synctest.Wait()
			order = append(order, j.judged()[i:]...)
		}
		if want := []string{"right", "a1", "b1", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("got  %q\nwant %q", order, want)
		}
	})
}

// Whose turn does not come in time is refused when that is certain.
func TestTurnTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(narrow())
		occupy(g)
		ln := g.open(imapDoor)
		begun := time.Now()
		stranger := g.ask(ln, "198.51.100.1:1", "wrong")
		for i := range 12 { // who come later and go first
			account := fmt.Sprint("u", i)
			welcome(g, home, account, "right")
			c := g.from(fmt.Sprintf("203.0.113.7:%d", 2+i), ln)
			c.say("a1 LOGIN " + account + " right")
			synctest.Wait()
		}
		stranger.hear("a1 " + imapBusy)
		if took := time.Since(begun); took != g.TarpitMax {
			t.Errorf("it took %v", took)
		}
		stranger.seeEnd()
		synctest.Wait()
		for _, a := range g.settled() {
			if want := (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}); a.Client == ap("198.51.100.1:1") && (a.Verdict != want || a.Outcome != limiter.Void || a.Gone || a.Waited != g.TarpitMax) {
				t.Errorf("attempt %+v", a)
			}
		}
	})
}

// TestCrowdInTheTarpit has 5,000 strangers from 500 addresses wait at once. The
// room takes no more, each is served or told in time, and somebody known comes in
// at once all the while.
func TestCrowdInTheTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(limiter.Policy{Global: limiter.Rate{Tokens: 100, Per: time.Second}, KnownShare: 60, KnownTTL: time.Hour})
		g.Tarpit = TarpitLimits{Source: 10, Network: 100, Total: 4000}
		for range 100 {
			occupy(g)
		}
		ln := g.open(imapDoor)
		begun := time.Now()
		var crowd []*peer
		for i := range 5000 {
			c := g.from(fmt.Sprintf("198.51.%d.%d:%d", i%50, i/50%10, i), ln)
			c.say("a1 LOGIN u wrong")
			crowd = append(crowd, c)
		}
		synctest.Wait()
		if s := g.Stats(); s.Tarpit > 4000 || s.Tarpit < 900 {
			t.Errorf("%d wait", s.Tarpit)
		}
		for i := range 20 {
			account := fmt.Sprint("known", i)
			welcome(g, home, account, "right")
			c := g.from(home, ln)
			c.hear("* OK …")
			asked := time.Now()
			c.say("a1 LOGIN " + account + " right")
			c.hear("a1 OK …")
			if took := time.Since(asked); took > 10*time.Millisecond {
				t.Errorf("somebody known waits for %v", took)
			}
			<-time.After(200 * time.Millisecond)
		}
		outcomes := map[string]int{}
		for _, c := range crowd {
			c.hear("* OK …")
			line, _ := c.line()
			outcomes[line[:len("a1 NO [UN")]]++
			c.Close()
		}
		if took := time.Since(begun); took > g.TarpitMax+time.Second || outcomes["a1 NO [AU"] < 900 || outcomes["a1 NO [AU"]+outcomes["a1 NO [UN"] != 5000 {
			t.Errorf("after %v: %v", took, outcomes)
		}
	})
}
