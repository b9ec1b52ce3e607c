package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"postern/bench/client"
)

// openElsewhere prepares the one target that runs already.
func (c *Config) openElsewhere(ctx context.Context, r *Runner, report *Report) error {
	if c.Account == "" || c.Password == "" {
		return errNoAccount
	}
	t := &Target{Name: "server", doors: map[door]string{}, loopback: true, announce: c.Announce, tls: c.TLS, accounts: accounts{c.Account, c.Password}}
	for _, d := range []struct {
		addr  string
		doors []door
	}{
		{c.IMAP, []door{{client.IMAP, client.Plain}, {client.IMAP, client.StartTLS}}},
		{c.IMAPS, []door{{client.IMAP, client.TLS}, {client.IMAP, client.Resumed}}},
		{c.POP3, []door{{client.POP3, client.Plain}, {client.POP3, client.StartTLS}}},
		{c.POP3S, []door{{client.POP3, client.TLS}, {client.POP3, client.Resumed}}},
	} {
		if d.addr == "" {
			continue
		}
		addr, host, err := c.admit(ctx, d.addr)
		if err != nil {
			return err
		}
		t.loopback = t.loopback && addr.Addr().IsLoopback() && addr.Addr().Is4()
		t.tls = named(t.tls, host)
		for _, door := range d.doors {
			t.doors[door] = addr.String()
		}
		report.Targets = []About{{Name: t.Name, About: d.addr}}
	}
	r.Targets = []string{t.Name}
	r.Open = func(context.Context, Work, string) (*Target, func(), error) { return t, func() {}, nil }
	return nil
}

// admit finds the address of a server and refuses one that others may own.
func (c *Config) admit(ctx context.Context, hostPort string) (addr netip.AddrPort, host string, err error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return addr, "", fmt.Errorf("%s: want host:port", hostPort)
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
	if !ip.IsLoopback() && !ip.IsPrivate() && !c.MyServer {
		return addr, "", fmt.Errorf("%s is %s, which is neither loopback nor private: load is for servers one runs oneself. If you run this one, say -i-run-this-server", host, ip)
	}
	return netip.AddrPortFrom(ip, uint16(n)), host, nil
}

// named returns config with the name that the server's certificate must bear.
func named(config *tls.Config, host string) *tls.Config {
	config = config.Clone()
	config.ServerName = host
	return config
}
