package proxy

import (
	"crypto/tls"
	"io"
	"testing"
	"time"

	"postern/proxy/standin"
)

// newBench serves door d in front of an honest little IMAP server.
func newBench(b *testing.B, d Listener) *loopback {
	b.Helper()
	ln := listen(b)
	srv, err := standin.ServeIMAP(ln, []standin.Account{{Name: "user", Secret: "right"}}, standin.Options{ProxyHeader: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { srv.Close() })
	backends := NewBackends(d.Protocol, BackendConfig{Addrs: []string{ln.Addr().String()}, Logins: 100})
	l := &loopback{Server: newTestServer(b, backends), records: make(chan Record, 100)}
	l.CleartextLogin = true
	l.Done = func(r Record) { l.records <- r }
	if d.TLS == Implicit {
		l.config = &tls.Config{InsecureSkipVerify: true}
	}
	l.addr = serve(b, l.Server, d)
	return l
}

// BenchmarkLogin walks a connection from accept to the record, with a login that
// is accepted and a goodbye. What it allocates includes the client and the mail
// server, which are in the same process.
func BenchmarkLogin(b *testing.B) {
	for name, d := range map[string]Listener{"clear": imapDoor, "tls": imapsDoor} {
		b.Run(name, func(b *testing.B) {
			l := newBench(b, d)
			b.ReportAllocs()
			for b.Loop() {
				c, _ := l.enter(b)
				c.say("a1 LOGIN user right")
				c.hear("a1 OK …")
				c.say("a2 LOGOUT")
				if _, err := io.Copy(io.Discard, c.r); err != nil {
					b.Fatal(err)
				}
				c.Close()
				if r := <-l.records; r.Account == "" {
					b.Fatalf("record %+v", r)
				}
			}
		})
	}
}

// BenchmarkRelay carries a megabyte from the backend to the client.
func BenchmarkRelay(b *testing.B) {
	for name, d := range map[string]Listener{"clear": imapDoor, "tls": imapsDoor} {
		b.Run(name, func(b *testing.B) {
			mail := noise(1<<20, 3)
			l := newLoopback(b, d, in(func(p *peer) {
				for {
					if _, err := p.r.ReadByte(); err != nil {
						return
					}
					if _, err := p.Write(mail); err != nil {
						return
					}
				}
			}))
			c, tcp := l.enter(b)
			c.say("a1 LOGIN u p")
			c.hear("a1 OK in")
			_ = tcp.SetDeadline(time.Time{})
			b.ReportAllocs()
			b.SetBytes(int64(len(mail)))
			for b.Loop() {
				if _, err := c.Write([]byte("\n")); err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, c.r, int64(len(mail))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
