package daemon

import (
	"net"
	"strings"
	"testing"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
)

// openWith opens a gateway with the settings in environ, closes it if it opens,
// and returns the error if not.
func openWith(environ []string) error {
	c, err := config.Load(environ)
	if err != nil {
		return err
	}
	d, err := open(c, eventlog.New(testbed.NewLog(), string(c.Log.Format), c.Log.SlogLevel()), Build{}, inherited{environ: environ})
	if err == nil {
		d.close()
	}
	return err
}

// TestOpenErrors: for each setting that parses but cannot be used, the error
// names it.
func TestOpenErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	broken := testbed.WriteFile(t, "no certificate")
	site := testbed.NewSite(t)
	for name, tt := range map[string]struct{ setting, want string }{
		"IMAP address in use":             {"IMAP_LISTEN=" + busy.Addr().String(), "POSTERN_IMAP_LISTEN: listen on " + busy.Addr().String() + ": bind: address already in use"},
		"POP3S address of another host":   {"POP3S_LISTEN=192.0.2.1:995", "POSTERN_POP3S_LISTEN: listen on 192.0.2.1:995: bind: cannot assign requested address"},
		"admin address in use":            {"ADMIN_LISTEN=" + busy.Addr().String(), "POSTERN_ADMIN_LISTEN: listen on " + busy.Addr().String()},
		"metrics address in use":          {"METRICS_LISTEN=" + busy.Addr().String(), "POSTERN_METRICS_LISTEN: listen on " + busy.Addr().String()},
		"admin socket in no directory":    {"ADMIN_LISTEN=unix:/no/such/dir/s", "POSTERN_ADMIN_LISTEN: listen on /no/such/dir/s: bind: no such file or directory"},
		"certificate that is absent":      {"TLS_CERT=/no/such.crt", "POSTERN_TLS_CERT: "},
		"certificate that is no PEM":      {"TLS_CERT=" + broken, "POSTERN_TLS_CERT: "},
		"ticket keys in another format":   {"TLS_TICKET_KEYS=" + broken, "POSTERN_TLS_TICKET_KEYS: "},
		"port name instead of a port":     {"IMAPS_LISTEN=localhost:imaps", "POSTERN_IMAPS_LISTEN: got \"localhost:imaps\", want"},
		"CA certificates that are no PEM": {"BACKEND_TLS_CA=" + broken, "POSTERN_BACKEND_TLS_CA: "},
		"CA certificates that are absent": {"BACKEND_TLS_CA=" + broken + "/none", "POSTERN_BACKEND_TLS_CA: "},
		"state directory that is a file":  {"STATE_DIR=" + broken, "POSTERN_STATE_DIR: mkdir " + broken + ": not a directory"},
		"state directory in /proc":        {"STATE_DIR=/proc/state", "POSTERN_STATE_DIR: mkdir /proc/state: "},
	} {
		t.Run(name, func(t *testing.T) {
			environ := append(site.Environ, prefix+tt.setting)
			if strings.HasPrefix(tt.setting, "BACKEND_TLS_CA") {
				environ = append(environ, prefix+"BACKEND_TLS=tls")
			}
			if err := openWith(environ); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestOpenReleasesAddresses: after a failed start no address is bound.
func TestOpenReleasesAddresses(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	addr := free.Addr().String()
	site := testbed.NewSite(t, prefix+"IMAP_LISTEN="+addr, prefix+"ADMIN_LISTEN=unix:/no/such/dir/s")
	if err := openWith(site.Environ); err == nil {
		t.Fatal("opened")
	}
	ln, err := listen(addr, nil, nil)
	if err != nil {
		t.Fatalf("still bound: %v", err)
	}
	ln.Close()
}

// TestListenFamilies binds addresses with one port and connects to it over IPv4 and
// IPv6.
func TestListenFamilies(t *testing.T) {
	for name, tt := range map[string]struct {
		addrs     []string
		four, six bool
	}{
		"port alone":                   {[]string{":"}, true, true},
		"IPv6 wildcard":                {[]string{"[::]:"}, true, true},
		"IPv4 wildcard":                {[]string{"0.0.0.0:"}, true, false},
		"both wildcards":               {[]string{"[::]:", "0.0.0.0:"}, true, true},
		"both, IPv4 first":             {[]string{"0.0.0.0:", "[::]:"}, true, true},
		"port alone and IPv4 wildcard": {[]string{":", "0.0.0.0:"}, true, true},
		"IPv6 wildcard and loopback":   {[]string{"[::]:", "127.0.0.1:"}, true, true},
		"IPv6 loopback":                {[]string{"[::1]:"}, false, true},
		"both loopbacks":               {[]string{"[::1]:", "127.0.0.1:"}, true, true},
		"IPv4 loopback":                {[]string{"127.0.0.1:"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			var l config.Listeners
			for _, addr := range tt.addrs {
				l.IMAP = append(l.IMAP, addr+port)
			}
			all, err := openListeners(l, nil, &sockets{})
			if err != nil {
				t.Fatal(err)
			}
			defer closeListeners(all)
			for host, want := range map[string]bool{"127.0.0.1": tt.four, "::1": tt.six} {
				c, err := net.Dial("tcp", net.JoinHostPort(host, port))
				if (err == nil) != want {
					t.Errorf("%s: %v, want a connection: %v", host, err, want)
				}
				if err == nil {
					c.Close()
				}
			}
		})
	}
}

// TestListenTwiceOnOneAddress is an error with the setting and the address, whichever
// form the address has.
func TestListenTwiceOnOneAddress(t *testing.T) {
	port := freePort(t)
	l := config.Listeners{IMAP: []string{":" + port}, POP3: []string{"[::]:" + port}}
	want := "POSTERN_POP3_LISTEN: listen on [::]:" + port + ": bind: address already in use"
	if _, err := openListeners(l, nil, &sockets{}); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// freePort is a port that nothing listens on, in either family.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}
