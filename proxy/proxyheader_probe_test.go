package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// localHeaders are the headers of connections of the balancer's own, whose source is the
// balancer itself.
var localHeaders = map[string]string{
	"v2 LOCAL":   string(proxyproto.SIGV2) + localV2,
	"v1 UNKNOWN": "PROXY UNKNOWN\r\n",
}

// lastRecord waits until all goroutines are idle, and returns the latest record.
func (proxy *testProxy) lastRecord() Record {
	synctest.Wait()
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return proxy.records[len(proxy.records)-1]
}

// A health check is free as long as it does not ask to log in. Then it meets the rules of
// a connection like any other, with the balancer as its source.
func TestHealthCheckThatLogsInIsAConnection(t *testing.T) {
	for name, header := range localHeaders {
		for _, l := range []Listener{imapListener, pop3Listener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					proxy := newProxyBehindBalancer(t, l.Protocol) // one connection an hour
					ln := proxy.listen(l)
					login, denied, refused := "a1 LOGIN u wrong", "a1 NO [AUTHENTICATIONFAILED] …", "a1 "+imapBusy
					if l.Protocol == (dialogue.POP3{}) {
						login, denied, refused = "AUTH PLAIN "+plain("u", "wrong"), "-ERR [AUTH] …", pop3Busy
					}
					for i, want := range []string{"", denied, "", refused, refused} {
						client := proxy.connect(balancer, ln)
						client.Write([]byte(header))
						proxy.awaitGreeting(client, l)
						if want != "" {
							client.send(login)
							client.expect(want)
						}
						if want == refused {
							client.expectClosed()
						}
						client.Close()
						synctest.Wait()
						if dials := proxy.dialCount(backendAddr); i > 0 && dials != 1 {
							t.Errorf("connection %d: the backend was dialled %d times, want once", i, dials)
						}
					}
					all := proxy.finalRecords()
					for i, want := range []End{EndProbe, EndClient, EndProbe, EndRefused, EndRefused} {
						r := all[i]
						if r.End != want || want == EndRefused && (r.Verdict.Rule != limiter.RuleConnect || r.Step != StepConnect) {
							t.Errorf("record %d: got end %v by rule %v in step %v, want %v", i, r.End, r.Verdict.Rule, r.Step, want)
						}
					}
				})
			})
		}
	}
}

// A health check at the limit of connections, when all others are logged in, may look but
// not log in.
func TestHealthCheckThatLogsInMeetsMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.IMAP{})
		proxy.setPolicy(limiter.Policy{})
		proxy.MaxConnections = 1
		ln := proxy.listen(imapListener)
		proxy.connectAndExpect(ln, clientAddr, "* OK …").login()
		probe := proxy.connect(balancer, ln)
		probe.Write([]byte(localHeaders["v2 LOCAL"]))
		probe.expect("* OK …")
		probe.send("a1 LOGIN u right")
		probe.expect("a1 " + imapBusy)
		probe.expectClosed()
		if r := proxy.lastRecord(); r.Verdict.Rule != limiter.RuleMaxConnections || r.End != EndRefused {
			t.Errorf("got %v by rule %v", r.End, r.Verdict.Rule)
		}
	})
}

// Connections of the balancer's own meet the rules at once while there are more than
// health checks can be.
func TestTooManyHealthChecksAreConnections(t *testing.T) {
	for name, header := range localHeaders {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := newProxyBehindBalancer(t, dialogue.IMAP{}) // one connection an hour
				ln := proxy.listen(imapListener)
				probe := func(want string) *peer {
					client := proxy.connect(balancer, ln)
					client.Write([]byte(header))
					client.expect(want)
					return client
				}
				var open []*peer
				for range maxProbes + 1 { // the last one as the balancer's one connection
					open = append(open, probe("* OK …"))
				}
				probe("* BYE …")
				for i, leave := range []func(*peer){
					func(client *peer) { client.Close() },
					func(client *peer) { client.send("a1 LOGIN u right"); client.expect("a1 " + imapBusy) },
				} {
					leave(open[i])
					synctest.Wait()
					open = append(open, probe("* OK …"))
					probe("* BYE …")
				}
				for _, client := range open {
					client.Close()
				}
				synctest.Wait()
				if n := proxy.probes.Load(); n != 0 {
					t.Errorf("%d health checks are still counted", n)
				}
				probe("* OK …")
			})
		})
	}
}

// What a health check asks about an account before it logs in counts as a login too.
func TestHealthCheckThatNamesAnAccountIsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newProxyBehindBalancer(t, dialogue.POP3{})
		p := allRules()
		p.Connect = limiter.Rate{Tokens: 1, Per: sourceRule().Source.Per}
		proxy.setPolicy(p)
		for i := range p.Account.Tokens {
			k := proxy.Limiter.Ask(time.Now(), limiter.Attempt{Addr: mustAddrPort(fmt.Sprintf("198.51.%d.1:1", i)).Addr(), Account: "u"})
			k.Settle(time.Now(), limiter.Denied)
		}
		ln := proxy.listen(pop3Listener)
		for i, rule := range []limiter.Rule{limiter.RuleAccount, limiter.RuleConnect} {
			client := proxy.connect(balancer, ln)
			client.Write([]byte(localHeaders["v2 LOCAL"]))
			client.expect("+OK …")
			client.send("USER u")
			client.expect("-ERR …")
			client.expectClosed()
			if r := proxy.lastRecord(); r.Verdict.Rule != rule {
				t.Errorf("connection %d: got rule %v, want %v", i, r.Verdict.Rule, rule)
			}
		}
	})
}
