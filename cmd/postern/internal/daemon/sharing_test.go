package daemon

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// shareSettingsOf returns the settings of gateways that share through one engine, which ends with the test.
func shareSettingsOf(t *testing.T) []string {
	t.Helper()
	engine := testbed.StartEngine(t, testbed.AnyEngine(t))
	return []string{prefix + "SHARE_URL=" + engine.URL(), prefix + "KEY_FILE=" + testbed.KeyFile(t)}
}

// TestStartAwaitsOthers: a gateway that starts knows at once whom the others of its site know.
func TestStartAwaitsOthers(t *testing.T) {
	t.Parallel()
	share := shareSettingsOf(t)
	known := func(g *gateway) int { return g.policy.limiter.Stats(time.Now()).Known }
	a, b := start(t, append(share, prefix+"GATEWAY=a")...), start(t, append(share, prefix+"GATEWAY=b")...)
	a.dial(t, "imaps").Login()
	testbed.Await(t, testbed.Patience, "the user to be known at the other gateway", func() bool { return known(b) == 1 })
	if n := known(start(t, append(share, prefix+"GATEWAY=c")...)); n != 1 {
		t.Errorf("%d users are known, want the one who has logged in at another gateway", n)
	}
}

// policyPass is the answer to a question of Dovecot about a login that may be tried at once.
const policyPass = `{"status":0,"msg":""}`

// askPolicy sends a question or a report of Dovecot about a login that was denied, and returns the answer.
func (g *gateway) askPolicy(t *testing.T, command string) string {
	t.Helper()
	url, body := "http://"+g.PolicyAddr().String()+"/?command="+command, `{"login":"anna","remote":"192.0.2.1","protocol":"smtp","pwhash":"0a"}`
	q, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	_, answer := fetchAnswer(t, q)
	return string(answer)
}

// TestPolicyLoginsAtTwoGateways: a denial that Dovecot has reported at one gateway counts at the other.
func TestPolicyLoginsAtTwoGateways(t *testing.T) {
	t.Parallel()
	share := append(shareSettingsOf(t), prefix+"POLICY_LISTEN=127.0.0.2:0", prefix+"LIMIT_SOURCE=2/1h")
	a, b := start(t, append(share, prefix+"GATEWAY=a")...), start(t, append(share, prefix+"GATEWAY=b")...)
	if got := a.askPolicy(t, "allow"); got != policyPass {
		t.Fatalf("got %s", got)
	}
	a.askPolicy(t, "report")
	spent := func() (n int) {
		for _, bucket := range b.policy.limiter.Inspect(time.Now(), limiter.Attempt{Addr: netip.MustParseAddr("192.0.2.1")}).Buckets {
			if bucket.Rule == limiter.RuleSource {
				n = bucket.Spent
			}
		}
		return n
	}
	testbed.Await(t, testbed.Patience, "the denial to be spent at the other gateway", func() bool { return spent() == 1 })
	if got := b.askPolicy(t, "allow"); got == policyPass {
		t.Error("after a denial at the other gateway: got no delay and no refusal")
	}
}
