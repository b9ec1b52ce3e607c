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

// besiege empties the account's bucket for strangers, from sources of their own.
func besiege(g *gate, account string) {
	g.t.Helper()
	for i := range 50 {
		k := g.Limiter.Ask(time.Now(), limiter.Attempt{
			Addr: ap(fmt.Sprintf("198.51.%d.1:1", i)).Addr(), Account: account,
			Credential: g.Limiter.Credential(account, fmt.Appendf(nil, "guess %d", i)),
		})
		if k.Verdict().Action == limiter.Refuse {
			return
		}
		k.Settle(time.Now(), limiter.Denied)
	}
	g.t.Fatal("the account is not besieged")
}

// welcome makes the account known with a password, from an address.
func welcome(g *gate, addr, account, password string) {
	k := g.Limiter.Ask(time.Now(), limiter.Attempt{Addr: ap(addr).Addr(), Account: account, Credential: g.Limiter.Credential(account, []byte(password))})
	k.Settle(time.Now(), limiter.Accepted)
}

// An account under attack is closed to strangers and nobody else: its owner comes
// in at home with any program, and on the road with the usual password.
func TestOwnerDoesNotNotice(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
				g.limit(all())
				welcome(g, clientAddr, "u", "right")
				besiege(g, "u")
				ln := g.open(d)
				for _, from := range []string{clientAddr, "192.0.2.99:1"} {
					c := g.from(from, ln)
					g.greeted(c, d)
					begun := time.Now()
					tryLogin(c, d, "right")
					c.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
					if time.Since(begun) != 0 {
						t.Errorf("from %s it took %v", from, time.Since(begun))
					}
				}
				c := g.from("192.0.3.1:1", ln)
				g.greeted(c, d)
				tryLogin(c, d, "guess") // the owner of a known password might come from anywhere, so USER is no end
				c.hear(map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Delay}[d.Protocol.Name()])
				c.seeEnd()
				if a := g.settled()[2]; a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}) || len(j.judged()) != 2 {
					t.Errorf("attempt %+v", a)
				}
			})
		})
	}
}

const pop3Delay = "-ERR [LOGIN-DELAY] " + busy

// Where nothing can lift the refusal, POP3 hears it at USER, and no password is
// sent. Nothing is charged.
func TestRefusedAtUser(t *testing.T) {
	for _, d := range []Listener{pop3Door, pop3sDoor} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, d.Protocol, nil)
				g.limit(all())
				besiege(g, "u")
				c := g.enter(d)
				c.say("USER other")
				c.hear("+OK")
				c.say("USER u")
				c.hear(pop3Delay)
				c.seeEnd()
				r := g.record()
				want := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}
				if r.End != EndRefused || r.Step != StepVerdict || r.Verdict != want || r.Attempts != 1 {
					t.Errorf("record %+v", r)
				}
				if a := g.settled()[0]; a.Verdict != want || a.Account != "u" || a.Method != "USER" || a.Outcome != limiter.Void || a.Err == nil || a.Backend != "" {
					t.Errorf("attempt %+v", a)
				}
				if n := g.charged(clientIP); n != 0 || len(g.settled()) != 1 {
					t.Errorf("%d tokens charged", n)
				}
			})
		})
	}
}

// Known by address is not known by credential: a neighbour behind it may come in
// himself, and guesses no cheaper than a stranger.
func TestNeighbourGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		g := newGate(t, dialogue.IMAP{}, j.imap)
		g.limit(all())
		welcome(g, clientAddr, "u", "right")
		ln := g.open(imapDoor)
		for i := range 5 {
			c := g.from(clientAddr, ln)
			c.hear("* OK …")
			c.say(fmt.Sprintf("a1 LOGIN u guess%d", i))
			c.hear(denials["imap"])
			c.Close()
		}
		c := g.from(clientAddr, ln)
		c.hear("* OK …")
		c.say("a1 LOGIN u guess6")
		c.hear("a1 " + imapBusy)
		synctest.Wait()
		if a := g.settled()[5]; a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair, Known: true, Near: true}) || len(j.judged()) != 5 {
			t.Errorf("attempt %+v", a)
		}
		c = g.from(clientAddr, ln)
		c.hear("* OK …")
		c.say("a1 LOGIN u right")
		c.hear("a1 OK …")
	})
}

// TestObserve has every rule be told of and none be acted upon.
func TestObserve(t *testing.T) {
	for rule, prepare := range map[limiter.Rule]func(*gate){
		limiter.RuleSource:  func(g *gate) { spend(g, tokens) },
		limiter.RuleAccount: func(g *gate) { besiege(g, "u") },
		limiter.RuleGlobal:  func(g *gate) { p := all(); p.Global = limiter.Rate{Tokens: 1, Per: time.Hour}; g.limit(p); occupy(g) },
		limiter.RuleRepeat: func(g *gate) {
			k := g.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP, Account: "u", Credential: g.Limiter.Credential("u", []byte("right"))})
			k.Settle(time.Now(), limiter.Denied)
		},
	} {
		for _, d := range []Listener{imapDoor, pop3sDoor} {
			t.Run(string(rule)+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, (&judge{}).play(d.Protocol.Name()))
					g.limit(all())
					prepare(g)
					g.Observe(true)
					c := g.enter(d)
					begun := time.Now()
					tryLogin(c, d, "right")
					c.hear(map[string]string{"imap": "a1 OK …", "pop3": "+OK …"}[d.Protocol.Name()])
					if took := time.Since(begun); took != 0 {
						t.Errorf("it took %v", took)
					}
					a := g.settled()
					if len(a) != 1 || !a[0].Observed || a[0].Outcome != limiter.Accepted || a[0].Verdict.Rule != rule || a[0].Verdict.Action < limiter.Repeat {
						t.Errorf("attempts %+v", a)
					}
					synctest.Wait()
					c.Close()
					if r := g.record(); !r.Observed || r.Verdict.Rule != rule || r.End != EndClient {
						t.Errorf("record %+v", r)
					}
				})
			})
		}
	}
}

// A connection that a rule would have refused comes in, and counts nowhere. The
// limit of all connections is no verdict but room, and stays.
func TestObserveAtConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		g.limit(limiter.Policy{OpenPrelogin: 1})
		g.MaxConnections = 3
		g.Observe(true)
		ln := g.open(imapDoor)
		for range 3 {
			c := g.arrives(ln, clientAddr, "* OK …")
			c.login()
		}
		second := g.arrives(ln, clientAddr, "* BYE [UNAVAILABLE] "+busy)
		second.seeEnd()
		for _, r := range g.allRecords() {
			if observed := r.Verdict.Rule != limiter.RuleMaxConnections; r.Observed != observed {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// CRAM-MD5 names the account when the backend has been asked for a challenge. The
// rules about accounts hold all the same, and a denial is charged to it.
func TestAccountNamedLate(t *testing.T) {
	for _, d := range []Listener{imapDoor, pop3sDoor} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{}
				g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
				g.limit(all())
				ln := g.open(d)
				try := func(from, account, password string) (last string) {
					c := g.from(from, ln)
					g.greeted(c, d)
					c.say(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[d.Protocol.Name()])
					c.hear("+ …")
					c.say(b64(account + " " + password))
					last, _ = c.line()
					synctest.Wait()
					return last
				}
				for i := range 8 {
					try(fmt.Sprintf("198.51.%d.1:1", i), "u", "wrong")
				}
				if told := try(clientAddr, "u", "right"); !strings.Contains(told, "(") || len(j.judged()) != 8 {
					t.Errorf("told %q, judged %q", told, j.judged())
				}
				a := g.settled()[8]
				if a.Verdict != (limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}) || a.Account != "u" || a.Outcome != limiter.Void {
					t.Errorf("attempt %+v", a)
				}
				if told := try(clientAddr, "other", "right"); !strings.Contains(told, "OK") || g.charged(clientIP) != 0 {
					t.Errorf("told %q", told)
				}
				for i := range 20 { // nobody in particular pays for those who name nobody
					c := g.from(fmt.Sprintf("198.51.%d.2:1", i), ln)
					g.greeted(c, d)
					c.say(map[string]string{"imap": "a1 AUTHENTICATE CRAM-MD5", "pop3": "AUTH CRAM-MD5"}[d.Protocol.Name()])
					c.hear("+ …")
					<-time.After(roundTimeout)
				}
				if told := try("192.0.2.9:1", "third", "right"); !strings.Contains(told, "OK") {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}
