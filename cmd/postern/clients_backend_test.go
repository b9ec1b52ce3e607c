//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
)

// The addresses of mail programs and of a load balancer in these tests.
const (
	origin   = "127.3.2.1"
	balancer = "127.9.9.9"
)

// TestBackendProtocols reads mail with every combination of PROXY header and TLS
// towards Dovecot that the settings allow, and checks what Dovecot logs: the
// client's address, and that the connection is secure.
func TestBackendProtocols(t *testing.T) {
	shared, other := dovecot.Get(t), lenientDovecot(t)
	ca, _, err := shared.Certificate.Write(t.TempDir(), "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	otherCA, _, err := other.Certificate.Write(t.TempDir(), "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		d          *mailtest.Dovecot
		imap, pop3 string
		proxy, tls string
		ca         string
		rip, says  string // what Dovecot logs
	}{
		"v2 starttls":        {shared, shared.IMAPProxy, shared.POP3Proxy, "v2", "starttls", ca, origin, " TLS"},
		"v2 tls":             {other.Dovecot, other.imaps, other.pop3s, "v2", "tls", otherCA, origin, " TLS"},
		"v1 starttls":        {shared, shared.IMAPProxy, shared.POP3Proxy, "v1", "starttls", ca, origin, " TLS"},
		"v1 tls":             {other.Dovecot, other.imaps, other.pop3s, "v1", "tls", otherCA, origin, " TLS"},
		"v1 lenient":         {other.Dovecot, other.IMAPProxy, other.POP3Proxy, "v1", "off", "", origin, ""},
		"no header tls":      {shared, shared.IMAPS, shared.POP3S, "off", "tls", ca, "127.0.0.1", " TLS"},
		"no header":          {shared, shared.IMAP, shared.POP3, "off", "off", "", "127.0.0.1", " secured"},
		"no header starttls": {shared, shared.IMAP, shared.POP3, "off", "starttls", ca, "127.0.0.1", " TLS"},
	} {
		for _, listener := range listenerNames {
			t.Run(name+"/"+listener, func(t *testing.T) {
				t.Parallel()
				g := start(t, prefix+"IMAP_BACKENDS="+tt.imap, prefix+"POP3_BACKENDS="+tt.pop3,
					prefix+"BACKEND_PROXY="+tt.proxy, prefix+"BACKEND_TLS="+tt.tls, prefix+"BACKEND_TLS_CA="+tt.ca)
				awaitCapabilities(t, g.Addr("imap"), g.Addr("pop3"))
				v := newRun(t, listener, g.Addr(listener), g.CertFile)
				v.Source = origin
				v.run(t, curl).checkMessages(t, tt.d.Accounts[0].Messages)
				port := v.Port
				if tt.proxy == "off" {
					port = "" // the backend's own, the same in all tests
				}
				tt.d.WaitLog(t, "Login: user=<user>", "rip="+tt.rip, "lport="+port, tt.says)
			})
		}
	}
}

// lenient is a Dovecot that accepts passwords in clear text, and has ports for TLS
// behind a PROXY header.
type lenient struct {
	*mailtest.Dovecot
	imaps, pop3s string
}

func lenientDovecot(t *testing.T) lenient {
	t.Helper()
	var ports [2]string
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, ports[i], _ = net.SplitHostPort(ln.Addr().String())
		ln.Close()
	}
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: dovecot.Config.Settings + fmt.Sprintf(`
disable_plaintext_auth = no
service imap-login {
  inet_listener imaps_proxy {
    port = %s
    haproxy = yes
    ssl = yes
  }
}
service pop3-login {
  inet_listener pop3s_proxy {
    port = %s
    haproxy = yes
    ssl = yes
  }
}
`, ports[0], ports[1])})
	return lenient{d, "127.0.0.1:" + ports[0], "127.0.0.1:" + ports[1]}
}

// TestBehindLoadBalancer: curl sends a PROXY header, a load balancer forwards it,
// and Dovecot logs the address in it.
func TestBehindLoadBalancer(t *testing.T) {
	for _, listener := range listenerNames {
		t.Run(listener, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			g := startBefore(t, d, prefix+"PROXY_FROM="+balancer, prefix+"HANDSHAKE_TIMEOUT=1s")
			v := newRun(t, listener, balance(t, g.Addr(listener)), g.CertFile)
			v.Source = origin
			withHeader := curl
			withHeader.command = func(v programRun) []string { return append(curlCommand(v), "--haproxy-protocol") }
			v.run(t, withHeader).checkMessages(t, d.Accounts[0].Messages)
			g.log.Await(t, "event=login", "rip="+origin, "result=accepted")
			d.WaitLog(t, "Login: user=<user>", "rip="+origin, "lport="+v.Port, " secured")

			if r := v.run(t, curl); r.code == 0 {
				t.Error("from the load balancer without a header: accepted")
			}
			g.log.Await(t, "event=connection", "rip="+balancer, "result=proxy_header")
			direct := newRun(t, listener, g.Addr(listener), g.CertFile)
			direct.Source = origin
			if r := direct.run(t, withHeader); r.code == 0 {
				t.Error("with a header from elsewhere: accepted")
			}
			direct.run(t, curl).checkMessages(t, d.Accounts[0].Messages)
		})
	}
}

// balance forwards connections to addr, from the address of the load balancer,
// until the test ends. It returns the address to connect to.
func balance(t *testing.T, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			busy.Go(func() { carry(client, addr) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		busy.Wait()
	})
	return ln.Addr().String()
}

// carry connects client to addr and copies both ways until both have ended.
func carry(client net.Conn, addr string) {
	defer client.Close()
	from := net.Dialer{Timeout: testbed.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancer)}}
	server, err := from.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_ = client.(*net.TCPConn).CloseWrite()
	up.Wait()
}
