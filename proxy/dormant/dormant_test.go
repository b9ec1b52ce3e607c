package dormant

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"testing"
	"time"

	"postern/proxy/proxytest"
)

// If this fails with a new version of Go, sessions in TLS take 3 KB more: see what
// has changed in crypto/tls, whether this package must keep more of it, and amend
// fields.
func TestFieldsAreKnown(t *testing.T) {
	if !known {
		t.Errorf("tls.Conn is %v", reflect.TypeFor[tls.Conn]())
	}
}

func testCertificate(t testing.TB) *proxytest.Certificate {
	t.Helper()
	cert, err := proxytest.NewCertificate("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// pair returns the two ends of a TLS connection after its handshake.
func pair(t testing.TB, config *tls.Config) (server, client *tls.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	config.InsecureSkipVerify = true
	server, client = tls.Server(far, testCertificate(t).Server()), tls.Client(near, config)
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// echo has the server answer what the client says.
func echo(t *testing.T, server, client *tls.Conn, says []byte) {
	t.Helper()
	go client.Write(says)
	heard := make([]byte, len(says))
	if _, err := io.ReadFull(server, heard); err != nil || !bytes.Equal(heard, says) {
		t.Fatalf("server heard %.20q, %v", heard, err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := server.Write(says)
		written <- err
	}()
	if _, err := io.ReadFull(client, heard); err != nil || !bytes.Equal(heard, says) {
		t.Fatalf("client heard %.20q, %v", heard, err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// A connection that has slept goes on as if nothing had been, over and over, and
// ends in good order.
func TestSleepAndWake(t *testing.T) {
	server, client := pair(t, &tls.Config{})
	for i := range 300 {
		s := Sleep(server)
		if s == nil {
			t.Fatalf("it does not sleep in round %d", i)
		}
		server = s.Wake(server.NetConn())
		echo(t, server, client, bytes.Repeat([]byte{byte(i)}, 1+i*i))
		Trim(server)
	}
	go server.Close()
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("client heard %d octets, %v", n, err)
	}
}

// OpenSSL, which chooses the suite, goes on talking with a server that sleeps before
// each word, and changes its keys meanwhile.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	for id := range suites {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			client := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", ln.Addr().String(), "-ciphersuites", tls.CipherSuiteName(id))
			says, _ := client.StdinPipe()
			hears, tells := io.Pipe()
			client.Stdout, client.Stderr = tells, tells
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				hears.Close()
				says.Close()
				client.Process.Kill()
				client.Wait()
			}()
			raw, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(30 * time.Second))
			server, lines := tls.Server(raw, testCertificate(t).Server()), bufio.NewScanner(hears)
			until := func(line string) {
				for lines.Scan() && lines.Text() != line {
				}
			}
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"one", "two", "three"} {
				fmt.Fprintln(says, "K") // renew the keys of both
				until("KEYUPDATE")
				fmt.Fprintln(says, word)
				server = Sleep(server).Wake(raw)
				b := make([]byte, 100)
				n, err := io.ReadAtLeast(server, b, len(word)+1)
				if err != nil || string(b[:n]) != word+"\n" {
					t.Fatalf("server heard %q, %v", b[:n], err)
				}
				server = Sleep(server).Wake(raw)
				fmt.Fprintf(server, "heard %s\n", word)
				if until("heard " + word); lines.Text() != "heard "+word {
					t.Fatalf("client heard no %q: %v", word, lines.Err())
				}
			}
			if got := server.ConnectionState().CipherSuite; got != id {
				t.Errorf("suite %s", tls.CipherSuiteName(got))
			}
		})
	}
}

// What is in the middle of something does not sleep, nor what could not go on.
func TestSleepless(t *testing.T) {
	for name, c := range map[string]struct {
		most uint16 // version of TLS
		do   func(t *testing.T, server, client *tls.Conn) *tls.Conn
	}{
		"TLS 1.2": {tls.VersionTLS12, func(_ *testing.T, server, _ *tls.Conn) *tls.Conn { return server }},
		"client":  {0, func(_ *testing.T, _, client *tls.Conn) *tls.Conn { return client }},
		"unread": {0, func(_ *testing.T, server, client *tls.Conn) *tls.Conn {
			go client.Write([]byte("hello"))
			server.Read(make([]byte, 1))
			return server
		}},
		"said goodbye": {0, func(_ *testing.T, server, client *tls.Conn) *tls.Conn {
			go io.Copy(io.Discard, client)
			server.CloseWrite()
			return server
		}},
		"heard goodbye": {0, func(_ *testing.T, server, client *tls.Conn) *tls.Conn {
			go client.CloseWrite()
			server.Read(make([]byte, 1))
			return server
		}},
		"failed": {0, func(_ *testing.T, server, client *tls.Conn) *tls.Conn {
			go client.NetConn().Write([]byte("\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
			go io.Copy(io.Discard, client.NetConn())
			server.Read(make([]byte, 1))
			return server
		}},
		"before its handshake": {0, func(_ *testing.T, server, _ *tls.Conn) *tls.Conn {
			return tls.Server(server.NetConn(), &tls.Config{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t, &tls.Config{MaxVersion: c.most})
			if Sleep(c.do(t, server, client)) != nil {
				t.Error("it sleeps")
			}
		})
	}
}

// A struct that differs in a single field is not taken for what is known.
func TestSame(t *testing.T) {
	type theirs struct {
		A int
		B *tls.Config
		C struct{ D []byte }
	}
	for _, mine := range []any{
		struct {
			A int
			B *tls.Config
		}{},
		struct {
			X int
			B *tls.Config
			C struct{ D []byte }
		}{},
		struct {
			A uint
			B *tls.Config
			C struct{ D []byte }
		}{},
		struct {
			A int
			B *tls.Conn
			C struct{ D []byte }
		}{},
		struct {
			A int
			B *tls.Config
			C struct{ D []int }
		}{},
	} {
		if same(reflect.TypeFor[theirs](), reflect.TypeOf(mine)) {
			t.Errorf("%T is taken for %v", mine, reflect.TypeFor[theirs]())
		}
	}
	if !same(reflect.TypeFor[theirs](), reflect.TypeFor[struct {
		A int
		B *opaque
		C struct{ D []opaque }
	}]()) {
		t.Error("what is not looked into is told apart")
	}
}

// TestSize says what sleep saves.
func TestSize(t *testing.T) {
	const many = 200
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	servers := make([]*tls.Conn, many)
	for i := range servers {
		servers[i], _ = pair(t, &tls.Config{})
	}
	sessions := make([]*Session, many)
	before := inUse()
	for i, c := range servers {
		sessions[i], servers[i] = Sleep(c), nil
	}
	if saved := (int64(before) - int64(inUse())) / many; saved < 2000 {
		t.Errorf("%d octets are saved", saved)
	}
	runtime.KeepAlive(sessions)
}

// BenchmarkSleepAndWake is what a silent connection costs when something moves.
func BenchmarkSleepAndWake(b *testing.B) {
	server, _ := pair(b, &tls.Config{})
	b.ReportAllocs()
	for b.Loop() {
		server = Sleep(server).Wake(server.NetConn())
	}
}
