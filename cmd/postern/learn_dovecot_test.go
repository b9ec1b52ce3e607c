//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy/mailtest"
)

// TestLearnFromDovecot: what a real Dovecot 2.3 logs, in its own file and as syslog has it: accounts are learned from
// where they logged in, and nothing that a client has forged.
func TestLearnFromDovecot(t *testing.T) {
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{Settings: "auth_username_chars =\ndisable_plaintext_auth = no\n"}) // any character in names
	const forged = `x>, method=PLAIN, rip=203.0.113.66, lip=198.51.100.2, session=<y`
	users := d.Accounts
	dovecotLogin(t, d.IMAPProxy, "192.0.2.11", fmt.Sprintf("a LOGIN %s %s", users[0].Name, users[0].Secret), "a OK")
	dovecotLogin(t, d.IMAPProxy, "192.0.2.12", fmt.Sprintf("a LOGIN %s wrong", users[0].Name), "a NO")
	dovecotLogin(t, d.IMAPProxy, "192.0.2.13", `a LOGIN "`+forged+`" wrong`, "a NO")
	dovecotLogin(t, d.IMAPProxy, "192.0.2.14", `a LOGIN "x): started proxying to h: user=<`+users[0].Name+`" wrong`, "a NO")
	dovecotLogin(t, d.IMAPProxy, "2001:db8::15", `a LOGIN "`+strings.Repeat("long", 40)+`" wrong`, "a NO")
	dovecotLogin(t, d.POP3Proxy, "192.0.2.16", "USER "+users[1].Name+"\r\nPASS "+users[1].Secret, "+OK Logged in.")
	dovecotLogin(t, d.POP3Proxy, "192.0.2.17", "USER "+users[1].Name+"\r\nPASS wrong", "-ERR")
	for _, rip := range []string{"192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "2001:db8::15", "192.0.2.16", "192.0.2.17"} {
		d.WaitLog(t, "-login: Info: ", "rip="+rip+",")
	}
	own := d.Logs()
	var syslog strings.Builder
	for line := range strings.Lines(own) {
		if len(line) > 16 {
			syslog.WriteString(line[:16] + "mail dovecot: " + strings.Replace(line[16:], ": Info: ", ": ", 1))
		}
	}
	for name, text := range map[string]string{"Dovecot's file": own, "syslog": syslog.String()} {
		dir := t.TempDir()
		code, out := learned(t, testbed.Environ(prefix+"STATE_DIR="+dir), testbed.WriteFile(t, text))
		if code != exitOK || !strings.Contains(out, "logins      2 accepted, 3 denied, 0 failed for another reason\n") || !strings.Contains(out, "5 are about logins and 2 were not understood") {
			t.Errorf("%s: exit %d, %s\n%s", name, code, out, text)
		}
		l := learnedLimiter(t, dir)
		for _, tt := range []struct {
			addr, account string
			want          bool
		}{
			{"192.0.2.11", users[0].Name, true}, {"192.0.2.16", users[1].Name, true},
			{"203.0.113.66", "x", false}, {"203.0.113.66", users[0].Name, false}, {"192.0.2.13", "x", false}, {"192.0.2.12", "x", false},
		} {
			source, network := l.Near(time.Now(), netip.MustParseAddr(tt.addr), tt.account)
			if got := source || network; got != tt.want {
				t.Errorf("%s: %s from %s: got %v, want %v", name, tt.account, tt.addr, got, tt.want)
			}
		}
	}
}

// dovecotLogin sends lines to an address that requires a PROXY header, which says that the client is at rip, until an
// answer begins with want. Then it closes the connection.
func dovecotLogin(t *testing.T, addr, rip, lines, want string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testbed.Patience))
	family, local := "TCP4", "198.51.100.2"
	if strings.Contains(rip, ":") {
		family, local = "TCP6", "2001:db8::2"
	}
	fmt.Fprintf(conn, "PROXY %s %s %s 50000 143\r\n%s\r\n", family, rip, local, lines)
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.HasPrefix(line, want) {
			return
		}
	}
}

// learnedLimiter returns a limiter with what is in a state directory.
func learnedLimiter(t *testing.T, dir string) *limiter.Limiter {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "install-key"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(filepath.Join(dir, "known"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := limiter.New(limiter.Policy{KnownTTL: time.Hour, TableMax: 100}, limiter.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(time.Now(), known); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLearnAsRootKeepsTheOwner: root may learn for a gateway that runs as another user, who can use all files then.
func TestLearnAsRootKeepsTheOwner(t *testing.T) {
	const owner = 64990 // need not exist
	if os.Geteuid() != 0 {
		testbed.Missing(t, "a process of root")
	}
	dir, err := os.MkdirTemp("", "postern-owner-") // others can enter the parent, unlike that of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, owner, owner); err != nil {
		t.Fatal(err)
	}
	target := testbed.WriteFile(t, "not to be changed")
	if err := os.Symlink(target, filepath.Join(dir, "known.new")); err != nil { // the user of the gateway may be hostile
		t.Fatal(err)
	}
	for _, want := range []string{"permission denied", "postern now knows 10 accounts"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "learn", learnLog(t, 2, 10))
		cmd.Env = append(testbed.Environ(prefix+"STATE_DIR="+dir), bePostern+"=yes")
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), want) {
			t.Errorf("got %s, want %q", out, want)
		}
		_ = os.Remove(filepath.Join(dir, "known.new"))
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "not to be changed" {
		t.Errorf("root has written where only root may: %q, %v", text, err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != owner || s.Gid != owner || info.Mode().Perm()&0o077 != 0 && path != dir {
			t.Errorf("%s: owner %d, group %d, mode %v", path, s.Uid, s.Gid, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
