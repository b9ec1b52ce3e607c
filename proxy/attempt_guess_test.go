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

// guess is a way to try a password. Each of its lines is sent in one segment, and all
// but the last are answered by a challenge. The last is the guess itself.
type guess struct {
	protocol dialogue.Protocol
	lines    []string
	rounds   int // of the exchange between client and backend
}

// guesses are all ways to try the password "wrong".
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

// actionsAfterGuess are what a client may do after a guess in order not to be charged.
var actionsAfterGuess = map[string]func(client *peer, g guess, tcp *memConn){
	"does nothing":           func(*peer, guess, *memConn) {},
	"closes":                 func(client *peer, _ guess, _ *memConn) { client.Close() },
	"closes the socket":      func(_ *peer, _ guess, tcp *memConn) { tcp.Close() },
	"resets":                 func(_ *peer, _ guess, tcp *memConn) { tcp.reset() },
	"half-closes":            func(client *peer, _ guess, _ *memConn) { client.closeWrite() },
	"half-closes the socket": func(_ *peer, _ guess, tcp *memConn) { _ = tcp.CloseWrite() },
	"logs out":               func(client *peer, g guess, _ *memConn) { client.send(logoutCommand(g)) },
	"logs out and closes":    func(client *peer, g guess, _ *memConn) { client.send(logoutCommand(g)); client.Close() },
	"sends more":             func(client *peer, _ guess, _ *memConn) { client.send(strings.Repeat("x", 9000)) },
	"cancels":                func(client *peer, _ guess, _ *memConn) { client.send("*") },
	"sends nonsense":         func(client *peer, _ guess, _ *memConn) { client.send("&") },
	"cancels and resets":     func(client *peer, _ guess, tcp *memConn) { client.send("*"); tcp.reset() },
	"closes later":           func(client *peer, _ guess, _ *memConn) { <-time.After(time.Second); client.Close() },
	"resets later":           func(_ *peer, _ guess, tcp *memConn) { <-time.After(time.Second); tcp.reset() },
}

// isToken reports whether the guess is one of an OAuth token.
func (g guess) isToken() bool { return strings.Contains(g.lines[0], " XOAUTH2 ") }

func logoutCommand(g guess) string {
	if g.protocol.Name() == "imap" {
		return "a2 LOGOUT"
	}
	return "QUIT"
}

// send makes the guess.
func (g guess) send(client *peer) {
	last := len(g.lines) - 1
	for _, line := range g.lines[:last] {
		client.send(line)
		client.expect("+…")
	}
	client.send(g.lines[last])
}

// Every guess is charged, in whatever way the client ends the session before the
// backend's denial arrives or just then.
func TestEveryGuessIsCharged(t *testing.T) {
	for way, guess := range guesses {
		for how, action := range actionsAfterGuess {
			for _, l := range []Listener{{Name: "clear", Protocol: guess.protocol}, {Name: "tls", Protocol: guess.protocol, TLS: Implicit, Config: testCert.Server()}} {
				t.Run(way+", "+how+", "+l.Name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testGuessIsCharged(t, l, guess, action) })
				})
			}
		}
	}
}

func testGuessIsCharged(t *testing.T, l Listener, guess guess, action func(*peer, guess, *memConn)) {
	fake := &fakeBackend{delay: 2 * time.Second}
	proxy := newTestProxy(t, l.Protocol, fake.protocolFunc(l.Protocol.Name()))
	proxy.setPolicy(pairRule())
	near, _ := proxy.listen(l).dial(clientAddr)
	client := newClient(t, near)
	proxy.awaitGreeting(client, l)
	guess.send(client)
	action(client, guess, near)
	<-time.After(proxy.Timeouts.Login + replayTimeout)
	if got := fake.checked(); len(got) != 1 || got[0] != "wrong" {
		t.Fatalf("passwords checked: got %q, want wrong", got)
	}
	proxy.checkCharged(guess.isToken(), 1)
	if a := proxy.settledAttempts(); a[0].Outcome != limiter.Denied || a[0].Backend != backendAddr {
		t.Errorf("got attempt %+v, want Outcome %v", a[0], limiter.Denied)
	}
}

// A guess that is sent byte by byte is charged.
func TestGuessByteByByteIsCharged(t *testing.T) {
	for way, guess := range guesses {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{delay: 2 * time.Second}
				proxy := newTestProxy(t, guess.protocol, fake.protocolFunc(guess.protocol.Name()))
				proxy.setPolicy(pairRule())
				near, _ := proxy.listen(Listener{Name: "clear", Protocol: guess.protocol}).dial(clientAddr)
				client := newClient(t, &byteWriter{near})
				proxy.awaitGreeting(client, Listener{Protocol: guess.protocol})
				guess.send(client)
				client.Close()
				<-time.After(time.Minute)
				proxy.checkCharged(guess.isToken(), 1)
				if len(fake.checked()) != 1 {
					t.Errorf("got passwords %q checked, want one", fake.checked())
				}
			})
		})
	}
}

// byteWriter writes byte by byte.
type byteWriter struct{ net.Conn }

func (w *byteWriter) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := w.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		synctest.Wait()
	}
	return len(b), nil
}

// A guess is charged if the client sends the last line of an exchange as late as it
// may. The backend delays a denial and does not delay an accepted login. If the proxy
// waited for the backend for less than that delay, the answer "busy" would tell the
// client that the guess was wrong, and would not be charged. A client that is later makes
// no guess, and is charged for the time that it has held a login slot.
func TestLateAnswerIsCharged(t *testing.T) {
	for way, guess := range guesses {
		if guess.rounds == 0 {
			continue
		}
		for after, checked := range map[time.Duration]int{roundTimeout / 2: 1, roundTimeout - time.Millisecond: 1, roundTimeout + time.Millisecond: 0} {
			t.Run(fmt.Sprintf("%s after %v", way, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := &fakeBackend{delay: 17 * time.Second}
					proxy := newTestProxy(t, guess.protocol, fake.protocolFunc(guess.protocol.Name()))
					proxy.setPolicy(pairRule())
					client := proxy.connectGreeted(Listener{Name: "clear", Protocol: guess.protocol})
					lines := guess.lines
					if len(lines) == 1 { // this line has made the guess, and another round follows
						lines, checked = append(lines, "AQ=="), 1
					}
					last := len(lines) - 1
					for _, line := range lines[:last] {
						client.send(line)
						client.expect("+…")
					}
					<-time.After(after)
					client.send(lines[last])
					<-time.After(2 * time.Minute)
					if a := proxy.settledAttempts()[0]; len(fake.checked()) != checked || a.Abandoned != (checked == 0) {
						t.Errorf("got passwords %q checked, attempt %+v, want %d checked", fake.checked(), a, checked)
					}
					if checked == 1 && guess.isToken() {
						proxy.checkCharged(true, 1)
						return
					}
					if checked == 1 { // the denial, and the time of the slot
						proxy.checkCharged(false, 1+tokensForSlot(after))
						return
					}
					wantPair := tokensForSlot(roundTimeout)
					if strings.Contains(way, "CRAM-MD5") { // the client has not named the account
						wantPair = 0
					}
					if source, pair := proxy.charged(clientIP), proxy.chargedPair(clientIP, "u"); source != tokensForSlot(roundTimeout) || pair != wantPair {
						t.Errorf("got %d tokens charged to the source and %d to the pair, want %d and %d", source, pair, tokensForSlot(roundTimeout), wantPair)
					}
				})
			})
		}
	}
}
