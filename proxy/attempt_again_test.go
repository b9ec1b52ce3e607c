package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// startWithVerdict returns a client that has sent a login as u with the password "right".
// Its attempt has a ticket of the limiter, but begins with the verdict v and after the
// time waited.
func (proxy *testProxy) startWithVerdict(v limiter.Verdict, waited time.Duration) *peer {
	proxy.init()
	near, far := newMemPair(clientAddr, proxyAddr)
	ss := newSession(proxy.Server, &imapListener, far)
	proxy.mu.Lock()
	proxy.sessions[ss] = true
	proxy.mu.Unlock()
	ss.next = func() (step, error) {
		ss.client = dialogue.NewConn(ss.raw)
		ss.client.Ref = "test-1"
		a := ss.newAttempt(dialogue.Request{
			Kind: dialogue.Login, Tag: "a1", Account: "u", Method: "LOGIN",
			Mechanism: "PLAIN", Response: dialogue.Secret("\x00u\x00right"), HasResponse: true,
		})
		a.report.Waited = waited
		return a.followVerdict(v)
	}
	ss.Wake()
	synctest.Wait()
	return newClient(proxy.t, near)
}

// An attempt whose verdict asks for another question waits first and then follows the
// new verdict.
func TestAsksAgainAfterWait(t *testing.T) {
	for name, c := range map[string]struct {
		wait    time.Duration // of the first verdict
		waited  time.Duration // before it
		prepare func(*testProxy)
		expects string
		took    time.Duration
		rule    limiter.Rule
		outcome limiter.Outcome
	}{
		"pass":       {2 * time.Second, 0, nil, "a1 OK …", 2 * time.Second, limiter.RuleNone, limiter.Accepted},
		"wait":       {2 * time.Second, 0, func(proxy *testProxy) { spendSourceTokens(proxy, 1) }, "a1 OK …", 4 * time.Second, limiter.RuleSource, limiter.Accepted},
		"refuse":     {2 * time.Second, 0, func(proxy *testProxy) { spendSourceTokens(proxy, sourceTokens) }, "a1 " + imapBusy, 2 * time.Second, limiter.RuleSource, limiter.Void},
		"repeat":     {2 * time.Second, 0, denyRight, "a1 NO [AUTHENTICATIONFAILED] …", 4 * time.Second, limiter.RuleRepeat, limiter.Denied},
		"too long":   {time.Hour, 0, nil, "a1 OK …", 10 * time.Second, limiter.RuleNone, limiter.Accepted},
		"short":      {1, 0, nil, "a1 OK …", minAgain, limiter.RuleNone, limiter.Accepted},
		"time is up": {2 * time.Second, 10 * time.Second, nil, "a1 " + imapBusy, 0, limiter.RuleAccount, limiter.Void},
		"time is nearly up": {
			2 * time.Second, 9 * time.Second, func(proxy *testProxy) { spendSourceTokens(proxy, 1) },
			"a1 OK …", time.Second, limiter.RuleSource, limiter.Accepted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeBackend{}
				proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
				p := sourceRule()
				p.RepeatTTL = time.Hour
				proxy.setPolicy(p)
				if c.prepare != nil {
					c.prepare(proxy)
				}
				start := time.Now()
				client := proxy.startWithVerdict(limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleAccount, Wait: c.wait, Again: true}, c.waited)
				client.expect(c.expects)
				took := time.Since(start)
				if took < c.took || took > c.took+c.took/5 { // with jitter
					t.Errorf("took %v, want %v", took, c.took)
				}
				synctest.Wait()
				a := proxy.settledAttempts()
				if len(a) != 1 || a[0].Verdict.Rule != c.rule || a[0].Outcome != c.outcome || a[0].Waited != c.waited+took {
					t.Errorf("got attempts %+v, want Rule %v, Outcome %v", a, c.rule, c.outcome)
				}
				if s := proxy.Stats(); s.Tarpit != 0 {
					t.Errorf("got %d attempts in the tarpit, want none", s.Tarpit)
				}
			})
		})
	}
}

// denyRight has the password "right" of the account u denied, from the client's source.
func denyRight(proxy *testProxy) {
	k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: clientIP, Account: "u", Credential: proxy.Limiter.Credential("u", []byte("right"))})
	k.Settle(time.Now(), limiter.Denied)
}

// A client that closes before the limiter is asked again is not charged.
func TestClosingBeforeAskingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeBackend{}
		proxy := newTestProxy(t, dialogue.IMAP{}, fake.imap)
		proxy.setPolicy(sourceRule())
		client := proxy.startWithVerdict(limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleAccount, Wait: 2 * time.Second, Again: true}, 0)
		if s := proxy.Stats(); s.Tarpit != 1 {
			t.Errorf("got %d attempts in the tarpit, want 1", s.Tarpit)
		}
		<-time.After(time.Second)
		client.Close()
		synctest.Wait()
		a := proxy.settledAttempts()
		if len(a) != 1 || a[0].Outcome != limiter.Void || !a[0].Gone || a[0].Waited != time.Second {
			t.Errorf("got attempts %+v, want Outcome %v", a, limiter.Void)
		}
		if s := proxy.Stats(); s.Tarpit != 0 || proxy.charged(clientIP) != 0 || proxy.looks(clientIP) != 1 || len(fake.checked()) != 0 {
			t.Errorf("got %d attempts in the tarpit, %d tokens charged and %d looks, want 0, 0 and 1", s.Tarpit, proxy.charged(clientIP), proxy.looks(clientIP))
		}
	})
}

// In observe mode nothing waits, and the limiter is not asked again.
func TestObserveModeDoesNotAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		proxy.Observe(true)
		start := time.Now()
		client := proxy.startWithVerdict(limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleAccount, Wait: 2 * time.Second, Again: true}, 0)
		client.expect("a1 OK …")
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want 0", took)
		}
	})
}
