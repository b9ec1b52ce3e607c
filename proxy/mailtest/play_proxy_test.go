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

// fakeTB records the failure of a test.
type fakeTB struct {
	testing.TB
	failure string
}

func (*fakeTB) Helper() {}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// playFake plays the one script in source and returns its failure.
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

// stubProxy is the connection of a client to a proxy of a few lines, which can dial
// backends. playStub closes it.
type stubProxy struct {
	net.Conn
	*bufio.Reader
	dial func() net.Conn
}

func (p stubProxy) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func (p stubProxy) send(line string) { fmt.Fprintf(p.Conn, "%s\r\n", line) }

func (p stubProxy) receive() string {
	line, _ := p.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n")
}

// connectFunc returns both ends of a new connection.
type connectFunc func(t *testing.T) (client, server net.Conn)

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

// playStub plays source against proxy and returns the failure.
func playStub(t *testing.T, connect connectFunc, source string, timeout time.Duration, proxy func(stubProxy)) string {
	client, server := connect(t)
	backends := make(chan net.Conn, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		proxy(stubProxy{server, bufio.NewReader(server), func() net.Conn {
			conn, backend := connect(t)
			backends <- backend
			return conn
		}})
	}()
	failure := playFake(t, source, Endpoints{Client: client, Backends: backends, Timeout: timeout})
	for {
		select {
		case unused := <-backends:
			unused.Close()
		case <-done:
			return failure
		}
	}
}

// greetingProxy sends a greeting and reads until the client closes.
func greetingProxy(p stubProxy) {
	p.send("* OK ready")
	io.Copy(io.Discard, p)
}

// relayProxy dials a backend at once and copies in both directions.
func relayProxy(p stubProxy) {
	backend := p.dial()
	defer backend.Close()
	go func() {
		io.Copy(backend, p)
		if closeWrite(backend) != nil {
			backend.Close()
		}
	}()
	io.Copy(p.Conn, backend)
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

// writeHeader sends the PROXY header of a client 203.0.113.7 in TLS 1.3.
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
