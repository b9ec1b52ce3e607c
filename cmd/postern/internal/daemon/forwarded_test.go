//go:build linux

package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// backDovecot is the mail server behind the gateways of the tests.
var backDovecot mailtest.SharedDovecot

func TestMain(m *testing.M) {
	code := m.Run()
	backDovecot.Close()
	os.Exit(code)
}

// forwarderAddr is the address of the forwarder in the tests. Other clients of the machine
// have another one.
const forwarderAddr = "127.0.0.2"

// startForwarding runs a gateway in front of a Dovecot, which takes clients from
// forwarderAddr for forwarders.
func startForwarding(t *testing.T, more ...string) *gateway {
	t.Helper()
	d := backDovecot.Get(t)
	return start(t, append([]string{prefix + "IMAP_BACKENDS=" + d.IMAPProxy, prefix + "POP3_BACKENDS=" + d.POP3Proxy, prefix + "FORWARDED_FROM=" + forwarderAddr}, more...)...)
}

// frontDovecot runs a Dovecot that relays all logins to g, from forwarderAddr. By IMAP and
// POP3 it goes to the listeners without implicit TLS and then begins TLS.
func frontDovecot(t *testing.T, g *gateway) *mailtest.Dovecot {
	t.Helper()
	var settings strings.Builder
	for _, protocol := range []string{"imap", "pop3"} {
		_, port, err := net.SplitHostPort(g.Addr(protocol))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&settings, "protocol %s {\n passdb {\n  driver = static\n  args = proxy=y nopassword=y host=127.0.0.1 port=%s source_ip=%s starttls=any-cert\n }\n}\n", protocol, port, forwarderAddr)
	}
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Accounts: []standin.Account{{Name: "nobody", Secret: "none"}}, Settings: settings.String()})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Logs())
		}
	})
	return d
}

// connectFrom connects to a Dovecot as a client with another address, which a PROXY header
// tells.
func connectFrom(t *testing.T, addr string, client netip.AddrPort) *testbed.Client {
	t.Helper()
	header, err := proxy.Header(proxy.ProxyV2, client, netip.MustParseAddrPort("192.0.2.250:143"), true)
	if err != nil {
		t.Fatal(err)
	}
	c := testbed.Dial(t, addr)
	if _, err := c.W.Write(header); err != nil {
		t.Fatal(err)
	}
	if err := c.W.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

// logins are the commands by which the account user logs in, with the answers.
var logins = map[string][][2]string{
	"imap": {{"a LOGIN user pass", "a OK"}, {"b LOGOUT", "b OK"}},
	"pop3": {{"USER user", "+OK"}, {"PASS pass", "+OK"}, {"QUIT", "+OK"}},
}

// TestDovecotProxyNamesClient has a Dovecot in front of the gateway name its
// client, before STARTTLS in IMAP and after it in POP3, and a Dovecot behind it take that
// client's address for the one that connects.
func TestDovecotProxyNamesClient(t *testing.T) {
	t.Parallel()
	g := startForwarding(t)
	front, back := frontDovecot(t, g), backDovecot.Get(t)
	for i, client := range []string{"192.0.2.7:50007", "[2001:db8::7]:50008"} {
		client := netip.MustParseAddrPort(client)
		for protocol, addr := range map[string]string{"imap": front.IMAPProxy, "pop3": front.POP3Proxy} {
			c := connectFrom(t, addr, client)
			c.Until("OK")
			for _, step := range logins[protocol] {
				c.Say(step[0], step[1])
			}
			rip := "rip=" + client.Addr().String()
			g.log.Await(t, "event=login", "listener="+protocol, rip+" ", fmt.Sprint("rport=", client.Port()), "result=accepted", "forwarder="+forwarderAddr+" ", "forwarder_session=")
			back.WaitLog(t, protocol+"-login: Info: Login", rip+",")
			front.WaitLog(t, protocol+"-login: Info: proxy", rip+",")
			g.log.Await(t, "event=connection", "listener="+protocol, rip+" ")
			if got := testbed.Total(g.scrape(t)["postern_forwarded_total"], "result", "taken"); got < float64(i+1) {
				t.Errorf("counted %v clients that were named", got)
			}
		}
	}
}

// runWebmail runs webmail.py and returns what it prints, and whether it logged in.
func runWebmail(t *testing.T, g *gateway, listener, source, password, client string) (out string, ok bool) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		testbed.Missing(t, "python3")
	}
	_, port, err := net.SplitHostPort(g.Addr(listener))
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), program, "testdata/webmail.py", listener, source, port, g.CertFile, "user", password, client).CombinedOutput()
	return string(text), err == nil
}

// TestWebmailNamesClient logs in with the libraries of Python at each listener.
func TestWebmailNamesClient(t *testing.T) {
	t.Parallel()
	g := startForwarding(t)
	for i, listener := range []string{"imap", "imaps", "pop3", "pop3s"} {
		t.Run(listener, func(t *testing.T) {
			t.Parallel()
			client := fmt.Sprint("192.0.2.", 20+i)
			if out, ok := runWebmail(t, g, listener, forwarderAddr, "pass", client); !ok {
				t.Error(out)
			}
			g.log.Await(t, "event=login", "listener="+listener+" ", "rip="+client+" ", "result=accepted", "forwarder="+forwarderAddr+" ")
			backDovecot.Get(t).WaitLog(t, "Info: Login", "rip="+client+",")
		})
	}
}

// TestOthersMayNotNameClients: not listed in FORWARDED_FROM, the libraries log in as
// before, and nothing changes.
func TestOthersMayNotNameClients(t *testing.T) {
	t.Parallel()
	g := startForwarding(t)
	for _, listener := range []string{"imaps", "pop3s"} {
		if out, ok := runWebmail(t, g, listener, "127.0.0.3", "pass", "192.0.2.30"); !ok {
			t.Error(out)
		}
		g.log.Await(t, "event=login", "listener="+listener+" ", "rip=127.0.0.3 ", "result=accepted", `forwarder="" `)
		g.log.Await(t, "event=connection", "listener="+listener+" ", "rip=127.0.0.3 ")
	}
	if log := g.log.String(); strings.Contains(log, "192.0.2.30") {
		t.Errorf("the address that a client has named is in the log:\n%s", log)
	}
	family := g.scrape(t)["postern_forwarded_total"]
	if ignored, taken := testbed.Total(family, "result", "ignored"), testbed.Total(family, "result", "taken"); ignored != 1 || taken != 0 { // POP3 did not offer XCLIENT
		t.Errorf("counted %v ignored and %v taken, want 1 and 0", ignored, taken)
	}
}

// TestAttackBehindWebmail has an attacker guess in the login form of webmail. They are refused,
// and the other users of the webmail are not even delayed.
func TestAttackBehindWebmail(t *testing.T) {
	t.Parallel()
	g := start(t, prefix+"FORWARDED_FROM="+forwarderAddr, prefix+"CLEARTEXT_LOGIN=true", prefix+"TARPIT_MAX=1ms", prefix+"LIMIT_SOURCE=3/10m", prefix+"LIMIT_CONNECT=20/10m")
	login := func(client, account, password string) (answer string) {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(forwarderAddr)}}
		conn, err := from.DialContext(t.Context(), "tcp", g.Addr("imap"))
		if err != nil {
			t.Fatal(err)
		}
		c := testbed.NewClient(t, conn)
		defer c.Close()
		c.Until("* OK")
		if answer = c.Say(fmt.Sprintf(`i ID ("x-originating-ip" %q)`, client), "i "); !strings.HasPrefix(answer, "i OK") {
			return answer
		}
		return c.Say("a LOGIN "+account+" "+password, "a ")
	}
	refused := 0
	for i := range 40 {
		if answer := login("203.0.113.66", fmt.Sprint("user", i), "guess"); strings.Contains(answer, "[UNAVAILABLE]") {
			refused++
		}
		client := fmt.Sprint("192.0.2.", i)
		if answer := login(client, testbed.Account.Name, testbed.Account.Secret); !strings.HasPrefix(answer, "a OK") {
			t.Errorf("user at %s: got %q", client, answer)
		}
		g.log.Await(t, "event=login", "rip="+client+" ", "action=pass", "result=accepted")
	}
	if refused < 30 {
		t.Errorf("got %d guesses refused, want at least 30", refused)
	}
	g.log.Await(t, "event=login", "rip=203.0.113.66 ", "rule=source", "result=refused", "forwarder="+forwarderAddr+" ")
	g.log.Await(t, "event=connection", "rip=203.0.113.66 ", "rule=connect", "result=refused", "forwarder="+forwarderAddr+" ")
}
