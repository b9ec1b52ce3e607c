package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
)

// If this fails with a new release of Go, an idle session in TLS takes up to 16 KB more.
// Look for what has become of the input buffer of tls.Conn, and change findInputField.
func TestInputFieldIsKnown(t *testing.T) {
	if inputField == nil {
		t.Errorf("got no field rawInput of type bytes.Buffer in %v", reflect.TypeFor[tls.Conn]())
	}
}

// fullRecord is the most data that one TLS record carries.
const fullRecord = 16 << 10

// tlsVersions are the versions that a client may speak.
var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// inputBuffer is the input buffer of c.
func inputBuffer(c *tls.Conn) *bytes.Buffer {
	field := reflect.ValueOf(c).Elem().FieldByIndex(inputField)
	return reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Interface().(*bytes.Buffer)
}

// heldConn keeps back what is written from when hold is set until flush is called, but for
// the first bytes.
type heldConn struct {
	net.Conn
	hold bool
	held []byte
}

func (c *heldConn) Write(p []byte) (int, error) {
	if !c.hold {
		return c.Conn.Write(p)
	}
	if c.held = append(c.held, p...); len(c.held) == len(p) {
		c.Conn.Write(p[:100])
	}
	return len(p), nil
}

func (c *heldConn) flush() { c.Conn.Write(c.held[100:]) }

// tlsPair returns both ends of a connection in TLS, and what is below the client's.
func tlsPair(t *testing.T, version uint16) (server, client *tls.Conn, below *heldConn) {
	t.Helper()
	near, far := newMemPair(clientAddr, proxyAddr)
	below = &heldConn{Conn: near}
	server = tls.Server(far, testCert.Server())
	client = tls.Client(below, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client, below
}

// send writes data to one end of a connection and checks that it arrives at the other.
func send(t *testing.T, from, to net.Conn, data []byte) {
	t.Helper()
	written := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		written <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %.20q, %v; want %.20q", got, err, data)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// A connection whose input buffer is released again and again goes on in both directions,
// and ends in order.
func TestReleaseInput(t *testing.T) {
	for _, version := range tlsVersions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server, client, _ := tlsPair(t, version)
			for i := range 50 {
				send(t, client, server, bytes.Repeat([]byte{byte(i)}, 3*fullRecord+i))
				if n := inputBuffer(server).Cap(); n < fullRecord {
					t.Fatalf("got an input buffer of %d bytes, want at least %d", n, fullRecord)
				}
				releaseInput(server)
				if n := inputBuffer(server).Cap(); n != 0 {
					t.Fatalf("got an input buffer of %d bytes when it was released, want none", n)
				}
				send(t, server, client, bytes.Repeat([]byte{byte(i)}, 1+i*i))
				send(t, client, server, []byte("short"))
				releaseInput(server)
			}
			client.Close()
			if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("got %d bytes, %v; want the end", n, err)
			}
		})
	}
}

// A buffer that holds a part of a record is kept.
func TestReleaseInputKeepsData(t *testing.T) {
	for _, version := range tlsVersions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client, below := tlsPair(t, version)
				data := testData(fullRecord, 1)
				below.hold = true
				if _, err := client.Write(data); err != nil {
					t.Fatal(err)
				}
				server.NetConn().SetReadDeadline(time.Now().Add(time.Second))
				if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("read a part of a record: got %d bytes, %v; want %v", n, err, os.ErrDeadlineExceeded)
				}
				releaseInput(server)
				if inputBuffer(server).Len() == 0 {
					t.Error("got an empty buffer, want a part of a record")
				}
				server.NetConn().SetReadDeadline(time.Time{})
				below.flush()
				got := make([]byte, len(data))
				if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %.20q, %v; want %.20q", got, err, data)
				}
			})
		})
	}
}

// Of a connection that is not in TLS there is nothing to release.
func TestReleaseInputInClearText(t *testing.T) {
	near, far := newMemPair(clientAddr, proxyAddr)
	far.Write([]byte("hello"))
	releaseInput(near)
	near.SetReadDeadline(time.Now().Add(realTimeout))
	got := make([]byte, 5)
	if _, err := io.ReadFull(near, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v; want hello", got, err)
	}
}

// A session that is parked before login or in the relay has no input buffer, whatever its
// client sent before, and goes on.
func TestParkedSessionHasNoInputBuffer(t *testing.T) {
	for _, version := range tlsVersions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
				client := proxy.connect(clientAddr, proxy.listen(imapsListener))
				client.startTLS(&tls.Config{InsecureSkipVerify: true, MaxVersion: version})
				client.expect("* OK …")
				parked := func(conn func(*session) net.Conn) {
					t.Helper()
					synctest.Wait()
					proxy.mu.Lock()
					defer proxy.mu.Unlock()
					for s := range proxy.sessions {
						if n := inputBuffer(conn(s).(*tls.Conn)).Cap(); n != 0 {
							t.Errorf("got an input buffer of %d bytes, want none", n)
						}
					}
				}
				client.send("a0 NOOP "+strings.Repeat("x", 8000), "a1 LOGIN u wrong")
				client.expect("a0 BAD …", "a1 NO …")
				parked(func(s *session) net.Conn { return s.client.Conn })
				client.send("a2 LOGIN u right")
				client.expect("a2 OK …")
				for range 3 {
					mail := strings.Repeat("mail", fullRecord)
					client.send(mail)
					client.expect("echo " + mail)
					parked(func(s *session) net.Conn { return s.relaying.client.conn })
				}
			})
		})
	}
}

// OpenSSL goes on talking with a server that releases its input buffer, and renews the
// keys of both sides meanwhile where TLS can do that.
func TestReleaseInputWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	for option, version := range map[string]uint16{"-tls1_2": tls.VersionTLS12, "-tls1_3": tls.VersionTLS13} {
		t.Run(option, func(t *testing.T) {
			ln := listen(t)
			defer ln.Close()
			cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", ln.Addr().String(), option)
			in, _ := cmd.StdinPipe()
			read, write := io.Pipe()
			cmd.Stdout, cmd.Stderr = write, write
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				read.Close()
				in.Close()
				cmd.Process.Kill()
				cmd.Wait()
			}()
			raw, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(realTimeout))
			server, lines := tls.Server(raw, testCert.Server()), bufio.NewScanner(read)
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := server.ConnectionState().Version; got != version {
				t.Fatalf("got %s, want %s", tls.VersionName(got), tls.VersionName(version))
			}
			expect := func(line string) {
				t.Helper()
				for lines.Scan() && lines.Text() != line {
				}
				if lines.Text() != line {
					t.Fatalf("client did not print %q: %v", line, lines.Err())
				}
			}
			for i := range 3 {
				if version == tls.VersionTLS13 {
					fmt.Fprintln(in, "K") // s_client renews the keys of both
					expect("KEYUPDATE")
				}
				data := bytes.Repeat([]byte{'a' + byte(i)}, 3*fullRecord)
				in.Write(append(data, '\n'))
				got := make([]byte, len(data)+1)
				if _, err := io.ReadFull(server, got); err != nil || string(got) != string(data)+"\n" {
					t.Fatalf("got %.20q, %v; want %.20q", got, err, data)
				}
				if releaseInput(server); inputBuffer(server).Cap() != 0 {
					t.Errorf("got an input buffer of %d bytes, want none", inputBuffer(server).Cap())
				}
				fmt.Fprintf(server, "got %d\n", i)
				expect(fmt.Sprint("got ", i))
			}
		})
	}
}
