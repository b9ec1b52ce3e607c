//go:build linux

package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/mailtest"
)

// filter is a script of a user.
const filter = "require [\"fileinto\"];\nif header :contains \"subject\" \"[list]\" { fileinto \"Lists\"; }\n"

// sieveSite is a gateway in front of a Dovecot, with sieve-connect as the user's program.
type sieveSite struct {
	*gateway
	dovecot *mailtest.Dovecot
	program string
}

func newSieveSite(t *testing.T, more ...string) *sieveSite {
	t.Helper()
	program, err := exec.LookPath("sieve-connect")
	if err != nil {
		testbed.Missing(t, "sieve-connect")
	}
	d := mailtest.StartDovecot(t, mailtest.DovecotConfig{})
	more = append([]string{
		prefix + "IMAP_BACKENDS=" + d.IMAPProxy, prefix + "POP3_BACKENDS=" + d.POP3Proxy,
		prefix + "SIEVE_BACKENDS=" + d.SieveProxy, prefix + "SIEVE_LISTEN=127.0.0.1:0",
	}, more...)
	return &sieveSite{start(t, more...), d, program}
}

// run runs sieve-connect as an account, with its password, and returns what it writes.
func (s *sieveSite) run(t *testing.T, user, password string, args ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr("sieve"))
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = w.WriteString(password + "\n")
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--server", host, "--port", port, "--user", user, "--passwordfd", "3", "--tlscafile", s.CertFile, "--tlshostname", "localhost", "--noclearchan",
	}, args...)
	cmd := exec.CommandContext(t.Context(), s.program, args...)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSieveConnectStoresScripts(t *testing.T) {
	t.Parallel()
	s := newSieveSite(t)
	user := s.dovecot.Accounts[0]
	local := filepath.Join(t.TempDir(), "lists.sieve")
	if err := os.WriteFile(local, []byte(filter), 0o600); err != nil {
		t.Fatal(err)
	}
	fetched := filepath.Join(t.TempDir(), "fetched.sieve")
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"--upload", "--localsieve", local, "--remotesieve", "lists"}, ""},
		{[]string{"--activate", "--remotesieve", "lists"}, ""},
		{[]string{"--list"}, `"lists" ACTIVE`},
		{[]string{"--download", "--remotesieve", "lists", "--localsieve", fetched}, ""},
	} {
		out, err := s.run(t, user.Name, user.Secret, step.args...)
		if err != nil || !strings.Contains(out, step.want) {
			t.Fatalf("%s: %v, output %q, want %q\n%s\n%s", step.args, err, out, step.want, s.log.String(), s.dovecot.Logs())
		}
	}
	if got, err := os.ReadFile(fetched); string(got) != filter || err != nil {
		t.Errorf("got script %q, %v, want %q", got, err, filter)
	}
}

// TestSieveConnectIsDeniedAndLimited: a wrong password is denied by Dovecot, and the rules
// of the limiter apply.
func TestSieveConnectIsDeniedAndLimited(t *testing.T) {
	t.Parallel()
	s := newSieveSite(t, prefix+"LIMIT_PAIR=1/1h", prefix+"REPEAT_TTL=off", prefix+"TARPIT_MAX=1ms")
	user := s.dovecot.Accounts[0]
	if out, err := s.run(t, user.Name, "wrong", "--list"); err == nil || !strings.Contains(out, "Authentication failed") {
		t.Errorf("wrong password: %v, output %q", err, out)
	}
	// The program may lose the text of the refusal: it sends LOGOUT after NO, and postern closes.
	if out, err := s.run(t, user.Name, "another", "--list"); err == nil || strings.Contains(out, "Authentication failed") {
		t.Errorf("refused login: %v, output %q", err, out)
	}
	s.log.Await(t, "event=login", "listener=sieve", "result=denied")
	s.log.Await(t, "event=login", "listener=sieve", "rule=pair", "result=refused")
	families := s.scrape(t)
	if n := testbed.Total(families["postern_logins_total"], "listener", "sieve"); n < 2 {
		t.Errorf("got %v logins of the listener sieve, want 2", n)
	}
	s.dovecot.WaitLog(t, "managesieve-login", "rip=127.0.0.1")
}
