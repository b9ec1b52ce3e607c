package config

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestNetworksThatCoverTheInternet are refused, large ones are warned of, and internal
// ones may be of any size.
func TestNetworksThatCoverTheInternet(t *testing.T) {
	const refused, warned, silent = "refused", "warned", "silent"
	for nets, want := range map[string]string{
		"0.0.0.0/0": refused, "::/0": refused, "::ffff:0.0.0.0/96": refused, "0.0.0.0/1,128.0.0.0/1": refused,
		"192.0.2.0/24,0.0.0.0/0": refused, "8.0.0.0/7": refused, "2000::/3": refused, "2600::/15": refused, "10.0.0.0/7": refused,
		"fc00::/6": refused, "8.0.0.0/8": warned, "198.18.0.0/15": warned, "2001::/16": warned, "2001:db8::/28": warned,
		"198.51.0.0/16": silent, "2001:db8::/29": silent, "192.0.2.1": silent, "2001:db8::1": silent,
		"10.0.0.0/8": silent, "127.0.0.0/8": silent, "100.64.0.0/10": silent, "172.16.0.0/12": silent, "fc00::/7": silent, "fe80::/10": silent,
	} {
		for setting, effect := range map[string]string{"EXEMPT": "no client there is limited", "PROXY_FROM": "every client there can pretend", "FORWARDED_FROM": "every client there can pretend"} {
			c, err := load(testbed.Environ("POSTERN_"+setting+"="+nets), testFDs)
			got, warnings := silent, c.Warnings()
			switch {
			case err != nil:
				got = refused
				if text := err.Error(); !strings.HasPrefix(text, "POSTERN_"+setting+": got ") || !strings.Contains(text, "much of the Internet") || !strings.Contains(text, effect) {
					t.Errorf("%s=%s: %v", setting, nets, err)
				}
			case len(warnings) > 0:
				got = warned
				if len(warnings) > 1 || !strings.HasPrefix(warnings[0], "POSTERN_"+setting+": ") || !strings.Contains(warnings[0], effect) {
					t.Errorf("%s=%s: %q", setting, nets, warnings)
				}
			}
			if got != want {
				t.Errorf("%s=%s: %s, want %s", setting, nets, got, want)
			}
		}
	}
}

// TestBackendsThatAreOwnListeners are refused, by the setting of the backend.
func TestBackendsThatAreOwnListeners(t *testing.T) {
	for listener, backends := range map[string]map[string]bool{
		":143": {
			"127.0.0.1:143": true, "127.8.8.8:143": true, "[::1]:143": true, "localhost:143": true, "0.0.0.0:143": true, "[::]:143": true,
			"[::ffff:127.0.0.1]:143": true, "127.0.0.1:10143": false, "192.0.2.1:143": false, "[2001:db8::1]:143": false, "imap.example:143": false,
		},
		"[::]:143":          {"127.0.0.1:143": true, "[::1]:143": true, "192.0.2.1:143": false},
		"0.0.0.0:143":       {"127.0.0.1:143": true, "localhost:143": true, "0.0.0.0:143": true, "[::1]:143": false, "[::]:143": false},
		"127.0.0.1:143":     {"127.0.0.1:143": true, "localhost:143": true, "0.0.0.0:143": true, "127.0.0.2:143": false, "[::1]:143": false},
		"localhost:143":     {"127.0.0.1:143": true, "[::1]:143": true, "localhost:143": true, "192.0.2.1:143": false},
		"192.0.2.1:143":     {"192.0.2.1:143": true, "127.0.0.1:143": false, "192.0.2.2:143": false},
		"[2001:db8::1]:143": {"[2001:db8::1]:143": true, "[2001:db8:0::1]:143": true, "[2001:db8::2]:143": false},
		"imap.example:143":  {"127.0.0.1:143": false},
	} {
		for backend, loops := range backends {
			for _, setting := range []string{"IMAP", "POP3"} {
				_, err := load(testbed.Environ("POSTERN_POP3S_LISTEN="+listener, "POSTERN_IMAP_LISTEN=off", "POSTERN_"+setting+"_BACKENDS=mail.example:1,"+backend), testFDs)
				want := ""
				if loops {
					want = "POSTERN_" + setting + "_BACKENDS: got " + backend + ", which is postern's own listener " + listener + ", want a mail server"
				}
				if err == nil && loops || err != nil && err.Error() != want {
					t.Errorf("listener %s, backend %s: got %v, want %q", listener, backend, err, want)
				}
			}
		}
	}
}

// TestOwnAddresses are those of all interfaces that are up.
func TestOwnAddresses(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLinkLocalUnicast() && !isOwn(p.Addr()) {
				t.Errorf("%v is not known as an own address", p.Addr())
			}
		}
	}
	for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
		if isOwn(netip.MustParseAddr(ip)) {
			t.Errorf("%s is taken for an own address", ip)
		}
	}
}
