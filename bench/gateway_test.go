package bench

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/bench/backend"
	"postern/bench/peer"
)

// siteUsers returns n users that the stand-in mail server accepts.
func siteUsers(n int) (users []User) {
	for i := range n {
		name := fmt.Sprintf("user%d@example.org", i)
		users = append(users, User{name, backend.Secret(name)})
	}
	return users
}

// startGateway starts a postern that is stopped with the test, with these
// settings beside default limits. It believes PROXY headers if proxyHeader.
func startGateway(t *testing.T, tb *testbed, proxyHeader bool, settings ...string) *peer.Target {
	t.Helper()
	w := Work{proxyHeader: proxyHeader, settings: append([]string{"LIMIT_GLOBAL=1000/1s"}, settings...)}
	_, p, err := tb.start(t.Context(), findKind(t, "postern"), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// gatewayConfig runs short scenarios at a running gateway.
func gatewayConfig(tb *testbed, proxyHeader bool, r Remote, scenarios ...string) Config {
	o := GatewayDefaults()
	o.Rounds, o.Settle, o.Held = 1, 100*time.Millisecond, 8
	o.Attack.Baseline, o.Attack.Duration, o.Attack.Hour = time.Second, 2*time.Second, time.Second
	o.Attack.MaxRate, o.Attack.Times = 30, []float64{3}
	if r.TLS == nil {
		r.TLS = tb.tls
	}
	return Config{Options: o, Scenario: scenarios, Limit: 5 * time.Minute, ProxyHeader: proxyHeader, Remote: r, Progress: func(int, int, string) {}}
}

// runGateway runs one scenario and returns its figures.
func runGateway(t *testing.T, c Config) (*Report, *Group, *Rounds) {
	t.Helper()
	report, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	g := &report.Groups[0]
	return report, g, g.Rounds["server"]
}

// Each scenario runs at a postern that runs already, by PROXY header and from
// loopback addresses, through all kinds of listeners.
func TestGatewayScenarios(t *testing.T) {
	tb := newTestbed(t)
	for _, tc := range []struct {
		scenario, listener string
		proxyHeader        bool
	}{
		{"attack", "imaps", true}, {"attack", "pop3", false}, {"incident", "imap", false}, {"tarpit", "pop3s", true}, {"tarpit", "imaps", false},
	} {
		t.Run(fmt.Sprintf("%s, %s, PROXY header %v", tc.scenario, tc.listener, tc.proxyHeader), func(t *testing.T) {
			t.Parallel()
			p := startGateway(t, tb, tc.proxyHeader)
			remote := map[string]Remote{"imap": {IMAP: p.IMAP}, "imaps": {IMAPS: p.IMAPS}, "pop3": {POP3: p.POP3}, "pop3s": {POP3S: p.POP3S}}[tc.listener]
			remote.Users = siteUsers(10)
			report, g, rounds := runGateway(t, gatewayConfig(tb, tc.proxyHeader, remote, tc.scenario))
			checkGatewayReport(t, report, g, rounds)
		})
	}
}

// checkGatewayReport checks a report on a gateway that accepts right passwords
// and denies wrong ones. How fast it was depends on the machine.
func checkGatewayReport(t *testing.T, report *Report, g *Group, rounds *Rounds) {
	t.Helper()
	known := report.row(g.Work, knownAccepted)
	if rounds.Done != 1 || known == nil || known.Cells["server"].Median < 50 {
		t.Fatalf("%+v %+v", rounds, g.Rows)
	}
	if len(rounds.Conclusions) != 1 || !strings.HasPrefix(rounds.Conclusions[0], "users served ") {
		t.Errorf("conclusions: %q", rounds.Conclusions)
	}
	denied := func(e Explanation) bool {
		return e.Who == whoAttackers && strings.HasPrefix(e.What, "denied: ") && strings.Contains(e.Example, " from ")
	}
	if !slices.ContainsFunc(rounds.Explanations, denied) {
		t.Errorf("explanations: %+v", rounds.Explanations)
	}
	for _, row := range g.Rows {
		if strings.Contains(row.Figure, "CPU") || strings.Contains(row.Figure, "memory") || strings.Contains(row.Figure, "mail server") {
			t.Errorf("got the figure %q, which cannot be measured at a running gateway", row.Figure)
		}
	}
	var table, page bytes.Buffer
	if err := report.Table(&table); err != nil {
		t.Error(err)
	}
	if err := report.Page(&page); err != nil {
		t.Error(err)
	}
	for _, want := range []string{notMeasured, "Conclusion: users served ", "denied: the password is wrong"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	for _, want := range []string{notMeasured, "<b>Conclusion:</b> users served ", "denied: the password is wrong"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

// What makes all logins fail is the error of the run.
func TestGatewayThatNobodyReaches(t *testing.T) {
	tb := newTestbed(t)
	trusting, plain := startGateway(t, tb, true), startGateway(t, tb, false)
	users, wrong := siteUsers(3), siteUsers(7)
	for i := range wrong {
		wrong[i].Password = "wrong"
	}
	for _, tc := range []struct {
		name        string
		remote      Remote
		proxyHeader bool
		want        string
	}{
		{"nothing listens", Remote{IMAPS: "127.0.0.1:1", Users: users}, false, "connection refused: nothing listens at 127.0.0.1:1 "},
		{"no TLS", Remote{IMAPS: plain.IMAP, Users: users}, false, "use -imap or -pop3 for STARTTLS"},
		{"untrusted certificate", Remote{IMAPS: plain.IMAPS, Users: users, TLS: &tls.Config{}}, false, "add -ca FILE or -insecure"},
		{"PROXY header not believed, TLS", Remote{IMAPS: plain.IMAPS, Users: users}, true, needsProxyFrom},
		{"PROXY header not believed, STARTTLS", Remote{IMAP: plain.IMAP, Users: users}, true, needsProxyFrom},
		{"PROXY header not believed, STLS", Remote{POP3: plain.POP3, Users: users}, true, needsProxyFrom},
		{"PROXY header expected", Remote{IMAPS: trusting.IMAPS, Users: users}, false, "the gateway expects a PROXY header from this machine (-proxy)"},
		{"wrong passwords", Remote{IMAPS: plain.IMAPS, Users: wrong}, false, "none of 7 users of the file can log in: wrong password in the file for users user0@example.org, user1@example.org, user2@example.org, user3@example.org, user4@example.org and 2 more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := Run(t.Context(), gatewayConfig(tb, tc.proxyHeader, tc.remote, "attack"))
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tc.want)
			}
		})
	}
}

// Users whose password in the file is wrong are named and left out.
func TestGatewayLeavesOutUsersWithWrongPasswords(t *testing.T) {
	tb := newTestbed(t)
	p := startGateway(t, tb, false)
	users := siteUsers(8)
	users[3].Password = "wrong"
	_, _, rounds := runGateway(t, gatewayConfig(tb, false, Remote{IMAPS: p.IMAPS, Users: users}, "attack"))
	if problems := strings.Join(rounds.Problems, "\n"); !strings.Contains(problems, "1 of 8 users could not log in before the attack and are left out: wrong password in the file for user user3@example.org") {
		t.Errorf("problems: %q", problems)
	}
	for _, e := range rounds.Explanations {
		if e.Who == whoUsers && strings.HasPrefix(e.What, "denied") {
			t.Errorf("a user was denied: %+v", e)
		}
	}
}

// What postern refuses is explained by what its clients see.
func TestGatewayRefusalsAreExplained(t *testing.T) {
	tb := newTestbed(t)
	for _, tc := range []struct {
		name, setting, kind string
		remote              func(*peer.Target) Remote
		who, what, example  string
	}{
		{"rule connect, TLS", "LIMIT_CONNECT=1/1h", "few", func(p *peer.Target) Remote { return Remote{IMAPS: p.IMAPS} },
			whoAttackers, "TLS failed: refused by rule handshakes (too many wait), or by rule connect", " from 127."},
		{"rule connect, clear text", "LIMIT_CONNECT=1/1h", "few", func(p *peer.Target) Remote { return Remote{IMAP: p.IMAP} },
			whoAttackers, "refused by the greeting: rule connect", ": postern explain "},
		{"rule account", "LIMIT_ACCOUNT=1/1h", "target", func(p *peer.Target) Remote { return Remote{IMAPS: p.IMAPS} },
			whoAttackers, "NO [UNAVAILABLE]: postern refused by a limit, for lack of capacity", ": postern explain "},
		{"rule account, POP3", "LIMIT_ACCOUNT=1/1h", "target", func(p *peer.Target) Remote { return Remote{POP3S: p.POP3S} },
			whoAttackers, "-ERR [", ": postern explain "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			remote := tc.remote(startGateway(t, tb, false, tc.setting))
			remote.Users = siteUsers(8)
			c := gatewayConfig(tb, false, remote, "attack")
			c.Options.Attack.Kinds = []string{tc.kind}
			_, _, rounds := runGateway(t, c)
			explained := func(e Explanation) bool {
				return e.Who == tc.who && strings.HasPrefix(e.What, tc.what) && strings.Contains(e.Example, tc.example)
			}
			if !slices.ContainsFunc(rounds.Explanations, explained) {
				t.Errorf("want %q: %q\ngot %+v", tc.who, tc.what, rounds.Explanations)
			}
		})
	}
}

// A wrong setting is one line that names it.
func TestGatewaySettings(t *testing.T) {
	users := siteUsers(1)
	for _, tc := range []struct {
		scenario string
		remote   Remote
		set      func(*Options)
		want     string
	}{
		{"attack", Remote{IMAPS: "127.0.0.1:1", Account: "x", Password: "y"}, nil, "-users FILE"},
		{"incident", Remote{IMAPS: "127.0.0.1:1"}, nil, "-users FILE"},
		{"tarpit", Remote{IMAPS: "127.0.0.1:1"}, nil, "-users FILE"},
		{"attack", Remote{IMAPS: "127.0.0.1:1", Users: users, Account: "x"}, nil, "want one of the two"},
		{"attack", Remote{IMAPS: "8.8.8.8:993", Users: users}, nil, "-i-run-this-server"},
		{"tarpit", Remote{IMAPS: "8.8.8.8:993", Users: users}, nil, "-i-run-this-server"},
		{"attack", Remote{IMAPS: "10.0.0.1:993", Users: users}, nil, "add -proxy, and list this machine in PROXY_FROM"},
		{"tarpit", Remote{IMAPS: "10.0.0.1:993", Users: users}, nil, "add -proxy, and list this machine in PROXY_FROM"},
		{"attack", Remote{IMAPS: "127.0.0.1:1", Users: users}, func(o *Options) { o.Attack.Kinds = []string{"stolen"} }, "-kinds: got stolen, want some of few, wide"},
		{"attack", Remote{IMAPS: "127.0.0.1:1", Users: users}, func(o *Options) { o.Attack.Kinds = []string{"hop"} }, "need PROXY headers (-proxy)"},
		{"attack", Remote{IMAPS: "127.0.0.1:1", Users: users}, func(o *Options) { o.Attack.Times = []float64{1} }, "-times: got 1, want more than 1"},
		{"tarpit", Remote{IMAPS: "127.0.0.1:1", Users: users}, func(o *Options) { o.Held, o.Files = 2000, 1000 }, "-held: got 2000, want at most 600"},
		{"login", Remote{IMAPS: "127.0.0.1:1"}, nil, "-users"},
	} {
		c := gatewayConfig(&testbed{tls: &tls.Config{}}, false, tc.remote, tc.scenario)
		if tc.set != nil {
			tc.set(&c.Options)
		}
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s, %+v: got %v, want one line with %q", tc.scenario, tc.remote, err, tc.want)
		}
	}
}
