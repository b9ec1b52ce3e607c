package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"postern/bench/client"
)

// Remote is a server that runs already, on this machine or another.
type Remote struct {
	IMAP, IMAPS, POP3, POP3S string // host:port, "" for none
	Account, Password        string // the account name may contain one %d
	Users                    []User // in place of Account and Password
	TLS                      *tls.Config
	OwnServer                bool // the user runs it: its address may be a public one
}

// Given reports whether r names an address.
func (r *Remote) Given() bool { return r.IMAP+r.IMAPS+r.POP3+r.POP3S != "" }

var (
	// errNoAccount is returned if nobody can log in at a remote server.
	errNoAccount = errors.New("a remote server needs -user, an account made for this, and -password-file, a file with its password; or -users, a file with lines NAME:PASSWORD")
	// errTwoAccounts is returned if it is not clear who logs in.
	errTwoAccounts = errors.New("got -users and -user or -password-file, want one of the two")
)

// openRemote makes the remote server the only target.
func (c *Config) openRemote(ctx context.Context, r *runner, report *Report) error {
	remote := &c.Remote
	switch single := remote.Account != "" || remote.Password != ""; {
	case len(remote.Users) > 0 && single:
		return errTwoAccounts
	case len(remote.Users) == 0 && (remote.Account == "" || remote.Password == ""):
		return errNoAccount
	}
	t := &target{name: "server", listeners: map[listener]string{}, loopback: true, proxyHeader: c.ProxyHeader, tls: remote.TLS,
		user: loginAccount{remote.Account, remote.Password}, users: remote.Users}
	for _, l := range []struct {
		addr      string
		listeners []listener
	}{
		{remote.IMAP, []listener{{client.IMAP, client.Plain}, {client.IMAP, client.StartTLS}}},
		{remote.IMAPS, []listener{{client.IMAP, client.TLS}, {client.IMAP, client.Resumed}}},
		{remote.POP3, []listener{{client.POP3, client.Plain}, {client.POP3, client.StartTLS}}},
		{remote.POP3S, []listener{{client.POP3, client.TLS}, {client.POP3, client.Resumed}}},
	} {
		if l.addr == "" {
			continue
		}
		addr, host, err := remote.resolve(ctx, l.addr)
		if err != nil {
			return err
		}
		t.loopback = t.loopback && addr.Addr().IsLoopback() && addr.Addr().Is4()
		t.tls = withServerName(t.tls, host)
		for _, key := range l.listeners {
			t.listeners[key] = addr.String()
		}
		report.Targets = []TargetInfo{{Name: t.name, About: l.addr}}
	}
	report.Running = true
	r.targets = []string{t.name}
	r.open = func(context.Context, Work, string) (*target, func(), error) { return t, func() {}, nil }
	return nil
}

// resolve returns the address of a server. It refuses a public address unless
// the user says that the server is theirs.
func (r *Remote) resolve(ctx context.Context, hostPort string) (addr netip.AddrPort, host string, err error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return addr, "", fmt.Errorf("got %q, want host:port", hostPort)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return addr, "", err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return addr, "", err
	}
	ip := ips[0].Unmap()
	if !ip.IsLoopback() && !ip.IsPrivate() && !r.OwnServer {
		return addr, "", fmt.Errorf("%s: got %s, want a loopback or private address; if you run this server yourself, add -i-run-this-server", host, ip)
	}
	return netip.AddrPortFrom(ip, uint16(n)), host, nil
}

// withServerName returns config with the name that the server's certificate
// must contain.
func withServerName(config *tls.Config, host string) *tls.Config {
	config = config.Clone()
	config.ServerName = host
	return config
}
