package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/bench/backend"
	"postern/bench/client"
	"postern/bench/peer"
	"postern/limiter"
	"postern/limiter/traffic"
)

// Local is the targets that the bench starts itself.
type Local struct {
	Targets   []string // postern, nginx, haproxy, dovecot or direct
	Program   string   // the bench itself: with the argument "backend" it calls [RunBackend], with "flood" [RunFlood]
	Postern   string   // the program of postern; "" builds it from this module
	LogLogins bool     // targets log every login
}

// direct is the name of the target that is the stand-in mail server itself.
const direct = "direct"

// targetNames are the names that [Local.Targets] may contain.
var targetNames = []string{"postern", "nginx", "haproxy", "dovecot", direct}

// openLocal opens the testbed, and lists in report which targets there are and
// which are missing. The caller calls closeTestbed.
func (c *Config) openLocal(ctx context.Context, r *runner, report *Report) (closeTestbed func(), err error) {
	local := &c.Local
	for _, name := range local.Targets {
		if !slices.Contains(targetNames, name) {
			return nil, fmt.Errorf("no target %q: got -target %s, want some of %s", name, strings.Join(local.Targets, ","), strings.Join(targetNames, ", "))
		}
	}
	tb, err := openTestbed(local.Program, c.ProxyHeader, local.LogLogins)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			tb.close()
		}
	}()
	postern := local.Postern
	if postern == "" && slices.Contains(local.Targets, "postern") {
		if postern, err = buildPostern(ctx, tb.dir); err != nil {
			return nil, err
		}
	}
	kinds := map[string]peer.Kind{}
	for _, k := range peer.Kinds(postern) {
		kinds[k.Name] = k
	}
	for _, name := range local.Targets {
		k := kinds[name]
		switch {
		case name == direct:
			report.Targets = append(report.Targets, TargetInfo{Name: name, About: "the mail server without a proxy"})
		case k.Missing() != nil:
			report.Missing = append(report.Missing, k.Missing().Error())
			continue
		default:
			report.Targets = append(report.Targets, TargetInfo{name, k.Version(), k.About})
		}
		r.targets = append(r.targets, name)
	}
	if len(r.targets) == 0 {
		return nil, fmt.Errorf("no target can be started: %s", strings.Join(report.Missing, "; "))
	}
	r.open = func(ctx context.Context, w Work, name string) (*target, func(), error) {
		if name == direct {
			return tb.direct(w), func() {}, nil
		}
		t, p, err := tb.start(ctx, kinds[name], w)
		if err != nil {
			return nil, nil, err
		}
		return t, p.Stop, nil
	}
	return tb.close, nil
}

// buildPostern builds postern into dir if the working directory is inside its
// module, and returns "" if not.
func buildPostern(ctx context.Context, dir string) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "list", "-m").Output()
	if err != nil || string(module) != "postern\n" {
		return "", nil
	}
	program := filepath.Join(dir, "postern")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", program, "postern/cmd/postern")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build postern: %w\n%s", err, out)
	}
	return program, nil
}

// start runs a target for a work. The caller stops it.
func (tb *testbed) start(ctx context.Context, k peer.Kind, w Work) (*target, *peer.Target, error) {
	dir, err := os.MkdirTemp(tb.dir, k.Name+"-")
	if err != nil {
		return nil, nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, nil, err
	}
	state, err := knownState(time.Now(), w.known, tb.direct(w).sourceFor)
	if err != nil {
		return nil, nil, err
	}
	proxyHeader := tb.proxyHeader || w.proxyHeader
	p, err := k.Start(ctx, peer.Setup{
		Dir: dir, Cert: tb.cert, Key: tb.key, ProxyHeader: proxyHeader, LogLogins: tb.logLogins, Settings: w.settings, More: w.more, State: state, AdminToken: w.adminToken,
		Backend: peer.Backend{
			IMAP: tb.addrs.IMAP, POP3: tb.addrs.POP3, ProxiedIMAP: tb.addrs.ProxiedIMAP, ProxiedPOP3: tb.addrs.ProxiedPOP3,
			AuthURL: "http://" + tb.addrs.Control + "/auth",
		},
	})
	if err != nil {
		return nil, nil, err
	}
	t := tb.target(k.Name, p.Pid, proxyHeader, p.StartTLS, backend.Addrs{IMAP: p.IMAP, IMAPS: p.IMAPS, POP3: p.POP3, POP3S: p.POP3S})
	t.sasl, t.afterRound, t.admin = k.SASL, p.TruncateLog, p.Admin
	t.another = func(ctx context.Context, more ...string) (*target, func(), error) {
		w.more = more
		other, p, err := tb.start(ctx, k, w)
		if err != nil {
			return nil, nil, err
		}
		return other, p.Stop, nil
	}
	return t, p, nil
}

// direct returns the mail server as a target.
func (tb *testbed) direct(w Work) *target {
	a, proxyHeader := tb.addrs, tb.proxyHeader || w.proxyHeader
	if proxyHeader {
		a.IMAP, a.IMAPS, a.POP3, a.POP3S = a.ProxiedIMAP, a.ProxiedIMAPS, a.ProxiedPOP3, a.ProxiedPOP3S
	}
	t := tb.target(direct, tb.server.Process.Pid, proxyHeader, true, a)
	t.sasl = true
	return t
}

// target describes a target of this testbed.
func (tb *testbed) target(name string, pid int, proxyHeader, startTLS bool, a backend.Addrs) *target {
	t := &target{name: name, backend: &backend.Control{Addr: tb.addrs.Control}, pid: pid, loopback: true, proxyHeader: proxyHeader, tls: tb.tls,
		listeners: map[listener]string{
			{client.IMAP, client.Plain}: a.IMAP, {client.IMAP, client.TLS}: a.IMAPS, {client.IMAP, client.Resumed}: a.IMAPS,
			{client.POP3, client.Plain}: a.POP3, {client.POP3, client.TLS}: a.POP3S, {client.POP3, client.Resumed}: a.POP3S,
		}}
	t.flood = func(ctx context.Context, f floodConfig) (*floodResult, error) {
		f.Addr, f.Certificate = a.IMAPS, string(tb.certPEM)
		return tb.flood(ctx, f)
	}
	if startTLS {
		t.listeners[listener{client.IMAP, client.StartTLS}] = a.IMAP
		t.listeners[listener{client.POP3, client.StartTLS}] = a.POP3
	}
	return t
}

// knownState returns the state files of a postern at which every login of
// known was accepted 30 hours before t; nil if there are none. source maps the
// address of a login to the one that postern sees. The state has no devices:
// only TLS session tickets tell them.
func knownState(t time.Time, known []traffic.Login, source func(netip.Addr) (netip.Addr, error)) (map[string][]byte, error) {
	if known == nil {
		return nil, nil
	}
	key := limiter.Key{1}
	l, err := limiter.New(limiter.Policy{KnownTTL: 30 * 24 * time.Hour, TableMax: 1 << 20}, key)
	if err != nil {
		return nil, err
	}
	yesterday := t.Add(-30 * time.Hour)
	for _, k := range known {
		addr, err := source(k.Addr)
		if err != nil {
			return nil, err
		}
		a := limiter.Attempt{Addr: addr, Account: k.Account, Token: k.Token}
		if !k.Token {
			a.Credential = l.Credential(k.Account, []byte(k.Secret))
		}
		ticket := l.Ask(yesterday, a)
		ticket.Settle(yesterday, limiter.Accepted)
	}
	return map[string][]byte{"install-key": key[:], "known": l.Snapshot(t)}, nil
}
