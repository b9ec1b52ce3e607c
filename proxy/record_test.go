package proxy

import (
	"reflect"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// Every field of a record and of its attempts is set.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{delay: 2 * time.Second}).imap)
		proxy.setPolicy(oneLoginPerFiveSeconds())
		client := proxy.connect(clientAddr, proxy.listen(imapsListener))
		<-time.After(time.Second)
		proxy.awaitGreeting(client, imapsListener) // after 1 s
		client.send("a1 LOGIN Wrong.User wrong")
		client.expect("a1 NO …") // after 3 s
		client.send("a2 LOGIN u\x00x wrong")
		client.expect("a2 BAD …")
		client.send("a3 AUTHENTICATE LOGIN")
		client.expect("+ VXNlcm5hbWU6")
		client.send(b64("u"))
		client.expect("+ UGFzc3dvcmQ6")
		client.send(b64("right"))
		client.expect("a3 OK …") // after 5 s: the token came back with the fifth
		<-time.After(time.Minute)
		client.send("hello")
		client.expect("echo hello")
		client.Close()

		got := proxy.finalRecord()
		denied := Attempt{
			Session: got.ID, Listener: "imaps", Protocol: "imap", Client: mustAddrPort(clientAddr), Account: "Wrong.User", Method: "LOGIN",
			Backend: backendAddr, Verdict: limiter.Verdict{Rule: limiter.RuleNone}, Outcome: limiter.Denied, Took: 2 * time.Second,
			Greeting: time.Second, JA4: got.JA4,
		}
		accepted := denied
		accepted.Greeting = 0 // only the first attempt has it
		accepted.Account, accepted.Outcome = "u", limiter.Accepted
		accepted.Verdict = proxy.settledAttempts()[1].Verdict
		for i, a := range []*Attempt{&denied, &accepted} {
			a.Traits.Credential = proxy.settledAttempts()[i].Traits.Credential
		}
		if first, second := denied.Traits.Credential, accepted.Traits.Credential; first == 0 || second == 0 || first == second {
			t.Errorf("got credentials %d and %d, want two that differ", first, second)
		}
		accepted.Waited, accepted.Took = 3*time.Second, 3*time.Second // for its source, and for a token of the global bucket
		if w := accepted.Verdict.Wait; accepted.Verdict.Rule != limiter.RuleSource || w < 2*time.Second || w > 2400*time.Millisecond {
			t.Errorf("second attempt: got verdict %+v, want a wait of 2 s to 2.4 s by rule source", accepted.Verdict)
		}
		login := 3*time.Second + accepted.Waited
		want := Record{
			ID: got.ID, Listener: "imaps", Protocol: "imap", Start: start, Duration: login + time.Minute,
			Client: mustAddrPort(clientAddr), Local: mustAddrPort(proxyAddr),
			Handshake: HandshakeDone, TLS: "TLS 1.3", Cipher: got.Cipher, JA4: got.JA4,
			Verdict: accepted.Verdict, Attempts: 2, Account: "u", Backend: backendAddr,
			Greeting: time.Second, Login: login,
			Step: StepRelay, End: EndClient, Err: got.Err, FromClient: 7, ToClient: 12,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if !reflect.DeepEqual(proxy.settledAttempts(), []Attempt{denied, accepted}) {
			t.Errorf("got attempts %+v, want %+v", proxy.settledAttempts(), []Attempt{denied, accepted})
		}
		if ok, _ := regexp.MatchString("^t13i[0-9]{4}00(_[0-9a-f]{12}){2}$", got.JA4); !ok {
			t.Errorf("got JA4 %q, want that of a client of TLS 1.3 without a server name and ALPN", got.JA4)
		}
		if len(got.Cipher) < 10 {
			t.Errorf("got cipher %q, want its name", got.Cipher)
		}
	})
}

func TestRecordKeepsStrictestVerdict(t *testing.T) {
	pass := limiter.Verdict{Rule: limiter.RuleNone}
	short := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource, Wait: time.Second}
	long := limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleNetwork, Wait: 2 * time.Second}
	refuse := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleGlobal}
	refused := limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleSource}
	for _, c := range []struct {
		met  []limiter.Verdict
		want limiter.Verdict
	}{
		{nil, pass},
		{[]limiter.Verdict{pass, short}, short},
		{[]limiter.Verdict{short, pass}, short},
		{[]limiter.Verdict{short, long}, long},
		{[]limiter.Verdict{long, short}, long},
		{[]limiter.Verdict{long, refuse}, refuse},
		{[]limiter.Verdict{refuse, long}, refuse},
		{[]limiter.Verdict{refuse, refused}, refuse},
		{[]limiter.Verdict{short, {Action: limiter.Wait, Rule: limiter.RuleGlobal, Wait: time.Second}}, short},
	} {
		s := session{record: Record{Verdict: pass}}
		for _, v := range c.met {
			s.meet(v)
		}
		if s.record.Verdict != c.want {
			t.Errorf("%+v: got verdict %+v, want %+v", c.met, s.record.Verdict, c.want)
		}
	}
}

func TestNamesInRecords(t *testing.T) {
	seen := map[string]bool{}
	for i, e := range Ends() {
		if e != End(i) || e.String() == "" || seen[e.String()] {
			t.Errorf("end %d: got %v, want a name of its own", i, e)
		}
		seen[e.String()] = true
	}
	if len(seen) != int(numEnds) {
		t.Errorf("got %d ends, want %d", len(seen), numEnds)
	}
	clear(seen)
	for r := StepAccept; r <= StepRelay; r++ {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("step %d: got %v, want a name of its own", r, r)
		}
		seen[r.String()] = true
	}
	clear(seen)
	for r := range numDialResults {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("dial result %d: got %v, want a name of its own", r, r)
		}
		seen[r.String()] = true
	}
	for want, got := range map[string]string{
		"proxy_header": EndProxyHeader.String(), "client": EndClient.String(), "panic": EndPanic.String(), "evicted": EndEvicted.String(),
		"relay": StepRelay.String(), "tls": StepTLS.String(), "dialogue": StepDialogue.String(), "replay": StepReplay.String(),
		"greeting_timeout": DialGreetingTimeout.String(), "refused": DialRefused.String(), "reset": DialReset.String(),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
