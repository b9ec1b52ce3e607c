//go:build linux

package mailtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/proxy/standin"
)

const (
	// dovecotTimeout is the timeout of start, stop and WaitLog.
	dovecotTimeout = 20 * time.Second
	// dovecotPoll is the interval of polling for what has no notification.
	dovecotPoll = 10 * time.Millisecond
	// dovecotAttempts is the maximum of starts when another program takes a port.
	dovecotAttempts = 5
)

// DovecotConfig is the configuration of a Dovecot. The zero value is valid.
type DovecotConfig struct {
	Accounts []standin.Account // nil means DovecotAccounts
	Settings string            // lines for the end of dovecot.conf, which override the others
}

// Dovecot is a running Dovecot 2.3 on loopback. Its addresses are host:port. Password
// logins need TLS, or a PROXY header that says that the client uses TLS. Without a
// header they are allowed, since loopback counts as secure.
type Dovecot struct {
	IMAPProxy, POP3Proxy string // require a PROXY header, offer STARTTLS or STLS
	IMAP, POP3           string // no header, offer STARTTLS or STLS
	IMAPS, POP3S         string // no header, implicit TLS
	SieveProxy, Sieve    string // ManageSieve with STARTTLS: requires a PROXY header; no header

	Certificate *standin.Certificate // for localhost and 127.0.0.1
	Accounts    []standin.Account

	dir         string
	tokenServer *http.Server
	exited      chan struct{}        // closed when the process has ended
	signal      func(syscall.Signal) // signals the process
	once        sync.Once
}

// errUnavailable is the error where Dovecot cannot run at all.
var errUnavailable = errors.New("Dovecot is not available")

// StartDovecot runs a Dovecot until the test ends. If Dovecot is not installed or the
// test does not run as root, it skips the test, or fails it if CI=true.
func StartDovecot(t testing.TB, c DovecotConfig) *Dovecot {
	t.Helper()
	d, err := NewDovecot(c)
	if err != nil {
		skipOrFail(t, err)
	}
	t.Cleanup(d.Close)
	return d
}

// skipOrFail ends a test after Dovecot could not be started.
func skipOrFail(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// SharedDovecot is one Dovecot for all tests of a package. TestMain calls Close after
// m.Run.
type SharedDovecot struct {
	Config DovecotConfig // set before the first Get

	once sync.Once
	d    *Dovecot
	err  error
}

// Get returns the Dovecot, which the first call starts. It skips or fails t like
// StartDovecot.
func (s *SharedDovecot) Get(t testing.TB) *Dovecot {
	t.Helper()
	s.once.Do(func() { s.d, s.err = NewDovecot(s.Config) })
	if s.err != nil {
		skipOrFail(t, s.err)
	}
	return s.d
}

// Close ends the Dovecot if it was started.
func (s *SharedDovecot) Close() {
	s.once.Do(func() { s.err = fmt.Errorf("%w: closed", errUnavailable) })
	if s.d != nil {
		s.d.Close()
	}
}

// NewDovecot runs a Dovecot until Close. It returns when the servers answer.
func NewDovecot(c DovecotConfig) (*Dovecot, error) {
	program, err := lookupDovecot()
	if err != nil {
		return nil, err
	}
	if c.Accounts == nil {
		c.Accounts = DovecotAccounts()
	}
	for attempt := 1; ; attempt++ {
		d, err := launchDovecot(program, c)
		if err == nil {
			return d, nil
		}
		if attempt == dovecotAttempts || !strings.Contains(err.Error(), "Address already in use") {
			return nil, fmt.Errorf("start Dovecot: %w", err)
		}
	}
}

// lookupDovecot returns the path of the program, or why it cannot be used.
func lookupDovecot() (string, error) {
	if os.Getuid() != 0 {
		return "", fmt.Errorf("%w: got user ID %d, want 0", errUnavailable, os.Getuid())
	}
	program, err := exec.LookPath("dovecot")
	if err != nil {
		program = "/usr/sbin/dovecot" // often not in PATH
	}
	version, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w; on Debian install dovecot-imapd, dovecot-pop3d and dovecot-managesieved", errUnavailable, err)
	}
	if !strings.HasPrefix(string(version), "2.3.") {
		return "", fmt.Errorf("%w: got version %s, want 2.3", errUnavailable, strings.TrimSpace(string(version)))
	}
	return program, nil
}

// launchDovecot starts program once, on ports that were free just before.
func launchDovecot(program string, c DovecotConfig) (*Dovecot, error) {
	// Not t.TempDir: the paths of Unix sockets in this directory must be short.
	dir, err := os.MkdirTemp("", "dovecot-")
	if err != nil {
		return nil, err
	}
	d := &Dovecot{dir: dir, Accounts: c.Accounts, exited: make(chan struct{}), signal: func(syscall.Signal) {}}
	conf, err := d.configure(c.Settings)
	if err == nil {
		err = d.run(program, conf)
	} else {
		close(d.exited)
	}
	if err == nil {
		err = d.ready()
	}
	if err == nil {
		err = indexInboxes(conf)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, d.Logs())
		d.Close()
		return nil, err
	}
	return d, nil
}

// run starts the process. Pdeathsig ends Dovecot when the test process dies without
// Close; it is bound to the parent thread, so that thread is locked until the end.
func (d *Dovecot) run(program, conf string) error {
	output, err := os.Create(filepath.Join(d.dir, "output"))
	if err != nil {
		close(d.exited)
		return err
	}
	cmd := exec.Command(program, "-F", "-c", conf)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		defer close(d.exited)
		defer output.Close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	d.signal = func(s syscall.Signal) { _ = cmd.Process.Signal(s) }
	return nil
}

// ready waits for the greetings of the ports without TLS. The same processes serve the
// others.
func (d *Dovecot) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), dovecotTimeout)
	defer cancel()
	for _, addr := range []string{d.IMAP, d.POP3, d.Sieve} {
		for {
			err := greets(ctx, addr)
			if err == nil {
				break
			}
			select {
			case <-d.exited:
				return errors.New("the process has ended")
			case <-ctx.Done():
				return fmt.Errorf("no greeting: %w", err)
			case <-time.After(dovecotPoll):
			}
		}
	}
	return nil
}

// greets returns nil when it gets a greeting from addr.
func greets(ctx context.Context, addr string) error {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}

// Close ends Dovecot and its connections, and removes its files.
func (d *Dovecot) Close() {
	d.once.Do(func() {
		d.signal(syscall.SIGTERM)
		select {
		case <-d.exited:
		case <-time.After(dovecotTimeout):
			d.signal(syscall.SIGKILL) // the other processes end with their master
			<-d.exited
		}
		if d.tokenServer != nil {
			_ = d.tokenServer.Close()
		}
		_ = os.RemoveAll(d.dir)
	})
}

// Logs returns everything that Dovecot has logged.
func (d *Dovecot) Logs() string {
	var all strings.Builder
	for _, name := range []string{"output", "log"} {
		if f, err := os.Open(filepath.Join(d.dir, name)); err == nil {
			_, _ = io.Copy(&all, f)
			f.Close()
		}
	}
	return all.String()
}

// WaitLog waits for a log line that contains all parts, and returns it. It fails t after
// a timeout.
func (d *Dovecot) WaitLog(t testing.TB, parts ...string) string {
	t.Helper()
	timeout := time.After(dovecotTimeout)
	for {
		for line := range strings.Lines(d.Logs()) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return strings.TrimSuffix(line, "\n")
			}
		}
		select {
		case <-timeout:
			t.Fatalf("Dovecot log: got no line with %q:\n%s", parts, d.Logs())
		case <-time.After(dovecotPoll):
		}
	}
}
