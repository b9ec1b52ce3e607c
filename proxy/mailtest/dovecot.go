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
	// dovecotPatience bounds starting and stopping, and the wait for a log line.
	dovecotPatience = 20 * time.Second
	// dovecotPoll is the pause between two looks at something that has no way
	// to tell when it is there.
	dovecotPoll = 10 * time.Millisecond
	// dovecotTries is how often to start when another program takes a port.
	dovecotTries = 5
)

// DovecotConfig says how a Dovecot for tests differs from the usual. The zero
// value is a good one.
type DovecotConfig struct {
	Accounts []standin.Account // DovecotAccounts when nil
	Settings string            // lines for the end of its configuration, where they win
}

// Dovecot is a running Dovecot 2.3 with a configuration, ports and accounts of
// its own on loopback. All addresses are host:port. Clear-text logins need TLS,
// or a PROXY header that says so; from loopback itself they are allowed.
type Dovecot struct {
	IMAPProxy, POP3Proxy string // want a PROXY header, STARTTLS or STLS offered
	IMAP, POP3           string // without header, STARTTLS or STLS offered
	IMAPS, POP3S         string // without header, TLS from the start

	Certificate *standin.Certificate // for localhost and 127.0.0.1
	Accounts    []standin.Account

	dir    string
	tokens *http.Server
	exited chan struct{}        // closed when the process is gone
	signal func(syscall.Signal) // signals the process
	once   sync.Once
}

// errNoDovecot wraps the reasons why Dovecot cannot be run here at all.
var errNoDovecot = errors.New("no Dovecot to test with")

// StartDovecot runs a Dovecot until the test ends. Where there is none, or the
// test is not run by root, it skips the test; with CI=true it fails it.
func StartDovecot(t testing.TB, c DovecotConfig) *Dovecot {
	t.Helper()
	d, err := NewDovecot(c)
	if err != nil {
		skipOrFail(t, err)
	}
	t.Cleanup(d.Close)
	return d
}

// skipOrFail ends a test for which no Dovecot could be started.
func skipOrFail(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNoDovecot) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// SharedDovecot is one Dovecot for all tests of a package. Its TestMain calls
// Close behind m.Run.
type SharedDovecot struct {
	Config DovecotConfig // to be set before the first Get

	once sync.Once
	d    *Dovecot
	err  error
}

// Get returns the Dovecot, which the first call starts. It skips or fails t
// like StartDovecot.
func (s *SharedDovecot) Get(t testing.TB) *Dovecot {
	t.Helper()
	s.once.Do(func() { s.d, s.err = NewDovecot(s.Config) })
	if s.err != nil {
		skipOrFail(t, s.err)
	}
	return s.d
}

// Close ends the Dovecot if it was ever started.
func (s *SharedDovecot) Close() {
	s.once.Do(func() { s.err = fmt.Errorf("%w: closed", errNoDovecot) })
	if s.d != nil {
		s.d.Close()
	}
}

// NewDovecot runs a Dovecot until Close. It returns once all its ports answer.
func NewDovecot(c DovecotConfig) (*Dovecot, error) {
	program, err := findDovecot()
	if err != nil {
		return nil, err
	}
	if c.Accounts == nil {
		c.Accounts = DovecotAccounts()
	}
	for try := 1; ; try++ {
		d, err := tryDovecot(program, c)
		if err == nil {
			return d, nil
		}
		if try == dovecotTries || !strings.Contains(err.Error(), "Address already in use") {
			return nil, fmt.Errorf("start Dovecot: %w", err)
		}
	}
}

// findDovecot returns the program, or why it cannot be used.
func findDovecot() (string, error) {
	if os.Getuid() != 0 {
		return "", fmt.Errorf("%w: it must be started by root", errNoDovecot)
	}
	program, err := exec.LookPath("dovecot")
	if err != nil {
		program = "/usr/sbin/dovecot" // not in everyone's PATH
	}
	version, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w; on Debian install dovecot-imapd and dovecot-pop3d", errNoDovecot, err)
	}
	if !strings.HasPrefix(string(version), "2.3.") {
		return "", fmt.Errorf("%w: the configuration is for version 2.3, this is %s", errNoDovecot, strings.TrimSpace(string(version)))
	}
	return program, nil
}

// tryDovecot starts program once, on ports that were free a moment ago.
func tryDovecot(program string, c DovecotConfig) (*Dovecot, error) {
	// The sockets in this folder need short paths: no t.TempDir.
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
		err = indexAll(conf)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, d.Logs())
		d.Close()
		return nil, err
	}
	return d, nil
}

// run starts the process. Its parent thread must live on for Pdeathsig, which
// ends Dovecot when the test process dies without Close.
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

// ready waits for the greeting of every clear-text port; the others belong to
// the same processes.
func (d *Dovecot) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), dovecotPatience)
	defer cancel()
	for _, addr := range []string{d.IMAP, d.POP3} {
		for {
			err := greets(ctx, addr)
			if err == nil {
				break
			}
			select {
			case <-d.exited:
				return errors.New("it ended at once")
			case <-ctx.Done():
				return fmt.Errorf("no greeting: %w", err)
			case <-time.After(dovecotPoll):
			}
		}
	}
	return nil
}

// greets returns nil when addr says something.
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

// Close ends Dovecot with all its connections and removes its files.
func (d *Dovecot) Close() {
	d.once.Do(func() {
		d.signal(syscall.SIGTERM)
		select {
		case <-d.exited:
		case <-time.After(dovecotPatience):
			d.signal(syscall.SIGKILL) // its children notice and end too
			<-d.exited
		}
		if d.tokens != nil {
			_ = d.tokens.Close()
		}
		_ = os.RemoveAll(d.dir)
	})
}

// Logs is everything Dovecot has logged, to its file and before it had one.
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

// WaitLog waits for a log line that contains all the given parts and returns
// it. It fails t when none comes.
func (d *Dovecot) WaitLog(t testing.TB, parts ...string) string {
	t.Helper()
	timeout := time.After(dovecotPatience)
	for {
		for line := range strings.Lines(d.Logs()) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return strings.TrimSuffix(line, "\n")
			}
		}
		select {
		case <-timeout:
			t.Fatalf("Dovecot logged no line with %q:\n%s", parts, d.Logs())
		case <-time.After(dovecotPoll):
		}
	}
}
