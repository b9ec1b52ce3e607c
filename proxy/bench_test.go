package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"postern/proxy/standin"
)

// newBenchmarkProxy serves a listener in front of a small IMAP server.
func newBenchmarkProxy(b *testing.B, l Listener) *tcpProxy {
	b.Helper()
	ln := listen(b)
	srv, err := standin.ServeIMAP(ln, []standin.Account{{Name: "user", Secret: "right"}}, standin.Options{ProxyHeader: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { srv.Close() })
	backends := NewBackends(l.Protocol, BackendConfig{Addrs: []string{ln.Addr().String()}, Logins: 100})
	proxy := &tcpProxy{Server: newServer(b, backends), records: make(chan Record, 100)}
	proxy.CleartextLogin = true
	proxy.Done = func(r Record) { proxy.records <- r }
	if l.TLS == Implicit {
		proxy.config = &tls.Config{InsecureSkipVerify: true}
	}
	proxy.addr = serve(b, proxy.Server, l)
	return proxy
}

// BenchmarkLogin measures a connection from accept to the record, with a login that is
// accepted and a logout. Allocations include those of the client and of the mail
// server, which are in the same process.
func BenchmarkLogin(b *testing.B) {
	for name, l := range map[string]Listener{"clear": imapListener, "tls": imapsListener} {
		b.Run(name, func(b *testing.B) {
			proxy := newBenchmarkProxy(b, l)
			b.ReportAllocs()
			for b.Loop() {
				client, _ := proxy.connectGreeted(b)
				client.send("a1 LOGIN user right")
				client.expect("a1 OK …")
				client.send("a2 LOGOUT")
				if _, err := io.Copy(io.Discard, client.r); err != nil {
					b.Fatal(err)
				}
				client.Close()
				if r := <-proxy.records; r.Account == "" {
					b.Fatalf("got record %+v", r)
				}
			}
		})
	}
}

// BenchmarkRelay relays a megabyte from the backend to the client.
func BenchmarkRelay(b *testing.B) {
	for name, l := range map[string]Listener{"clear": imapListener, "tls": imapsListener} {
		b.Run(name, func(b *testing.B) {
			mail := testData(1<<20, 3)
			proxy := newTCPProxy(b, l, acceptLogin(func(client *peer) {
				for {
					if _, err := client.r.ReadByte(); err != nil {
						return
					}
					if _, err := client.Write(mail); err != nil {
						return
					}
				}
			}))
			client, tcp := proxy.connectGreeted(b)
			client.send("a1 LOGIN u p")
			client.expect("a1 OK in")
			_ = tcp.SetDeadline(time.Time{})
			b.ReportAllocs()
			b.SetBytes(int64(len(mail)))
			for b.Loop() {
				if _, err := client.Write([]byte("\n")); err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, client.r, int64(len(mail))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandshake measures a server's handshake with and without a device id, of clients
// that resume and of those that do not. The time includes that of the client.
func BenchmarkHandshake(b *testing.B) {
	pool := newDevicePool(1)
	for name, handshake := range map[string]func(net.Conn) (*tls.Conn, error){
		"plain": func(conn net.Conn) (*tls.Conn, error) {
			secure := tls.Server(conn, pool.base)
			return secure, secure.Handshake()
		},
		"device": func(conn net.Conn) (*tls.Conn, error) {
			secure, _, _, err := pool.handshake(conn)
			return secure, err
		},
	} {
		for _, resumes := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/resumes=%t", name, resumes), func(b *testing.B) {
				client := resumingClient(tls.VersionTLS13)
				b.ReportAllocs()
				for b.Loop() {
					if !resumes {
						client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
					}
					near, far := net.Pipe()
					go func() {
						secure, err := handshake(far)
						if err != nil {
							b.Error(err)
						}
						_, _ = secure.Write([]byte("*"))
					}()
					if _, err := tls.Client(near, client).Read(make([]byte, 1)); err != nil {
						b.Fatal(err)
					}
					near.Close()
					far.Close()
				}
			})
		}
	}
}

// BenchmarkSessionMemory measures the memory of a server's TLS connection with and without
// a device id, once the handshake is complete.
func BenchmarkSessionMemory(b *testing.B) {
	const sessions = 2000
	pool := newDevicePool(1)
	for name, handshake := range map[string]func(net.Conn) *tls.Conn{
		"plain": func(conn net.Conn) *tls.Conn {
			secure := tls.Server(conn, pool.base)
			_ = secure.Handshake()
			return secure
		},
		"device": func(conn net.Conn) *tls.Conn {
			secure, _, _, _ := pool.handshake(conn)
			return secure
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				before := heapInUse()
				var open []net.Conn
				for range sessions {
					near, far := net.Pipe()
					done := make(chan *tls.Conn, 1)
					go func() { done <- handshake(far) }()
					client := tls.Client(near, resumingClient(tls.VersionTLS13))
					go func() { _, _ = client.Read(make([]byte, 1)) }()
					open = append(open, <-done)
					near.Close()
				}
				b.ReportMetric(float64(heapInUse()-before)/sessions, "B/session")
				for _, conn := range open {
					conn.Close()
				}
			}
		})
	}
}

// heapInUse is what the heap holds after a collection.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
