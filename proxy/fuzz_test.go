package proxy

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// manners are how the two ends of a fuzzed session behave, whatever they say.
type manners byte

const (
	speakPOP3        manners = 1 << iota
	clientPauses             // says a line a second
	clientCloses             // having said everything
	clientHalfCloses         // likewise
	backendAtOnce            // says everything with its greeting, else a line for each it hears
	backendStays             // having said everything
	backendGreets            // properly, before it says anything else
	strangerWaits            // the global bucket is empty
)

// FuzzSession sends anything at all through a whole session: what one client and
// every backend it reaches say. The session always ends, it is recorded once,
// every attempt is settled and nothing is held after it, and a backend is dialled
// for a login alone.
func FuzzSession(f *testing.F) {
	for _, seed := range sessionSeeds {
		for _, m := range []manners{0, clientPauses, clientCloses, clientHalfCloses | clientPauses, backendAtOnce | strangerWaits, clientPauses | backendStays} {
			if strings.HasPrefix(seed.backend, "+OK") {
				m |= speakPOP3
			}
			f.Add([]byte(seed.client), []byte(seed.backend), byte(m))
		}
	}
	f.Fuzz(func(t *testing.T, client, backend []byte, how byte) {
		if len(client)+len(backend) > 40_000 {
			return // more than a connection takes at once
		}
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, client, backend, manners(how)) })
	})
}

var sessionSeeds = []struct{ client, backend string }{
	{"a1 LOGIN u wrong\r\na2 LOGIN u right\r\nhello\r\n", "* OK hi\r\n1 NO [AUTHENTICATIONFAILED] no\r\n"},
	{"a1 LOGIN {1}\r\nu {5+}\r\nright\r\nhello\r\n", "* OK hi\r\n1 OK in\r\n* 1 EXISTS\r\n"},
	{"a1 AUTHENTICATE PLAIN\r\nAHUAcA==\r\n", "* OK hi\r\n* BYE later\r\n"},
	{"a1 AUTHENTICATE LOGIN\r\ndQ==\r\ncA==\r\n", "* OK hi\r\n1 NO [UNAVAILABLE] later\r\n"},
	{"a1 AUTHENTICATE CRAM-MD5\r\ndSB4\r\n", "* OK hi\r\n+ PDE+\r\n1 NO no\r\n"},
	{"a1 AUTHENTICATE CRAM-MD5\r\n*\r\na2 LOGOUT\r\n", "* OK hi\r\n+ PDE+\r\n1 BAD aborted\r\n"},
	{"a1 AUTHENTICATE XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHgBAQ==\r\n&\r\n", "* OK hi\r\n+ e30=\r\n1 BAD what\r\n"},
	{"a1 AUTHENTICATE SCRAM-SHA-256 biwsbj11LHI9eA==\r\neA==\r\n\r\nhello\r\n", "* OK hi\r\n+ eA==\r\n+ dj14\r\n1 OK in\r\n"},
	{"a1 LOGIN {2+}\r\nu\x00 p\r\n", "* PREAUTH hi\r\n"},
	{"a1 STARTTLS\r\na2 LOGIN u p\r\n", ""},
	{"a1 CAPABILITY\r\na2 NOOP\r\na3 ID NIL\r\n?\r\n?\r\n?\r\n", "nonsense"},
	{"GET / HTTP/1.0\r\n\r\n", "* OK hi"},
	{"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", "* OK hi\r\n\r\n"},
	{"\x16\x03\x01\x00\x01", "* OK [CAPABILITY IMAP4rev1] hi\n1 OK in\n"},
	{"USER u\r\nPASS wrong\r\nUSER u\r\nPASS right\r\nSTAT\r\n", "+OK hi\r\n-ERR [AUTH] no\r\n"},
	{"AUTH PLAIN AHUAcA==\r\nSTAT\r\nQUIT\r\n", "+OK hi\r\n+OK in\r\n+OK 0 0\r\n"},
	{"AUTH CRAM-MD5\r\ndSB4\r\nQUIT\r\n", "+OK hi\r\n+ PDE+\r\n-ERR [SYS/TEMP] later\r\n"},
	{"AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHgBAQ==\r\n\r\n", "+OK hi\r\n+ e30=\r\n-ERR no\r\n"},
	{"CAPA\r\nSTLS\r\nUSER u\r\n", "+OK hi\r\n-ERR no\r\n"},
}

func fuzzSession(t *testing.T, client, backend []byte, how manners) {
	d := imapDoor
	if how&speakPOP3 != 0 {
		d = pop3Door
	}
	logins := 0
	d.Protocol = spying{d.Protocol, func(r dialogue.Request) {
		if r.Kind == dialogue.Login {
			logins++
		}
	}}
	g := newGate(t, d.Protocol, func(b *peer) { fuzzedBackend(b, backend, how) })
	policy := strict()
	policy.Global = limiter.Rate{Tokens: 2, Per: 10 * time.Second}
	g.limit(policy)
	if how&strangerWaits != 0 {
		occupy(g)
		occupy(g)
	}
	near, _ := g.open(d).dial(clientAddr)
	go fuzzedClient(near, client, how)

	<-time.After(3 * g.Timeouts.Idle) // nobody who says nothing stays so long
	synctest.Wait()
	if s := g.Stats(); s.Open != 0 || s.Relay != 0 || s.Tarpit != 0 {
		t.Fatalf("the session goes on: %+v", s)
	}
	near.Close()
	r, denied := g.record(), 0
	for _, a := range g.settled() {
		if a.Outcome == limiter.Denied {
			denied++
		}
	}
	if r.Attempts != len(g.settled()) || r.Attempts != logins || r.Attempts > g.Tries {
		t.Errorf("%d logins, %d attempts settled, %d recorded", logins, len(g.settled()), r.Attempts)
	}
	if n := g.charged(clientIP); n != denied {
		t.Errorf("%d tokens are spent or held, %d attempts denied", n, denied)
	}
	if n := g.dialled(backendAddr); n > logins {
		t.Errorf("%d logins, the backend was dialled %d times", logins, n)
	}
	if r.End == EndPanic {
		t.Error(r.Err)
	}
	if s := g.Limiter.Stats(time.Now()); s.GlobalTokens != 2 {
		t.Errorf("%v global tokens are left", s.GlobalTokens)
	}
}

// fuzzedClient says its lines, and hears whatever comes.
func fuzzedClient(c *memConn, says []byte, how manners) {
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	for line := range bytes.Lines(says) {
		if _, err := c.Write(line); err != nil {
			return
		}
		if how&clientPauses != 0 {
			<-time.After(time.Second)
		}
	}
	switch {
	case how&clientCloses != 0:
		c.Close()
	case how&clientHalfCloses != 0:
		_ = c.CloseWrite()
	}
}

// fuzzedBackend says its lines, each in answer to one it hears or all at once.
func fuzzedBackend(b *peer, says []byte, how manners) {
	b.readHeader()
	if how&backendGreets != 0 {
		b.say(map[bool]string{false: imapHello, true: pop3Hello}[how&speakPOP3 != 0])
	}
	for line := range bytes.Lines(says) {
		if _, err := b.Write(line); err != nil {
			return
		}
		if how&backendAtOnce != 0 {
			continue
		}
		if _, err := b.line(); err != nil {
			return
		}
	}
	for how&backendStays != 0 {
		if _, err := b.line(); err != nil {
			return
		}
	}
}
