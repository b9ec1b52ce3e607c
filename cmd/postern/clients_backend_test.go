//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"postern/proxy/mailtest"
)

// The addresses that mail programs come from in these tests, and a load
// balancer's.
const (
	origin   = "127.3.2.1"
	balancer = "127.9.9.9"
)

// TestBackendProtocols reads mail over every combination of PROXY header and TLS
// towards Dovecot that an operator may choose, and looks at what Dovecot then
// knows: whose address, and that the password was safe.
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
		for _, door := range doorNames {
			t.Run(name+"/"+door, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, prefix+"IMAP_BACKENDS="+tt.imap, prefix+"POP3_BACKENDS="+tt.pop3,
					prefix+"BACKEND_PROXY="+tt.proxy, prefix+"BACKEND_TLS="+tt.tls, prefix+"BACKEND_TLS_CA="+tt.ca)
				awaitOffer(t, h.at("imap"), h.at("pop3"))
				v := visitTo(t, door, h.at(door), h.ca())
				v.Source = origin
				v.run(t, curl).read(t, tt.d.Accounts[0].Messages)
				port := v.Port
				if tt.proxy == "off" {
					port = "" // the backend's own, where many come
				}
				tt.d.WaitLog(t, "Login: user=<user>", "rip="+tt.rip, "lport="+port, tt.says)
			})
		}
	}
}

// lenient is a Dovecot that takes passwords in clear text, and has ports for TLS
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

// TestBehindLoadBalancer: curl writes a PROXY header, a load balancer passes it
// on, and Dovecot hears of the address in it.
func TestBehindLoadBalancer(t *testing.T) {
	for _, door := range doorNames {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			d := dovecot.Get(t)
			h := newHouseBefore(t, d, prefix+"PROXY_FROM="+balancer, prefix+"HANDSHAKE_TIMEOUT=1s")
			v := visitTo(t, door, balance(t, h.at(door)), h.ca())
			v.Source = origin
			announcing := curl
			announcing.command = func(v visit) []string { return append(curlCommand(v), "--haproxy-protocol") }
			v.run(t, announcing).read(t, d.Accounts[0].Messages)
			h.log.await(t, "event=login", "rip="+origin, "result=accepted")
			d.WaitLog(t, "Login: user=<user>", "rip="+origin, "lport="+v.Port, " secured")

			if r := v.run(t, curl); r.code == 0 {
				t.Error("from the load balancer without a header: got in")
			}
			h.log.await(t, "event=connection", "rip="+balancer, "result=proxy_header")
			direct := visitTo(t, door, h.at(door), h.ca())
			direct.Source = origin
			if r := direct.run(t, announcing); r.code == 0 {
				t.Error("with a header from elsewhere: got in")
			}
			direct.run(t, curl).read(t, d.Accounts[0].Messages)
		})
	}
}

// balance passes connections on to addr, from the address of the load balancer,
// until the test ends. It returns its own address.
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

// carry copies both ways between client and addr until both have ended.
func carry(client net.Conn, addr string) {
	defer client.Close()
	from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancer)}}
	gate, err := from.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer gate.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(gate, client)
		_ = gate.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, gate)
	_ = client.(*net.TCPConn).CloseWrite()
	up.Wait()
}
