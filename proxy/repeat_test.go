package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// all is a policy with every rule about denials, in buckets that hardly refill
// while a test lasts.
func all() limiter.Policy {
	p := strict()
	p.Network = limiter.Rate{Tokens: 100, Per: 1000 * time.Hour}
	p.Pair = limiter.Rate{Tokens: 5, Per: 1000 * time.Hour}
	p.Account = limiter.Rate{Tokens: 8, Per: 1000 * time.Hour}
	p.RepeatTTL, p.KnownTTL = time.Minute, 720*time.Hour
	return p
}

// shown are the guesses that show a password.
func shown() map[string]guess {
	all := map[string]guess{}
	for way, g := range guesses {
		if g.rounds == 0 {
			all[way] = g
		}
	}
	return all
}

// denials are the gate's own words.
var denials = map[string]string{
	"imap": "a1 NO [AUTHENTICATIONFAILED] Authentication failed.",
	"pop3": "-ERR [AUTH] Authentication failed.",
}

// TestRepeat makes each guess, and makes it again in each way there is: from the
// same source it is denied without a backend, in the words of one, and is charged
// once. Another password is judged at once, and the same one again when the time
// is over.
func TestRepeat(t *testing.T) {
	for way, first := range shown() {
		for again, second := range shown() {
			if first.door != second.door {
				continue // a door of its own has backends of its own; the limiter is the same
			}
			t.Run(way+", "+again, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &judge{delay: 2 * time.Second}
					g := newGate(t, first.door, j.play(first.door.Name()))
					g.limit(all())
					ln := g.open(Listener{Name: "clear", Protocol: first.door})
					guessAt(g, ln, first)
					for range 3 {
						guessAt(g, ln, second)
					}
					if n := g.charged(clientIP); n != 1 || len(j.judged()) != 1 {
						t.Errorf("%d tokens charged, judged %q", n, j.judged())
					}
					for _, a := range g.settled()[1:] {
						if a.Verdict.Action != limiter.Repeat || a.Verdict.Rule != limiter.RuleRepeat || a.Outcome != limiter.Denied || a.Backend != "" || a.Waited != a.Verdict.Wait {
							t.Errorf("attempt %+v", a)
						}
					}
					<-time.After(time.Minute)
					guessAt(g, ln, second)
					if n := g.charged(clientIP); n != 1 || len(j.judged()) != 2 {
						t.Errorf("after a minute: %d tokens charged, judged %q", n, j.judged())
					}
					c := g.from(clientAddr, ln)
					g.greeted(c, Listener{Protocol: first.door})
					tryLogin(c, Listener{Protocol: first.door}, "right")
					c.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[first.door.Name()])
				})
			})
		}
	}
}

// guessAt makes a guess on a connection of its own and hears its denial.
func guessAt(g *gate, ln *memListener, guess guess) {
	g.t.Helper()
	c := g.from(clientAddr, ln)
	g.greeted(c, Listener{Protocol: guess.door})
	guess.pose(c)
	c.hear(denials[guess.door.Name()])
	c.Close()
	synctest.Wait()
}

// Who leaves before he hears of it has been denied all the same, and repeats
// himself like anybody.
func TestRepeatAfterHangingUp(t *testing.T) {
	for how, escape := range escapes {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{delay: 2 * time.Second}
				g := newGate(t, dialogue.IMAP{}, j.imap)
				g.limit(all())
				ln := g.open(imapDoor)
				near, _ := ln.dial(clientAddr)
				c := newClient(t, near)
				g.greeted(c, imapDoor)
				guesses["LOGIN"].pose(c)
				escape(c, guesses["LOGIN"], near)
				<-time.After(10 * time.Second)
				guessAt(g, ln, guesses["LOGIN"])
				if n := g.charged(clientIP); n != 1 || len(j.judged()) != 1 {
					t.Errorf("%d tokens charged, judged %q", n, j.judged())
				}
			})
		})
	}
}

// A repeat is one of the tries that a connection has.
func TestRepeatsAreTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		g := newGate(t, dialogue.IMAP{}, j.imap)
		g.limit(all())
		c := g.enter(imapDoor)
		for range 3 {
			c.say("a1 LOGIN u wrong")
			c.hear(denials["imap"])
		}
		c.hear("* BYE Too many failed logins. (…")
		c.seeEnd()
		if len(j.judged()) != 1 {
			t.Errorf("judged %q", j.judged())
		}
	})
}

// What is no password is no repeat, though it is the same octet for octet: nor is
// a password of one who acts for somebody else.
func TestNoRepeat(t *testing.T) {
	for name, says := range map[string]string{
		"a token":     "a1 AUTHENTICATE XOAUTH2 " + b64("user=u\x01auth=Bearer wrong\x01\x01"),
		"a deputy":    "a1 AUTHENTICATE PLAIN " + b64("v\x00u\x00wrong"),
		"a challenge": "a1 AUTHENTICATE CRAM-MD5",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				g := newGate(t, dialogue.IMAP{}, j.imap)
				g.limit(all())
				ln := g.open(imapDoor)
				for range 2 {
					c := g.from(clientAddr, ln)
					c.hear("* OK …")
					c.say(says)
					if name != "a deputy" {
						c.hear("+ …")
						c.say(b64("u wrong"))
					}
					c.hear("a1 NO …")
				}
				if len(j.judged()) != 2 {
					t.Errorf("judged %q", j.judged())
				}
			})
		})
	}
}
