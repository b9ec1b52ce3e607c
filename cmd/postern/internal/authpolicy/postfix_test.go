//go:build linux

package authpolicy_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// master is the main program of Postfix. The command postfix does much more than a test needs
// before it starts it.
const master = "/usr/lib/postfix/sbin/master"

// postfix is a running Postfix whose smtpd asks Dovecot for passwords.
type postfix struct {
	t    *testing.T
	addr string
}

// startPostfix runs one until the test ends. Dovecot's socket for authentication is at a path.
func startPostfix(t *testing.T, socket string) *postfix {
	t.Helper()
	if _, err := os.Stat(master); err != nil || os.Getuid() != 0 {
		testbed.Missing(t, "postfix, or the user root,")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postfix{t, ln.Addr().String()}
	ln.Close()
	dir, err := os.MkdirTemp("", "postfix-") // the paths of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	configure(t, dir, p.addr, socket)
	p.run(dir)
	return p
}

// configure writes the files of Postfix into dir. It serves SMTP with authentication and
// nothing else.
func configure(t *testing.T, dir, addr, socket string) {
	t.Helper()
	for _, name := range []string{"queue", "queue/pid", "queue/private", "queue/public", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"queue/private", "queue/public", "data"} {
		if out, err := exec.Command("chown", "postfix", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
myhostname = mail.example.org
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = %[2]s
smtpd_error_sleep_time = 0
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
maillog_file = /dev/stdout
`, dir, socket),
		"master.cf": addr + ` inet n - n - 300 smtpd
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
postlog unix-dgram n - n - 1 postlogd
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts the processes, and ends them with the test or when the test dies: that is bound
// to a thread, which therefore does nothing else. The master process ends all others.
func (p *postfix) run(dir string) {
	p.t.Helper()
	cmd := exec.Command(master, "-c", dir, "-s")
	cmd.WaitDelay = testbed.Patience // other processes have its output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	output := testbed.NewLog()
	cmd.Stdout, cmd.Stderr = output, output
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if p.t.Failed() {
			p.t.Logf("Postfix:\n%s", lastLines(output.String(), 30))
		}
	})
	output.Await(p.t, "daemon started")
}

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// login logs in from an address of the loopback network and returns the code of the answer.
func (p *postfix) login(from, account, password string) (code int, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: testbed.Patience}
	conn, err := d.Dial("tcp", p.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testbed.Patience)); err != nil {
		return 0, err
	}
	text := textproto.NewConn(conn)
	for _, step := range []struct {
		say  string
		want int
	}{
		{"", 220}, {"EHLO client.example.org", 250},
		{"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+account+"\x00"+password)), 0},
	} {
		if step.say != "" {
			if err := text.PrintfLine("%s", step.say); err != nil {
				return 0, err
			}
		}
		if code, _, err = text.ReadResponse(step.want); err != nil {
			return code, err
		}
	}
	_ = text.PrintfLine("QUIT")
	return code, nil
}

const (
	codeAccepted = 235
	codeDenied   = 535
)

// submitters is how many users there are, and submissions how many times each logs in while
// an attack goes on.
const (
	submitters, submissions = 10, 5
	submissionInterval      = 250 * time.Millisecond // between two logins of any of them
	attackers               = 48                     // connections of the attack at any time
)

// userOf is an account, and homeOf where its owner logs in from: a network of their own.
func userOf(i int) string { return fmt.Sprintf("user%d@example.org", i) }
func homeOf(i int) string { return fmt.Sprintf("127.1.%d.1", i) }

// Known users log in at a real Postfix while very many addresses guess passwords there, each
// once, several times as often as users log in and more often than passwords may be
// checked. All of the users are accepted.
func TestSubmissionUnderAttack(t *testing.T) {
	t.Parallel()
	var users []string
	for i := range submitters {
		users = append(users, userOf(i))
	}
	s := newSite(t, users, "POSTERN_LIMIT_GLOBAL=12/1s", "POSTERN_STATE_DIR="+seeded(t, submitters))
	p := startPostfix(t, s.socket)

	var guesses, leaks atomic.Int64
	end, attack := make(chan struct{}), sync.WaitGroup{}
	for a := range attackers {
		attack.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				account := fmt.Sprintf("name%d.%d@example.org", a, n)
				if n%4 == 0 {
					account = userOf(n % submitters)
				}
				code, err := p.login(fmt.Sprintf("127.%d.%d.9", 10+a, n%250), account, fmt.Sprintf("guess %d %d", a, n))
				if err == nil && code == codeAccepted {
					leaks.Add(1)
				}
				guesses.Add(1)
			}
		})
	}
	for s.refused() == 0 { // the attack has begun
		if _, err := p.login("127.2.0.1", "nobody@example.org", "x"); err != nil {
			t.Fatal(err)
		}
	}
	before := guesses.Load()
	accepted := p.submit(t)
	during := guesses.Load() - before
	close(end)
	attack.Wait()

	total := submitters * submissions
	t.Logf("%d of %d logins of users accepted, %d guesses meanwhile", accepted, total, during)
	if float64(accepted) < 0.999*float64(total) {
		t.Errorf("%d of %d logins of users accepted, want 99.9 %%", accepted, total)
	}
	if during < 4*int64(total) {
		t.Errorf("%d guesses while users logged in %d times, want 4 times as many", during, total)
	}
	if leaks.Load() > 0 {
		t.Errorf("%d guesses accepted", leaks.Load())
	}
}

// submit lets all users log in, one after the other and evenly over time, and returns how many
// times they were accepted.
func (p *postfix) submit(t *testing.T) int {
	var accepted atomic.Int64
	var running sync.WaitGroup
	tick := time.NewTicker(submissionInterval)
	defer tick.Stop()
	for n := range submitters * submissions {
		<-tick.C
		running.Go(func() {
			i := n % submitters
			code, err := p.login(homeOf(i), userOf(i), password)
			if err == nil && code == codeAccepted {
				accepted.Add(1)
				return
			}
			t.Logf("%s: got %d, %v", userOf(i), code, err)
		})
	}
	running.Wait()
	return int(accepted.Load())
}

// Wrong passwords count: the source that guesses is delayed and then refused, also with the
// right password, while the owner of the account logs in from where they are known.
func TestSubmissionGuesses(t *testing.T) {
	t.Parallel()
	s := newSite(t, []string{userOf(0)}, "POSTERN_LIMIT_SOURCE=3/1h", "POSTERN_TARPIT_MAX=1s", "POSTERN_STATE_DIR="+seeded(t, 1))
	p := startPostfix(t, s.socket)
	const guesser = "127.66.6.6"
	for n := range 3 {
		if code, err := p.login(guesser, userOf(0), fmt.Sprint("guess ", n)); err != nil || code != codeDenied {
			t.Fatalf("guess %d: got %d, %v", n, code, err)
		}
		awaitLines(t, s.log, n+1, "rip="+guesser, "result=denied") // the report has arrived
	}
	if code, err := p.login(guesser, userOf(0), password); err != nil || code != codeDenied {
		t.Errorf("the right password after three guesses: got %d, %v", code, err)
	}
	s.log.Await(t, "rip="+guesser, "result=refused", "rule=source")
	if code, err := p.login(homeOf(0), userOf(0), password); err != nil || code != codeAccepted {
		t.Errorf("the owner: got %d, %v", code, err)
	}
	if strings.Contains(s.log.String(), password) {
		t.Error("the log has a password")
	}
}
