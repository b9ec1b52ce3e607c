package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
)

// Each rule refuses an attempt by one line, on every listener.
func TestRefusedAtLogin(t *testing.T) {
	for rule, c := range map[limiter.Rule]struct {
		policy  limiter.Policy
		prepare func(*testProxy)
		step    Step
		end     End
	}{
		limiter.RuleSource: {sourceRule(), func(proxy *testProxy) { spendSourceTokens(proxy, sourceTokens) }, StepVerdict, EndRefused},
		limiter.RuleGlobal: {limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: time.Hour}}, takeGlobalToken, StepVerdict, EndRefused},
		limiter.RuleTarpit: {limiter.Policy{Global: limiter.Rate{Tokens: 1, Per: 5 * time.Second}}, func(proxy *testProxy) {
			takeGlobalToken(proxy)
			proxy.Tarpit.Total = 1
			proxy.init()
			other := mustAddrPort("198.51.100.1:1").Addr()
			proxy.tarpit.enter(other, false, 1)
			proxy.t.Cleanup(func() { proxy.tarpit.leave(other, false) })
		}, StepTarpit, EndRefused},
		limiter.RuleBackend: {limiter.Policy{}, func(proxy *testProxy) { proxy.setBackend(backendAddr, nil) }, StepDial, EndBackend},
	} {
		for _, l := range []Listener{imapListener, imapsListener, pop3Listener, pop3sListener} {
			t.Run(string(rule)+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newTestProxy(t, l.Protocol, func(b *peer) { b.fail("the backend was dialled") })
					proxy.setPolicy(c.policy)
					c.prepare(proxy)
					client := proxy.connectGreeted(l)
					start := time.Now()
					sendLogin(client, l, "right")
					want := map[string]string{"imap": "a1 " + imapBusy, "pop3": pop3Busy}[l.Protocol.Name()]
					got, _ := client.readLine()
					client.expectEOF()
					if took := time.Since(start); took != 0 {
						t.Errorf("took %v, want 0", took)
					}
					r, a := proxy.finalRecord(), proxy.settledAttempts()
					if want = strings.TrimSuffix(want, "…") + r.ID + ")"; got != want {
						t.Errorf("got %q, want %q", got, want)
					}
					verdict := limiter.Verdict{Action: limiter.Refuse, Rule: rule}
					if r.End != c.end || r.Step != c.step || r.Verdict != verdict || r.Account != "" || r.Login != 0 {
						t.Errorf("got record %+v, want End %v, Step %v, Verdict %v", r, c.end, c.step, verdict)
					}
					if len(a) != 1 || a[0].Outcome != limiter.Void || a[0].Verdict != verdict || a[0].Err == nil || a[0].Gone || a[0].Backend != "" {
						t.Errorf("got attempts %+v, want Outcome %v, Verdict %v", a, limiter.Void, verdict)
					}
				})
			})
		}
	}
}

// A refusal has the tag of the client's command, and what the client sent after that
// command is ignored.
func TestRefusalIgnoresPipelinedCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, imapListener.Protocol, nil)
		proxy.setPolicy(sourceRule())
		spendSourceTokens(proxy, sourceTokens)
		client := proxy.connectGreeted(imapListener)
		client.send("A-Tag.7 AUTHENTICATE PLAIN")
		client.expect("+ ")
		client.send(plain("u", "right"), "b LOGIN u right", "c LOGOUT")
		client.expect("A-Tag.7 " + imapBusy)
		client.expectClosed()
		if r := proxy.finalRecord(); r.Attempts != 1 || proxy.settledAttempts()[0].Method != "PLAIN" {
			t.Errorf("got record %+v, want Attempts %v", r, 1)
		}
	})
}

// A temporary refusal by the backend is passed on as it is, and the attempt is void.
func TestTemporaryRefusalIsPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		listener Listener
		reply    string
	}{
		"imap": {imapListener, "NO [LIMIT] Too many of you."},
		"pop3": {pop3Listener, "-ERR [IN-USE] Mailbox is locked."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, c.listener.Protocol, func(b *peer) {
					b.readHeader()
					b.send(map[string]string{"imap": imapHello, "pop3": pop3Hello}[name])
					b.readLine()
					b.send(map[string]string{"imap": "1 "}[name] + c.reply)
					b.expectClosed()
				})
				proxy.setPolicy(sourceRule())
				client := proxy.connectGreeted(c.listener)
				sendLogin(client, c.listener, "right")
				line, _ := client.readLine()
				if !strings.HasSuffix(line, c.reply) {
					t.Errorf("got %q, want %q at its end", line, c.reply)
				}
				client.expectEOF()
				if n := proxy.charged(clientIP); n != 0 {
					t.Errorf("got %d tokens charged, want 0", n)
				}
				r := proxy.finalRecord()
				if a := proxy.settledAttempts()[0]; a.Outcome != limiter.Void || a.Backend != backendAddr || r.End != EndBackend || r.Err != a.Err || a.Err == nil || !strings.Contains(a.Err.Error(), c.reply) {
					t.Errorf("got record %+v, want attempt %v, End %v", r, limiter.Void, EndBackend)
				}
			})
		})
	}
}

// A refusal that no password could lift is sent to a POP3 client in answer to USER, so
// that it sends no password. Nothing is charged.
func TestRefusedAtUser(t *testing.T) {
	for _, l := range []Listener{pop3Listener, pop3sListener} {
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newTestProxy(t, l.Protocol, nil)
				proxy.setPolicy(allRules())
				exhaustAccount(proxy, "u")
				client := proxy.connectGreeted(l)
				client.send("USER other")
				client.expect("+OK")
				client.send("USER u")
				client.expect(pop3Delay)
				client.expectEOF()
				r := proxy.finalRecord()
				want := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleAccount}
				if r.End != EndRefused || r.Step != StepVerdict || r.Verdict != want || r.Attempts != 1 {
					t.Errorf("got record %+v, want End %v, Step %v, Verdict %v, Attempts %v", r, EndRefused, StepVerdict, want, 1)
				}
				if a := proxy.settledAttempts()[0]; a.Verdict != want || a.Account != "u" || a.Method != "USER" || a.Outcome != limiter.Void || a.Err == nil || a.Backend != "" {
					t.Errorf("got attempt %+v, want Verdict %v, Outcome %v", a, want, limiter.Void)
				}
				if n := proxy.charged(clientIP); n != 0 || len(proxy.settledAttempts()) != 1 {
					t.Errorf("got %d tokens charged, want 0", n)
				}
			})
		})
	}
}
