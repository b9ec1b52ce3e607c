package proxy

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// guess is a way to try a password. It is sent as one segment after each
// challenge, the last of which is the guess itself.
type guess struct {
	door   dialogue.Protocol
	says   []string
	rounds int // that the client has with the backend
}

// guesses are all ways to try "wrong".
var guesses = map[string]guess{
	"LOGIN":                     {dialogue.IMAP{}, []string{"a1 LOGIN u wrong"}, 0},
	"LOGIN with literals":       {dialogue.IMAP{}, []string{"a1 LOGIN {1+}\r\nu {5+}\r\nwrong"}, 0},
	"AUTHENTICATE PLAIN":        {dialogue.IMAP{}, []string{"a1 AUTHENTICATE PLAIN " + plain("u", "wrong")}, 0},
	"AUTHENTICATE PLAIN, later": {dialogue.IMAP{}, []string{"a1 AUTHENTICATE PLAIN", plain("u", "wrong")}, 0},
	"AUTHENTICATE LOGIN":        {dialogue.IMAP{}, []string{"a1 AUTHENTICATE LOGIN", b64("u"), b64("wrong")}, 0},
	"AUTHENTICATE CRAM-MD5":     {dialogue.IMAP{}, []string{"a1 AUTHENTICATE CRAM-MD5", b64("u wrong")}, 1},
	"AUTHENTICATE SCRAM":        {dialogue.IMAP{}, []string{"a1 AUTHENTICATE SCRAM-SHA-256 " + b64("n,,n=u,r=x"), b64("c=biws,r=nonce,p=wrong")}, 1},
	"AUTHENTICATE SCRAM, later": {dialogue.IMAP{}, []string{"a1 AUTHENTICATE SCRAM-SHA-256", b64("n,,n=u,r=x"), b64("c=biws,r=nonce,p=wrong")}, 1},
	"AUTHENTICATE XOAUTH2":      {dialogue.IMAP{}, []string{"a1 AUTHENTICATE XOAUTH2 " + b64("user=u\x01auth=Bearer wrong\x01\x01")}, 1},
	"USER and PASS":             {dialogue.POP3{}, []string{"USER u", "PASS wrong"}, 0},
	"AUTH PLAIN":                {dialogue.POP3{}, []string{"AUTH PLAIN " + plain("u", "wrong")}, 0},
	"AUTH PLAIN, later":         {dialogue.POP3{}, []string{"AUTH PLAIN", plain("u", "wrong")}, 0},
	"AUTH CRAM-MD5":             {dialogue.POP3{}, []string{"AUTH CRAM-MD5", b64("u wrong")}, 1},
	"AUTH SCRAM":                {dialogue.POP3{}, []string{"AUTH SCRAM-SHA-256 " + b64("n,,n=u,r=x"), b64("c=biws,r=nonce,p=wrong")}, 1},
	"AUTH XOAUTH2":              {dialogue.POP3{}, []string{"AUTH XOAUTH2 " + b64("user=u\x01auth=Bearer wrong\x01\x01")}, 1},
}

// escapes are what a client may hope to be charged nothing for.
var escapes = map[string]func(p *peer, g guess, tcp *memConn){
	"stays":              func(*peer, guess, *memConn) {},
	"closes":             func(p *peer, _ guess, _ *memConn) { p.Close() },
	"closes below":       func(_ *peer, _ guess, tcp *memConn) { tcp.Close() },
	"resets":             func(_ *peer, _ guess, tcp *memConn) { tcp.reset() },
	"half-closes":        func(p *peer, _ guess, _ *memConn) { p.halfClose() },
	"half-closes below":  func(_ *peer, _ guess, tcp *memConn) { _ = tcp.CloseWrite() },
	"says goodbye":       func(p *peer, g guess, _ *memConn) { p.say(goodbye(g)) },
	"goodbye and closes": func(p *peer, g guess, _ *memConn) { p.say(goodbye(g)); p.Close() },
	"talks on":           func(p *peer, _ guess, _ *memConn) { p.say(strings.Repeat("x", 9000)) },
	"cancels":            func(p *peer, _ guess, _ *memConn) { p.say("*") },
	"talks nonsense":     func(p *peer, _ guess, _ *memConn) { p.say("&") },
	"cancels and resets": func(p *peer, _ guess, tcp *memConn) { p.say("*"); tcp.reset() },
	"closes later":       func(p *peer, _ guess, _ *memConn) { <-time.After(time.Second); p.Close() },
	"resets later":       func(_ *peer, _ guess, tcp *memConn) { <-time.After(time.Second); tcp.reset() },
}

func goodbye(g guess) string {
	if g.door.Name() == "imap" {
		return "a2 LOGOUT"
	}
	return "QUIT"
}

// pose makes the guess, as far as the guess itself.
func (g guess) pose(p *peer) {
	last := len(g.says) - 1
	for _, says := range g.says[:last] {
		p.say(says)
		p.hear("+…")
	}
	p.say(g.says[last])
}

// TestNoFreeGuess makes every guess and has the client leave in every way
// before, or just when, the backend's denial arrives.
func TestNoFreeGuess(t *testing.T) {
	for way, guess := range guesses {
		for how, escape := range escapes {
			for _, d := range []Listener{{Name: "clear", Protocol: guess.door}, {Name: "tls", Protocol: guess.door, TLS: Implicit, Config: gateCert.Server()}} {
				t.Run(way+", "+how+", "+d.Name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { tryForFree(t, d, guess, escape) })
				})
			}
		}
	}
}

func tryForFree(t *testing.T, d Listener, guess guess, escape func(*peer, guess, *memConn)) {
	j := &judge{delay: 2 * time.Second}
	g := newGate(t, d.Protocol, j.play(d.Protocol.Name()))
	g.limit(strict())
	near, _ := g.open(d).dial(clientAddr)
	c := newClient(t, near)
	g.greeted(c, d)
	guess.pose(c)
	escape(c, guess, near)
	<-time.After(g.Timeouts.Login + replayTimeout)
	if judged := j.judged(); len(judged) != 1 || judged[0] != "wrong" {
		t.Fatalf("the backend judged %q", judged)
	}
	if n := g.charged(clientIP); n != 1 {
		t.Errorf("%d tokens charged", n)
	}
	if a := g.settled(); a[0].Outcome != limiter.Denied || a[0].Backend != backendAddr {
		t.Errorf("attempt %+v", a[0])
	}
}

// Octet by octet is no way out either.
func TestNoFreeGuessOctetByOctet(t *testing.T) {
	for way, guess := range guesses {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{delay: 2 * time.Second}
				g := newGate(t, guess.door, j.play(guess.door.Name()))
				g.limit(strict())
				near, _ := g.open(Listener{Name: "clear", Protocol: guess.door}).dial(clientAddr)
				c := newClient(t, &slowly{near})
				g.greeted(c, Listener{Protocol: guess.door})
				guess.pose(c)
				c.Close()
				<-time.After(time.Minute)
				if n := g.charged(clientIP); n != 1 || len(j.judged()) != 1 {
					t.Errorf("%d tokens charged, judged %q", n, j.judged())
				}
			})
		})
	}
}

// slowly writes octet by octet.
type slowly struct{ net.Conn }

func (s *slowly) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := s.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		synctest.Wait()
	}
	return len(b), nil
}

// TestNoFreeGuessByStalling has the client send the last line of an exchange as
// late as it may. A failed login takes its time, and a right one does not: if the
// gate's patience with the backend ended between the two, whoever is told "busy"
// would know that the guess was wrong, and would not be charged.
func TestNoFreeGuessByStalling(t *testing.T) {
	for way, guess := range guesses {
		if guess.rounds == 0 {
			continue
		}
		for after, judged := range map[time.Duration]int{roundTimeout / 2: 1, roundTimeout - time.Millisecond: 1, roundTimeout + time.Millisecond: 0} {
			t.Run(fmt.Sprintf("%s after %v", way, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &judge{delay: 17 * time.Second}
					g := newGate(t, guess.door, j.play(guess.door.Name()))
					g.limit(strict())
					c := g.enter(Listener{Name: "clear", Protocol: guess.door})
					says := guess.says
					if len(says) == 1 { // the guess has been made with this line, and has another round
						says, judged = append(says, "AQ=="), 1
					}
					last := len(says) - 1
					for _, line := range says[:last] {
						c.say(line)
						c.hear("+…")
					}
					<-time.After(after)
					c.say(says[last])
					<-time.After(2 * time.Minute)
					if n := g.charged(clientIP); len(j.judged()) != judged || n != 1 { // a challenge kept for so long is charged too
						t.Errorf("%q were judged, %d charged", j.judged(), n)
					}
				})
			})
		}
	}
}
