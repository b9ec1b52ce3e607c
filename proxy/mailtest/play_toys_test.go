package mailtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// fakeTB notes down how a test would have failed.
type fakeTB struct {
	testing.TB
	failure string
}

func (*fakeTB) Helper() {}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// playFake plays the only script in source and returns its failure.
func playFake(t *testing.T, source string, e Endpoints) string {
	t.Helper()
	scripts, err := ParseScripts("x.dlg", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		scripts[0].Play(f, e)
	}()
	<-done
	return f.failure
}

// toy is a proxy of a few lines, as a test needs it. It has a connection from
// the client and can dial backends; both are closed for it.
type toy struct {
	net.Conn
	*bufio.Reader
	dial func() net.Conn
}

func (g toy) Read(b []byte) (int, error) { return g.Reader.Read(b) }

func (g toy) say(line string) { fmt.Fprintf(g.Conn, "%s\r\n", line) }

func (g toy) hear() string {
	line, _ := g.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n")
}

// link makes connections of one kind.
type link func(t *testing.T) (client, server net.Conn)

func pipe(*testing.T) (net.Conn, net.Conn) { return net.Pipe() }

func tcp(t *testing.T) (net.Conn, net.Conn) {
	ln := listen(t)
	defer ln.Close()
	c := mustDial(t, ln.Addr())
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// playToy plays source against proxy and returns the failure.
func playToy(t *testing.T, connect link, source string, patience time.Duration, proxy func(toy)) string {
	client, server := connect(t)
	backends := make(chan net.Conn, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		proxy(toy{server, bufio.NewReader(server), func() net.Conn {
			near, far := connect(t)
			backends <- far
			return near
		}})
	}()
	failure := playFake(t, source, Endpoints{Client: client, Backends: backends, Patience: patience})
	for {
		select {
		case late := <-backends:
			late.Close()
		case <-done:
			return failure
		}
	}
}

// greeter is a proxy that greets and waits for the client to leave.
func greeter(g toy) {
	g.say("* OK ready")
	io.Copy(io.Discard, g)
}

// relay is a proxy that dials a backend at once and copies both ways.
func relay(g toy) {
	backend := g.dial()
	defer backend.Close()
	go func() {
		io.Copy(backend, g)
		if closeWrite(backend) != nil {
			backend.Close()
		}
	}()
	io.Copy(g.Conn, backend)
}

func mustDial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// writeHeader announces a client 203.0.113.7 in TLS 1.3 on c.
func writeHeader(t *testing.T, c net.Conn) {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2,
		&net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4000}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 993})
	ssl, err := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1, TLV: []proxyproto.TLV{
		{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte("TLSv1.3")},
		{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte("TLS_AES_128_GCM_SHA256")},
	}}.Marshal()
	if err == nil {
		err = h.SetTLVs([]proxyproto.TLV{ssl})
	}
	if err == nil {
		_, err = h.WriteTo(c)
	}
	if err != nil {
		t.Fatal(err)
	}
}
