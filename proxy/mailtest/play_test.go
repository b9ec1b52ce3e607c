package mailtest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/standin"
)

// play is a conversation. It must fail with failure in the report, or pass if that is
// empty.
type play struct {
	name, script string
	proxy        func(stubProxy)
	failure      string
}

// plays do not wait for a timeout.
var plays = []play{
	{"greeting", "S: * OK ready", greetingProxy, ""},
	{"any rest of line", "S: * OK {any}", greetingProxy, ""},
	{"wrong line: expected line is in the report", "S: * OK hello", greetingProxy, `want "* OK hello\r\n"`},
	{"wrong line: received line is in the report", "S: * OK hello", greetingProxy, `got  "* OK ready\r\n"`},
	{"partial line", `S: * OK re\c` + "\nS: ady", greetingProxy, ""},
	{"wrong octets fail before the end of the line", `S: * NO re\c`, greetingProxy, `got  "* OK re"`},
	{"LF without CR", "S: a", func(p stubProxy) { io.WriteString(p.Conn, "a\n") }, `got  "a\n"`},
	{"end of stream in a line", "S: a", func(p stubProxy) { io.WriteString(p.Conn, "a\r") }, `got  "a\r"`},
	{"unread octets", "C: a", greetingProxy, `unread at the client: "* OK ready\r\n"`},
	{"end of stream", "S: a\nS-", func(p stubProxy) { p.send("a") }, ""},
	{"octets instead of the end", "S-", greetingProxy, "want the end of the stream"},
	{"echo", `C: a\c` + "\nC: b\nS: ab\nC: {repeat:x,70000}\nS: {repeat:x,70000}", func(p stubProxy) {
		p.send(p.receive())
		p.send(p.receive())
	}, ""},
	{"client closes", "S: * OK ready\nC-", greetingProxy, ""},
	{"step of a closed endpoint", "C-\nC: a", greetingProxy, "the client is already closed"},
	{"proxy closes without reading", "S: bye\nC: {repeat:x,200000}\nS-", func(p stubProxy) { p.send("bye") }, ""},

	{"relay", "C: hello\nU< hello\nS: * OK [CAPABILITY {any}\nU> hi\nS: hi", relayProxy, ""},
	{"backend with its own greeting", "U> * BYE\nS: * BYE", relayProxy, ""},
	{"backend with a late greeting", "U@\nC: a\nU> * OK\nU< a\nS: * OK", relayProxy, ""},
	{"backend closes first", "U-\nS-", relayProxy, ""},
	{"end of stream at the backend", "U> * OK\nS: * OK\nC-\nU=", relayProxy, ""},
	{"wrong line at the backend", "C: a\nU< b", relayProxy, `got  "a\r\n"`},
	{"unread octets at the backend", "C: a\\r\\nb\nU< a\nS: * OK {any}", relayProxy, `unread at the backend 1: "b\r\n"`},
	{"unexpected backend", "C: a\nS: * BYE", func(p stubProxy) {
		p.dial().Close()
		p.send("* BYE")
		p.receive()
	}, "a backend connection that the script does not expect"},
	{"step of a closed backend", "U-\nU> a", relayProxy, "the backend 1 is already closed"},
	{"two backends", "U< 1\nU@\nU< 2\nU> b\nS: b", func(p stubProxy) {
		for _, line := range []string{"1", "2"} {
			backend := p.dial()
			defer backend.Close()
			io.WriteString(backend, line+"\r\n")
			r := bufio.NewReader(backend)
			r.ReadString('\n')
			if line == "2" {
				b, _ := r.ReadString('\n')
				io.WriteString(p.Conn, b)
			}
		}
	}, ""},
}

// timeouts wait for a timeout.
var timeouts = []play{
	{"line missing", "S: * OK {any}\nS: more", greetingProxy, "timeout: nothing more received"},
	{"transcript is in the report", "S: * OK {any}\nS: * NO", greetingProxy, `  S: "* OK ready\r\n"`},
	{"failed step is in the report", "S: * OK {any}\nS: * NO", greetingProxy, `> S: "* NO\r\n"`},
	{"line number is in the report", "S: * OK {any}\n\nS: * NO", greetingProxy, "x: line 4: "},
	{"end of stream missing", "S: * OK {any}\nS-", greetingProxy, "timeout: the stream has not ended"},
	{"backend line missing", "U< hello\nU> hi\nS: * OK {any}\nS: hi\nC: hello", relayProxy, "timeout: nothing more received"},
	{"end of stream at the backend missing", "U> * OK\nS: * OK\nU=", relayProxy, "timeout: the stream has not ended"},
	{"line of the backend missing", "C: a\nS: * OK {any}\nU> \nS: * OK", relayProxy, "x: line 3"},
	{"backend missing", "U@", func(p stubProxy) { p.receive() }, "no backend connection in time"},
}

// tcpTimeout is the timeout of plays that wait for one over TCP. It is long enough for
// the steps before on a busy machine.
const tcpTimeout = 2 * time.Second

// playBoth plays source over a pipe on a fake clock and over TCP, and checks the
// failure. A timeout of 0 is the default.
func playBoth(t *testing.T, source string, timeout time.Duration, proxy func(stubProxy), failure string) {
	t.Helper()
	t.Run("pipe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			expectFailure(t, playStub(t, pipe, source, 0, proxy), failure)
		})
	})
	t.Run("tcp", func(t *testing.T) {
		expectFailure(t, playStub(t, tcp, source, timeout, proxy), failure)
	})
}

// expectFailure checks that got contains want, or that both are empty.
func expectFailure(t *testing.T, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got failure:\n%s\nwant %q in it", got, want)
	}
}

func TestPlay(t *testing.T) {
	for _, tt := range plays {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			playBoth(t, "listener imap clear\n"+tt.script, 0, tt.proxy, tt.failure)
		})
	}
}

// The plays that time out only wait, so all run at the same time, however few CPUs the
// machine has.
func TestPlayTimeouts(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for _, tt := range timeouts {
		all.Go(func() {
			t.Run(tt.name, func(t *testing.T) {
				playBoth(t, "listener imap clear\n"+tt.script, tcpTimeout, tt.proxy, tt.failure)
			})
		})
	}
	all.Go(func() {
		// A proxy that keeps a half-closed connection open leaks it.
		t.Run("connection is never closed", func(t *testing.T) {
			client, server := tcp(t)
			defer server.Close()
			io.WriteString(server, "a\r\n")
			got := playFake(t, "listener imap clear\nS: a", Endpoints{Client: client, Timeout: tcpTimeout})
			expectFailure(t, got, "after the last line, at the client: timeout: the stream has not ended")
		})
	})
	all.Wait()
}

// A pipe cannot be half-closed, so these use TCP only.
func TestPlayHalfClose(t *testing.T) {
	for _, tt := range []struct{ script, failure string }{
		{"C: a\nC~\nU< a\nU=\nU> b\nS: * OK {any}\nS: b\nU~\nS-", ""},
		{"U> a\nU~\nS: a\nS-", ""},
		{"C~\nU> a\nS-", "want the end of the stream"},
	} {
		t.Run(tt.script, func(t *testing.T) {
			expectFailure(t, playStub(t, tcp, "listener imap clear\n"+tt.script, 0, relayProxy), tt.failure)
		})
	}
}

// tlsServer returns a function that makes the proxy's side of TLS.
func tlsServer(t *testing.T) func(net.Conn) *tls.Conn {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return func(c net.Conn) *tls.Conn { return tls.Server(c, cert.Server()) }
}

func TestPlayTLS(t *testing.T) {
	server := tlsServer(t)
	answer := func(c *tls.Conn) {
		defer c.Close()
		inTLS := stubProxy{Conn: c, Reader: bufio.NewReader(c)}
		inTLS.send(inTLS.receive() + " in TLS")
		inTLS.receive()
	}
	for _, tt := range []struct {
		name, script string
		proxy        func(stubProxy)
		failure      string
	}{
		{"implicit", "listener imap tls\nC: a\nS: a in TLS", func(p stubProxy) { answer(server(p)) }, ""},
		{"after STARTTLS", "listener imap clear\nC: a STARTTLS\nS: a OK\nTLS\nC: b\nS: b in TLS\nC~\nS-", func(p stubProxy) {
			p.receive()
			p.send("a OK")
			answer(server(p))
		}, ""},
		{"cleartext after the answer", "listener imap clear\nS: a\nTLS", func(p stubProxy) {
			p.send("a\r\nb")
			p.receive()
		}, "x: line 3"},
		{"proxy closes before the handshake", "listener imap tls\nS-", func(stubProxy) {}, ""},
		{"proxy closes and a line is expected", "listener imap tls\nS: * OK", func(stubProxy) {}, "x: line 2: "},
		{"proxy without TLS", "listener imap tls\nS: * OK", greetingProxy, "x: "},
		{"end without close_notify", "listener imap tls\nC: a\nS: a\nS-", func(p stubProxy) {
			c := server(p)
			inTLS := stubProxy{Conn: c, Reader: bufio.NewReader(c)}
			inTLS.send(inTLS.receive())
		}, "TLS ended without close_notify"},
		{"handshake after the end of the stream", "listener imap clear\nS: a\nTLS\nS-", func(p stubProxy) { p.send("a") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			playBoth(t, tt.script, 0, tt.proxy, tt.failure)
		})
	}
}

func TestPlayWithoutBackends(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	if got := playFake(t, "listener imap clear\nU@", Endpoints{Client: client}); !strings.Contains(got, "want Endpoints.Backends") {
		t.Errorf("got failure %q", got)
	}
}

func TestPlayOnFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			<-time.After(30 * time.Minute)
			io.WriteString(server, "* BYE\r\n")
		}()
		if got := playFake(t, "listener imap clear\nS: * BYE\nS-", Endpoints{Client: client, Timeout: time.Hour}); got != "" {
			t.Error(got)
		}
	})
}

func TestAcceptBackend(t *testing.T) {
	ln := listen(t)
	peers := make(chan standin.Peer, 1)
	accepted := AcceptBackend(t, ln, standin.Options{ProxyHeader: true, Connect: func(p standin.Peer) { peers <- p }})
	c := mustDial(t, ln.Addr())
	writeHeader(t, c)
	io.WriteString(c, "a\r\n")
	got := <-accepted
	defer got.Close()
	if p := <-peers; !p.TLS || p.Client.String() != "203.0.113.7:4000" {
		t.Errorf("got peer %+v, want 203.0.113.7:4000 in TLS", p)
	}
	if line, err := bufio.NewReader(got).ReadString('\n'); line != "a\r\n" {
		t.Errorf("got %q, %v, want %q", line, err, "a\r\n")
	}
}
