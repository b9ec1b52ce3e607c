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

// fuzzFlags are how the two ends of a session behave.
type fuzzFlags byte

const (
	fuzzPOP3             fuzzFlags = 1 << iota
	fuzzClientPauses               // sends a line a second
	fuzzClientCloses               // after its last line
	fuzzClientHalfCloses           // likewise
	fuzzBackendSendsAll            // sends everything with its greeting, else a line for each it gets
	fuzzBackendStays               // after its last line
	fuzzBackendGreets              // properly, before anything else
	fuzzGlobalEmpty                // the global bucket is empty
)

// FuzzSession sends any bytes through a whole session, from one client and from every
// backend it reaches. The session always ends and is recorded once, every attempt is
// settled, nothing is held afterwards, and a backend is dialled only for a login.
func FuzzSession(f *testing.F) {
	for _, seed := range sessionSeeds {
		for _, m := range []fuzzFlags{0, fuzzClientPauses, fuzzClientCloses, fuzzClientHalfCloses | fuzzClientPauses, fuzzBackendSendsAll | fuzzGlobalEmpty, fuzzClientPauses | fuzzBackendStays} {
			if strings.HasPrefix(seed.backend, "+OK") {
				m |= fuzzPOP3
			}
			f.Add([]byte(seed.client), []byte(seed.backend), byte(m))
		}
	}
	f.Fuzz(func(t *testing.T, client, backend []byte, how byte) {
		if len(client)+len(backend) > 40_000 {
			return // more than a connection buffers
		}
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, client, backend, fuzzFlags(how)) })
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

func fuzzSession(t *testing.T, client, backend []byte, how fuzzFlags) {
	l := imapListener
	if how&fuzzPOP3 != 0 {
		l = pop3Listener
	}
	logins := 0
	l.Protocol = requestRecorder{l.Protocol, func(r dialogue.Request) {
		if r.Kind == dialogue.Login {
			logins++
		}
	}}
	proxy := newTestProxy(t, l.Protocol, func(b *peer) { runFuzzBackend(b, backend, how) })
	policy := sourceRule()
	policy.Global = limiter.Rate{Tokens: 2, Per: 10 * time.Second}
	proxy.setPolicy(policy)
	if how&fuzzGlobalEmpty != 0 {
		takeGlobalToken(proxy)
		takeGlobalToken(proxy)
	}
	near, _ := proxy.listen(l).dial(clientAddr)
	go runFuzzClient(near, client, how)

	<-time.After(3 * proxy.Timeouts.Idle) // no idle session is open for so long
	synctest.Wait()
	if s := proxy.Stats(); s.Open != 0 || s.Relay != 0 || s.Tarpit != 0 {
		t.Fatalf("the session has not ended: got stats %+v", s)
	}
	near.Close()
	r := proxy.finalRecord()
	if r.Attempts != len(proxy.settledAttempts()) || r.Attempts != logins || r.Attempts > proxy.Tries {
		t.Errorf("got %d logins, %d attempts settled and %d recorded, want the same number", logins, len(proxy.settledAttempts()), r.Attempts)
	}
	checkFuzzCharged(proxy)
	if n := proxy.dialCount(backendAddr); n > logins {
		t.Errorf("got %d logins and %d dials, want no more dials", logins, n)
	}
	if r.End == EndPanic {
		t.Error(r.Err)
	}
	if s := proxy.Limiter.Stats(time.Now()); s.GlobalTokens != 2 {
		t.Errorf("got %v global tokens left, want 2", s.GlobalTokens)
	}
}

// checkFuzzCharged checks that each denied attempt of a stranger is charged a token, and that
// one whose challenge was left unanswered is charged at most for its time.
func checkFuzzCharged(proxy *testProxy) {
	proxy.t.Helper()
	least, most := map[bool]int{}, map[bool]int{} // by whether it was an OAuth token
	for _, a := range proxy.settledAttempts() {
		token := isToken(a.Method)
		switch {
		case a.Outcome == limiter.Denied:
			least[token]++
			most[token]++
		case a.Abandoned:
			most[token] += tokensForSlot(a.Took)
		}
	}
	if n := proxy.charged(clientIP); n < least[false] || n > most[false] {
		proxy.t.Errorf("got %d tokens spent or held, want %d to %d", n, least[false], most[false])
	}
	if n := proxy.chargedToken(clientIP); n < least[true] || n > most[true] {
		proxy.t.Errorf("for OAuth tokens: got %d tokens spent or held, want %d to %d", n, least[true], most[true])
	}
}

// runFuzzClient sends the client's lines and reads what comes.
func runFuzzClient(c *memConn, sends []byte, how fuzzFlags) {
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	for line := range bytes.Lines(sends) {
		if _, err := c.Write(line); err != nil {
			return
		}
		if how&fuzzClientPauses != 0 {
			<-time.After(time.Second)
		}
	}
	switch {
	case how&fuzzClientCloses != 0:
		c.Close()
	case how&fuzzClientHalfCloses != 0:
		_ = c.CloseWrite()
	}
}

// runFuzzBackend sends the backend's lines, each in answer to one or all at once.
func runFuzzBackend(b *peer, sends []byte, how fuzzFlags) {
	b.readHeader()
	if how&fuzzBackendGreets != 0 {
		b.send(map[bool]string{false: imapHello, true: pop3Hello}[how&fuzzPOP3 != 0])
	}
	for line := range bytes.Lines(sends) {
		if _, err := b.Write(line); err != nil {
			return
		}
		if how&fuzzBackendSendsAll != 0 {
			continue
		}
		if _, err := b.readLine(); err != nil {
			return
		}
	}
	for how&fuzzBackendStays != 0 {
		if _, err := b.readLine(); err != nil {
			return
		}
	}
}
