package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenComplaints names what can be wrong with the world though the settings
// are sane, and the setting at fault.
func TestOpenComplaints(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, _, environ := houseSettings(t)
	for name, tt := range map[string]struct{ setting, want string }{
		"an IMAP address in use":         {"IMAP_LISTEN=" + busy.Addr().String(), "POSTERN_IMAP_LISTEN: listen on " + busy.Addr().String() + ": bind: address already in use"},
		"a POP3S address of others":      {"POP3S_LISTEN=192.0.2.1:995", "POSTERN_POP3S_LISTEN: listen on 192.0.2.1:995: bind: cannot assign requested address"},
		"an admin address in use":        {"ADMIN_LISTEN=" + busy.Addr().String(), "POSTERN_ADMIN_LISTEN: listen on " + busy.Addr().String()},
		"a metrics address in use":       {"METRICS_LISTEN=" + busy.Addr().String(), "POSTERN_METRICS_LISTEN: listen on " + busy.Addr().String()},
		"an admin socket in no folder":   {"ADMIN_LISTEN=unix:/no/such/dir/s", "POSTERN_ADMIN_LISTEN: listen on /no/such/dir/s: bind: no such file or directory"},
		"a certificate that is absent":   {"TLS_CERT=/no/such.crt", "POSTERN_TLS_CERT: "},
		"a certificate that is none":     {"TLS_CERT=" + broken, "POSTERN_TLS_CERT: "},
		"ticket keys that are none":      {"TLS_TICKET_KEYS=" + broken, "POSTERN_TLS_TICKET_KEYS: "},
		"a port name instead of a port":  {"IMAPS_LISTEN=localhost:imaps", "POSTERN_IMAPS_LISTEN: \"localhost:imaps\": takes"},
		"authorities that are no PEM":    {"BACKEND_TLS_CA=" + broken, "POSTERN_BACKEND_TLS_CA: "},
		"state in a file":                {"STATE_DIR=" + broken, "POSTERN_STATE_DIR: mkdir " + broken + ": not a directory"},
		"state where nobody may write":   {"STATE_DIR=/proc/state", "POSTERN_STATE_DIR: mkdir /proc/state: "},
		"authorities that are not there": {"BACKEND_TLS_CA=" + dir + "/none", "POSTERN_BACKEND_TLS_CA: "},
	} {
		t.Run(name, func(t *testing.T) {
			more := []string{prefix + tt.setting}
			if strings.HasPrefix(tt.setting, "BACKEND_TLS_CA") {
				more = append(more, prefix+"BACKEND_TLS=tls")
			}
			c, err := load(append(environ, more...), testFDs)
			var g *gate
			if err == nil {
				g, err = open(c, newJournal(newLogbook(), c.Log), build{})
			}
			if g != nil {
				g.close()
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestOpenGivesBackAddresses: after a failed start nothing stays bound.
func TestOpenGivesBackAddresses(t *testing.T) {
	_, _, environ := houseSettings(t)
	first := freeAddr("127.0.0.1:10143")
	c, err := load(append(environ, prefix+"IMAP_LISTEN="+first, prefix+"ADMIN_LISTEN=unix:/no/such/dir/s"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(c, newJournal(newLogbook(), c.Log), build{}); err == nil {
		t.Fatal("opened")
	}
	ln, err := listen(first)
	if err != nil {
		t.Fatalf("still bound: %v", err)
	}
	ln.Close()
}

// TestListenBothFamilies: an operator may write both wildcards, or a port
// alone.
func TestListenBothFamilies(t *testing.T) {
	four, err := listen("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	_, port, _ := net.SplitHostPort(four.Addr().String())
	six, err := listen("[::]:" + port)
	if err != nil {
		t.Fatalf("beside 0.0.0.0: %v", err)
	}
	six.Close()
	both, err := listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	_, port, _ = net.SplitHostPort(both.Addr().String())
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("a port alone does not listen on %s: %v", host, err)
			continue
		}
		c.Close()
	}
}
