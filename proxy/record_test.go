package proxy

import (
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// TestRecord has a client do all there is to do, and looks at every field of what
// is told about it.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		g := newGate(t, dialogue.IMAP{}, (&judge{delay: 2 * time.Second}).imap)
		g.limit(fiveSeconds())
		c := g.from(clientAddr, g.open(imapsDoor))
		<-time.After(time.Second)
		g.greeted(c, imapsDoor) // after 1 s
		c.say("a1 LOGIN Wrong.User wrong")
		c.hear("a1 NO …") // after 3 s
		c.say("a2 LOGIN u\x00x wrong")
		c.hear("a2 BAD …")
		c.say("a3 AUTHENTICATE LOGIN")
		c.hear("+ VXNlcm5hbWU6")
		c.say(b64("u"))
		c.hear("+ UGFzc3dvcmQ6")
		c.say(b64("right"))
		c.hear("a3 OK …") // after 5 s: the token came back with the fifth
		<-time.After(time.Minute)
		c.say("hello")
		c.hear("echo hello")
		c.Close()

		got := g.record()
		denied := Attempt{
			Session: got.ID, Listener: "imaps", Protocol: "imap", Client: ap(clientAddr), Account: "Wrong.User", Method: "LOGIN",
			Backend: backendAddr, Verdict: limiter.Verdict{Rule: limiter.RuleNone}, Outcome: limiter.Denied, Took: 2 * time.Second,
			Greeting: time.Second,
		}
		accepted := denied
		accepted.Greeting = 0 // the client was greeted once
		accepted.Account, accepted.Outcome = "u", limiter.Accepted
		accepted.Verdict = g.settled()[1].Verdict
		accepted.Waited, accepted.Took = 3*time.Second, 3*time.Second // for its source, and what is left for its turn
		if w := accepted.Verdict.Wait; accepted.Verdict.Rule != limiter.RuleSource || w < 2*time.Second || w > 2400*time.Millisecond {
			t.Errorf("the second attempt met %+v", accepted.Verdict)
		}
		login := 3*time.Second + accepted.Waited
		want := Record{
			ID: got.ID, Listener: "imaps", Protocol: "imap", Start: begun, Duration: login + time.Minute,
			Client: ap(clientAddr), Local: ap(gateAddr),
			Handshake: HandshakeDone, TLS: "TLS 1.3", Cipher: got.Cipher,
			Verdict: accepted.Verdict, Attempts: 2, Account: "u", Backend: backendAddr,
			Greeting: time.Second, Login: login,
			Step: StepRelay, End: EndClient, Err: got.Err, FromClient: 7, ToClient: 12,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if !reflect.DeepEqual(g.settled(), []Attempt{denied, accepted}) {
			t.Errorf("told of %+v", g.settled())
		}
		if len(got.Cipher) < 10 {
			t.Errorf("cipher %q", got.Cipher)
		}
	})
}

// The account a mechanism shows only later is told all the same.
func TestAccountOfAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		c := g.enter(imapDoor)
		c.say("a1 AUTHENTICATE CRAM-MD5")
		c.hear("+ …")
		c.say(b64("somebody wrong"))
		c.hear("a1 NO …")
		if a := g.settled()[0]; a.Account != "somebody" || a.Method != "CRAM-MD5" || a.Outcome != limiter.Denied {
			t.Errorf("attempt %+v", a)
		}
	})
}

// The server's owner knows of an attempt, and the limiter of its outcome, before
// the client hears of it: a client that acts at once finds no gap.
func TestSettledBeforeTheAnswer(t *testing.T) {
	for name, says := range map[string]string{
		"accepted": "a1 LOGIN u right", "denied": "a1 LOGIN u wrong", "unfit": "a1 LOGIN {2+}\r\n\x00\x00 u",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
				g.limit(strict())
				c := g.enter(imapDoor)
				told := 0
				g.Settled = func(a Attempt) {
					told++
					synctest.Wait() // nobody else has anything to do
					if n := c.Conn.(*memConn).unread(); n != 0 {
						t.Errorf("the client has been sent %d octets", n)
					}
					if n := g.charged(clientIP); n == 1 != (a.Outcome == limiter.Denied) {
						t.Errorf("%d tokens charged: %v", n, a.Outcome)
					}
				}
				c.say(says)
				<-time.After(time.Second) // Wait must not be called twice at once
				c.hear("a1 …")
				if told != 1 {
					t.Errorf("told %d times", told)
				}
			})
		})
	}
}

// Whoever closes the server has all records.
func TestEveryRecordIsHandedOverBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		var told atomic.Int32
		g.Done = func(Record) {
			<-time.After(time.Millisecond)
			told.Add(1)
		}
		g.enter(imapDoor)
		g.Close()
		if n := told.Load(); n != 1 {
			t.Errorf("%d records when Close returned", n)
		}
		<-time.After(time.Second)
	})
}

func TestStrictestVerdict(t *testing.T) {
	pass := limiter.Verdict{Rule: limiter.RuleNone}
	short := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource, Wait: time.Second}
	long := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleNetwork, Wait: 2 * time.Second}
	refuse := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}
	refused := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}
	for _, c := range []struct {
		met  []limiter.Verdict
		want limiter.Verdict
	}{
		{nil, pass},
		{[]limiter.Verdict{pass, short}, short},
		{[]limiter.Verdict{short, pass}, short},
		{[]limiter.Verdict{short, long}, long},
		{[]limiter.Verdict{long, short}, long},
		{[]limiter.Verdict{long, refuse}, refuse},
		{[]limiter.Verdict{refuse, long}, refuse},
		{[]limiter.Verdict{refuse, refused}, refuse},
		{[]limiter.Verdict{short, {Action: limiter.Wait, Rule: limiter.RuleGlobal, Wait: time.Second}}, short},
	} {
		s := session{record: Record{Verdict: pass}}
		for _, v := range c.met {
			s.meet(v)
		}
		if s.record.Verdict != c.want {
			t.Errorf("%+v became %+v", c.met, s.record.Verdict)
		}
	}
}

// IDs tell connections apart.
func TestIDsAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(imapDoor)
		for range 100 {
			g.from(clientAddr, ln).Close()
		}
		seen := map[string]bool{}
		for _, r := range g.allRecords() {
			if r.ID == "" || seen[r.ID] {
				t.Errorf("ID %q twice", r.ID)
			}
			seen[r.ID] = true
		}
		if len(seen) != 100 {
			t.Errorf("%d IDs", len(seen))
		}
		next := newGate(t, dialogue.IMAP{}, nil) // as after a restart
		next.from(clientAddr, next.open(imapDoor)).Close()
		if id := next.record().ID; seen[id] {
			t.Errorf("ID %q again", id)
		}
	})
}

func TestWordsOfRecords(t *testing.T) {
	seen := map[string]bool{}
	for i, e := range Ends() {
		if e != End(i) || e.String() == "" || seen[e.String()] {
			t.Errorf("end %d is %v", i, e)
		}
		seen[e.String()] = true
	}
	if len(seen) != int(numEnds) {
		t.Errorf("%d ends", len(seen))
	}
	clear(seen)
	for r := StepAccept; r <= StepRelay; r++ {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("room %d is %v", r, r)
		}
		seen[r.String()] = true
	}
	clear(seen)
	for r := range numDialResults {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("dial result %d is %v", r, r)
		}
		seen[r.String()] = true
	}
	for want, word := range map[string]string{
		"proxy_header": EndProxyHeader.String(), "client": EndClient.String(), "panic": EndPanic.String(), "evicted": EndEvicted.String(),
		"relay": StepRelay.String(), "tls": StepTLS.String(), "dialogue": StepDialogue.String(), "replay": StepReplay.String(),
		"greeting_timeout": DialGreetingTimeout.String(), "refused": DialRefused.String(), "reset": DialReset.String(),
	} {
		if word != want {
			t.Errorf("%q should be %q", word, want)
		}
	}
}
