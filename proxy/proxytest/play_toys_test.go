package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
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
func playFake(t *testing.T, source string, g Gate) string {
	t.Helper()
	scripts, err := ParseScripts("x.dlg", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		scripts[0].Play(f, g)
	}()
	<-done
	return f.failure
}

// toy is a gate of a few lines, as a test needs it. It has a connection from
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
	c := dial(t, ln.Addr())
	_ = c.SetDeadline(time.Time{})
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// playToy plays source against gate and returns the failure.
func playToy(t *testing.T, connect link, source string, patience time.Duration, gate func(toy)) string {
	client, server := connect(t)
	upstream := make(chan net.Conn, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		gate(toy{server, bufio.NewReader(server), func() net.Conn {
			near, far := connect(t)
			upstream <- far
			return near
		}})
	}()
	failure := playFake(t, source, Gate{Client: client, Upstream: upstream, Patience: patience})
	for {
		select {
		case late := <-upstream:
			late.Close()
		case <-done:
			return failure
		}
	}
}

// greeter is a gate that greets and waits for the client to leave.
func greeter(g toy) {
	g.say("* OK ready")
	io.Copy(io.Discard, g)
}

// relay is a gate that dials a backend at once and copies both ways.
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
