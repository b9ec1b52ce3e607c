package proxy

import (
	"crypto/tls"
	"io"
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
