package mailtest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/standin"
)

// plays are conversations and how they fail; those with an empty failure pass.
var plays = []struct {
	name, script string
	proxy        func(toy)
	failure      string
}{
	{"greeting", "S: * OK ready", greeter, ""},
	{"any rest", "S: * OK {any}", greeter, ""},
	{"wrong line", "S: * OK hello", greeter, `want "* OK hello\r\n"`},
	{"wrong line is shown", "S: * OK hello", greeter, `got  "* OK ready\r\n"`},
	{"transcript", "S: * OK {any}\nS: * NO", greeter, `  S: "* OK ready\r\n"`},
	{"step is shown", "S: * OK {any}\nS: * NO", greeter, `> S: "* NO\r\n"`},
	{"line number", "S: * OK {any}\n\nS: * NO", greeter, "x: line 4: "},
	{"nothing comes", "S: * OK {any}\nS: more", greeter, "nothing more came in time"},
	{"exact octets", `S: * OK re\c` + "\nS: ady", greeter, ""},
	{"wrong octets fail at once", `S: * NO re\c`, greeter, `got  "* OK re"`},
	{"bare LF", "S: a", func(g toy) { io.WriteString(g.Conn, "a\n") }, `got  "a\n"`},
	{"half a line", "S: a", func(g toy) { io.WriteString(g.Conn, "a\r") }, `got  "a\r"`},
	{"unread octets", "C: a", greeter, `unread at the client: "* OK ready\r\n"`},
	{"end", "S: a\nS-", func(g toy) { g.say("a") }, ""},
	{"end too late", "S: * OK {any}\nS-", greeter, "did not end in time"},
	{"something instead of the end", "S-", greeter, "instead of the end"},
	{"echo", `C: a\c` + "\nC: b\nS: ab\nC: {repeat:x,70000}\nS: {repeat:x,70000}", func(g toy) {
		g.say(g.hear())
		g.say(g.hear())
	}, ""},
	{"client closes", "S: * OK ready\nC-", greeter, ""},
	{"nothing is asked of a closed end", "C-\nC: a", greeter, "the client is closed already"},
	{"what the proxy does not read is no failure", "S: bye\nC: {repeat:x,200000}\nS-", func(g toy) { g.say("bye") }, ""},

	{"relay", "U< hello\nU> hi\nS: * OK {any}\nS: hi\nC: hello", relay, "nothing more came"},
	{"relay in order", "C: hello\nU< hello\nS: * OK [CAPABILITY {any}\nU> hi\nS: hi", relay, ""},
	{"backend greets in its own words", "U> * BYE\nS: * BYE", relay, ""},
	{"backend greets late", "U@\nC: a\nU> * OK\nU< a\nS: * OK", relay, ""},
	{"backend closes first", "U-\nS-", relay, ""},
	{"backend sees the end", "U> * OK\nS: * OK\nC-\nU=", relay, ""},
	{"backend sees no end", "U> * OK\nS: * OK\nU=", relay, "did not end in time"},
	{"wrong line at the backend", "C: a\nU< b", relay, `got  "a\r\n"`},
	{"unread at the backend", "C: a\nS: * OK {any}\nU> \nS: * OK", relay, "x: line 3"},
	{"unread behind the last line", "C: a\\r\\nb\nU< a\nS: * OK {any}", relay, `unread at the backend 1: "b\r\n"`},
	{"no backend", "U@", func(g toy) { g.hear() }, "no backend connection arrived"},
	{"unexpected backend", "C: a\nS: * BYE", func(g toy) {
		g.dial().Close()
		g.say("* BYE")
		g.hear()
	}, "the script knows nothing of"},
	{"closed backend", "U-\nU> a", relay, "the backend 1 is closed already"},
	{"two backends", "U< 1\nU@\nU< 2\nU> b\nS: b", func(g toy) {
		for _, line := range []string{"1", "2"} {
			backend := g.dial()
			defer backend.Close()
			io.WriteString(backend, line+"\r\n")
			r := bufio.NewReader(backend)
			r.ReadString('\n')
			if line == "2" {
				b, _ := r.ReadString('\n')
				io.WriteString(g.Conn, b)
			}
		}
	}, ""},
}

// both plays source over a pipe on a fake clock, and over TCP, and compares how
// it fails.
func both(t *testing.T, source string, proxy func(toy), failure string) {
	t.Helper()
	t.Run("pipe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			compare(t, playToy(t, pipe, source, 0, proxy), failure)
		})
	})
	t.Run("tcp", func(t *testing.T) {
		var patience time.Duration
		if failure != "" {
			patience = time.Second / 2
		}
		compare(t, playToy(t, tcp, source, patience, proxy), failure)
	})
}

// compare fails unless got says want, or both are empty.
func compare(t *testing.T, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("failure:\n%s\nwant %q in it", got, want)
	}
}

func TestPlay(t *testing.T) {
	for _, tt := range plays {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			both(t, "listener imap clear\n"+tt.script, tt.proxy, tt.failure)
		})
	}
}

// A proxy that keeps a half-closed connection open forever has a leak.
func TestPlayGateNeverEnds(t *testing.T) {
	client, server := tcp(t)
	defer server.Close()
	io.WriteString(server, "a\r\n")
	got := playFake(t, "listener imap clear\nS: a", Endpoints{Client: client, Patience: time.Second / 2})
	compare(t, got, "after the last line, at the client: the stream did not end in time")
}

// Half-closing needs connections that can.
func TestPlayHalfClose(t *testing.T) {
	for _, tt := range []struct{ script, failure string }{
		{"C: a\nC~\nU< a\nU=\nU> b\nS: * OK {any}\nS: b\nU~\nS-", ""},
		{"U> a\nU~\nS: a\nS-", ""},
		{"C~\nU> a\nS-", "something came instead"},
	} {
		t.Run(tt.script, func(t *testing.T) {
			compare(t, playToy(t, tcp, "listener imap clear\n"+tt.script, 0, relay), tt.failure)
		})
	}
}

// secure is the proxy's side of TLS.
func secure(t *testing.T) func(net.Conn) *tls.Conn {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return func(c net.Conn) *tls.Conn { return tls.Server(c, cert.Server()) }
}

func TestPlayTLS(t *testing.T) {
	server := secure(t)
	answer := func(c *tls.Conn) {
		defer c.Close()
		inside := toy{Conn: c, Reader: bufio.NewReader(c)}
		inside.say(inside.hear() + " inside")
		inside.hear()
	}
	for _, tt := range []struct {
		name, script string
		proxy        func(toy)
		failure      string
	}{
		{"implicit", "listener imap tls\nC: a\nS: a inside", func(g toy) { answer(server(g)) }, ""},
		{"after STARTTLS", "listener imap clear\nC: a STARTTLS\nS: a OK\nTLS\nC: b\nS: b inside\nC~\nS-", func(g toy) {
			g.hear()
			g.say("a OK")
			answer(server(g))
		}, ""},
		{"clear text behind the answer", "listener imap clear\nS: a\nTLS", func(g toy) {
			g.say("a\r\nb")
			g.hear()
		}, "x: line 3"},
		{"listener closes before the handshake", "listener imap tls\nS-", func(toy) {}, ""},
		{"listener closes and something is expected", "listener imap tls\nS: * OK", func(toy) {}, "EOF"},
		{"listener speaks no TLS", "listener imap tls\nS: * OK", greeter, "x: "},
		{"cut off", "listener imap tls\nC: a\nS: a\nS-", func(g toy) {
			c := server(g)
			inside := toy{Conn: c, Reader: bufio.NewReader(c)}
			inside.say(inside.hear())
		}, "cut off without close_notify"},
		{"handshake on a connection that ended", "listener imap clear\nS: a\nTLS\nS-", func(g toy) { g.say("a") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			both(t, tt.script, tt.proxy, tt.failure)
		})
	}
}

func TestPlayWithoutBackends(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	if got := playFake(t, "listener imap clear\nU@", Endpoints{Client: client}); !strings.Contains(got, "no backends") {
		t.Errorf("failure: %s", got)
	}
}

// On a fake clock hours pass in no time, when the test has the patience.
func TestPlayOnAFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			<-time.After(30 * time.Minute)
			io.WriteString(server, "* BYE\r\n")
		}()
		if got := playFake(t, "listener imap clear\nS: * BYE\nS-", Endpoints{Client: client, Patience: time.Hour}); got != "" {
			t.Error(got)
		}
	})
}

func TestAcceptBackend(t *testing.T) {
	ln := listen(t)
	peers := make(chan standin.Peer, 1)
	arrived := AcceptBackend(t, ln, standin.Options{ProxyHeader: true, Connect: func(p standin.Peer) { peers <- p }})
	c := mustDial(t, ln.Addr())
	writeHeader(t, c)
	io.WriteString(c, "a\r\n")
	got := <-arrived
	defer got.Close()
	if p := <-peers; !p.TLS || p.Client.String() != "203.0.113.7:4000" {
		t.Errorf("peer %+v", p)
	}
	if line, err := bufio.NewReader(got).ReadString('\n'); line != "a\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}
