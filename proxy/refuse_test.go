package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
)

// What a client hears that must not come in now (design section 6).
const (
	busy     = "Account is temporarily unavailable, please wait and try again later. (…"
	imapBusy = "NO [UNAVAILABLE] " + busy
	pop3Busy = "-ERR [SYS/TEMP] " + busy
)

// TestRefusedAtConnect has each rule about connections refuse one.
func TestRefusedAtConnect(t *testing.T) {
	for rule, policy := range map[limiter.Rule]limiter.Policy{
		limiter.RuleConnect:      {Connect: limiter.Rate{Tokens: 1, Per: time.Hour}},
		limiter.RuleOpen:         {Open: 1},
		limiter.RuleOpenPrelogin: {OpenPrelogin: 1},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
			t.Run(string(rule)+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, nil)
					g.limit(policy)
					ln := g.open(d)
					first := g.from(clientAddr, ln)
					g.greeted(first, d)
					c := g.from("203.0.113.7:40001", ln)
					switch d.Name {
					case "imap":
						c.hear("* BYE [UNAVAILABLE] " + busy)
						c.seeEnd()
					case "pop3":
						c.hear(pop3Busy)
						c.seeEnd()
					default:
						c.seeAlert()
					}
					g.greeted(g.from("203.0.113.8:40000", ln), d)

					synctest.Wait()
					g.mu.Lock()
					r := g.records[0]
					g.mu.Unlock()
					want := limiter.Verdict{Action: limiter.Refuse, Rule: rule}
					if r.End != EndRefused || r.Step != StepConnect || r.Verdict != want || r.Handshake != HandshakeNone || r.Greeting != 0 {
						t.Errorf("record %+v", r)
					}
					if first.Close(); g.allRecords()[1].Verdict.Rule != limiter.RuleNone {
						t.Error("the first one met a rule")
					}
				})
			})
		}
	}
}

// A client that has logged in does not count as one before login any more, and
// one that has left not at all.
func TestConnectionsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, imapDoor.Protocol, (&judge{}).imap)
		g.limit(limiter.Policy{OpenPrelogin: 1, Open: 2})
		ln := g.open(imapDoor)
		first := g.from(clientAddr, ln)
		first.hear("* OK …")
		first.say("a1 LOGIN u right")
		first.hear("a1 OK …")
		synctest.Wait()
		second := g.from(clientAddr, ln)
		second.hear("* OK …")
		g.from(clientAddr, ln).hear("* BYE …")
		second.say("a1 LOGIN u right")
		second.hear("a1 OK …")
		synctest.Wait()
		g.from(clientAddr, ln).hear("* BYE …")
		first.Close()
		synctest.Wait()
		third := g.from(clientAddr, ln)
		third.hear("* OK …")
		third.Close()
		synctest.Wait()
		g.from(clientAddr, ln).hear("* OK …")
	})
}

// tryLogin says what a client of a door says to log in, apart from the last line,
// and what it hears for it and says at last.
func tryLogin(c *peer, d Listener, password string) {
	if d.Protocol.Name() == "imap" {
		c.say("a1 LOGIN u " + password)
		return
	}
	c.say("USER u")
	c.hear("+OK")
	c.say("PASS " + password)
}

// spend takes n tokens of a client's source.
func spend(g *gate, n int) {
	for i := range n {
		k := g.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP, Account: fmt.Sprint(i)})
		k.Settle(time.Now(), limiter.Denied)
	}
}

// occupy takes a token of the global bucket, as another's login does.
func occupy(g *gate) {
	k := g.Limiter.Ask(time.Now(), limiter.Attempt{Addr: ap("198.51.100.1:1").Addr()})
	k.Enter(time.Now(), nil)
	k.Settle(time.Now(), limiter.Void)
}

// TestRefusedAtLogin has each rule refuse an attempt, at every door: one line,
// nothing before and nothing after it.
func TestRefusedAtLogin(t *testing.T) {
	for rule, c := range map[limiter.Rule]struct {
		policy  limiter.Policy
		prepare func(*gate)
		room    Step
		end     End
	}{
		limiter.RuleSource: {strict(), func(g *gate) { spend(g, tokens) }, StepVerdict, EndRefused},
		limiter.RuleGlobal: {limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: time.Hour}}, occupy, StepVerdict, EndRefused},
		limiter.RuleTarpit: {limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: 5 * time.Second}}, func(g *gate) {
			occupy(g)
			g.Tarpit.Total = 1
			g.init()
			other := ap("198.51.100.1:1").Addr()
			g.tarpit.enter(other, false)
			g.t.Cleanup(func() { g.tarpit.leave(other, false) })
		}, StepTarpit, EndRefused},
		limiter.RuleBackend: {limiter.Policy{}, func(g *gate) { g.play(backendAddr, nil) }, StepDial, EndBackend},
	} {
		for _, d := range []Listener{imapDoor, imapsDoor, pop3Door, pop3sDoor} {
			t.Run(string(rule)+" "+d.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(t, d.Protocol, func(b *peer) { b.fail("the backend was dialled") })
					g.limit(c.policy)
					c.prepare(g)
					p := g.enter(d)
					begun := time.Now()
					tryLogin(p, d, "right")
					want := map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Busy}[d.Protocol.Name()]
					told, _ := p.line()
					p.seeEnd()
					if took := time.Since(begun); took != 0 {
						t.Errorf("the refusal took %v", took)
					}
					r, a := g.record(), g.settled()
					if want = strings.TrimSuffix(want, "…") + r.ID + ")"; told != want {
						t.Errorf("heard %q, want %q", told, want)
					}
					verdict := limiter.Verdict{Action: limiter.Refuse, Rule: rule}
					if r.End != c.end || r.Step != c.room || r.Verdict != verdict || r.Account != "" || r.Login != 0 {
						t.Errorf("record %+v", r)
					}
					if len(a) != 1 || a[0].Outcome != limiter.Void || a[0].Verdict != verdict || a[0].Err == nil || a[0].Gone || a[0].Backend != "" {
						t.Errorf("attempts %+v", a)
					}
				})
			})
		}
	}
}

// A refusal is answered under the client's own tag, and whatever it sent behind
// is not acted on.
func TestRefusedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, imapDoor.Protocol, nil)
		g.limit(strict())
		spend(g, tokens)
		c := g.enter(imapDoor)
		c.say("A-Tag.7 AUTHENTICATE PLAIN")
		c.hear("+ ")
		c.say(plain("u", "right"), "b LOGIN u right", "c LOGOUT")
		c.hear("A-Tag.7 " + imapBusy)
		c.seeBreak()
		if r := g.record(); r.Attempts != 1 || g.settled()[0].Method != "PLAIN" {
			t.Errorf("record %+v", r)
		}
	})
}

// The backend's own temporary refusal reaches the client as it is, and is void.
func TestTemporaryRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		door  Listener
		reply string
	}{
		"imap": {imapDoor, "NO [LIMIT] Too many of you."},
		"pop3": {pop3Door, "-ERR [IN-USE] Mailbox is locked."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, c.door.Protocol, func(b *peer) {
					b.readHeader()
					b.say(map[string]string{"imap": imapHello, "pop3": pop3Hello}[name])
					b.line()
					b.say(map[string]string{"imap": "1 "}[name] + c.reply)
					b.seeBreak()
				})
				g.limit(strict())
				p := g.enter(c.door)
				tryLogin(p, c.door, "right")
				line, _ := p.line()
				if !strings.HasSuffix(line, c.reply) {
					t.Errorf("heard %q", line)
				}
				p.seeEnd()
				if n := g.charged(clientIP); n != 0 {
					t.Errorf("%d tokens charged", n)
				}
				r := g.record()
				if a := g.settled()[0]; a.Outcome != limiter.Void || a.Backend != backendAddr || r.End != EndBackend || r.Err != a.Err || a.Err == nil || !strings.Contains(a.Err.Error(), c.reply) {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A refused client that sends no hello does not stay, and only so many may stay at once.
func TestRefusedConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, imapsDoor.Protocol, nil)
		g.limit(limiter.Policy{Open: 1})
		ln := g.open(imapsDoor)
		g.greeted(g.from(clientAddr, ln), imapsDoor)
		for range maxRefused + 10 {
			g.from(clientAddr, ln)
		}
		synctest.Wait()
		if n := g.Stats().Open; n != 1+maxRefused {
			t.Errorf("%d connections are open, want %d", n, 1+maxRefused)
		}
		<-time.After(helloTimeout)
		synctest.Wait()
		if n := g.Stats().Open; n != 1 {
			t.Errorf("%d connections are open, want 1", n)
		}
	})
}
