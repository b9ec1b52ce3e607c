package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"
)

// patience bounds how long a target may take to open its doors.
const patience = 15 * time.Second

// Backend is where the mail server behind the targets listens. The Proxied
// ports demand a PROXY header. Auth is a URL that answers nginx's auth_http.
type Backend struct {
	IMAP, POP3, ProxiedIMAP, ProxiedPOP3 string
	Auth                                 string
}

// Setup is what a target is given.
type Setup struct {
	Dir       string // a folder of its own, readable by other users; it may be left in any state
	Cert, Key string // PEM files
	Backend   Backend
	Announce  bool              // clients name their address in a PROXY header
	LogLogins bool              // write a line for every login, as servers do in production
	State     map[string][]byte // files that postern has kept
	Settings  []string          // NAME=value for postern, in place of raised limits; then HAProxy limits connections by address, too
}

// Kind is a program that can be a target.
type Kind struct {
	Name     string
	About    string // what it does, in a few words
	StartTLS bool   // ends STARTTLS itself

	// find returns the command without its configuration, or why there is none.
	find func() (program string, err error)
	// version asks the program what it is.
	version []string
	// configure writes what the program needs into its folder and returns its
	// arguments and its environment.
	configure func(s Setup, program string, doors doors) (args, env []string, err error)
}

// ErrMissing says that a program is not there or not fit.
var ErrMissing = errors.New("missing")

// Kinds lists the programs that can be started. postern is the program of that
// name, or what program says.
func Kinds(program string) []Kind {
	return []Kind{postern(program), nginx, haproxy, dovecot}
}

// Missing returns nil when the program is there, else an ErrMissing that says
// what to do.
func (k Kind) Missing() error {
	if _, err := k.find(); err != nil {
		return fmt.Errorf("%s: %w: %w", k.Name, ErrMissing, err)
	}
	return nil
}

// look finds a program, also where Debian keeps daemons.
func look(program, packages string) (string, error) {
	for _, path := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("no program %s; on Debian: apt-get install %s", program, packages)
}

// doors is where a target listens.
type doors struct{ IMAP, IMAPS, POP3, POP3S string }

// Target is a running program.
type Target struct {
	Name     string
	Pid      int // of the first process of its tree
	StartTLS bool

	IMAP, IMAPS, POP3, POP3S string // host:port; empty: no such door

	process *process
}

// startTries is how often a target is started: the ports it is given were free
// a moment ago, no more.
const startTries = 3

// Start runs the program until Stop. It returns once all doors greet.
func (k Kind) Start(ctx context.Context, s Setup) (*Target, error) {
	program, err := k.find()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", k.Name, ErrMissing, err)
	}
	for try := 1; ; try++ {
		t, err := k.start(ctx, s, program)
		if err == nil {
			return t, nil
		}
		if try == startTries || ctx.Err() != nil {
			return nil, fmt.Errorf("start %s: %w", k.Name, err)
		}
	}
}

// start tries once.
func (k Kind) start(ctx context.Context, s Setup, program string) (*Target, error) {
	d, err := freeDoors()
	if err != nil {
		return nil, err
	}
	args, env, err := k.configure(s, program, d)
	if err != nil {
		return nil, err
	}
	p, err := run(s.Dir, program, args, env)
	if err != nil {
		return nil, err
	}
	t := &Target{Name: k.Name, Pid: p.pid, StartTLS: k.StartTLS, process: p,
		IMAP: d.IMAP, IMAPS: d.IMAPS, POP3: d.POP3, POP3S: d.POP3S}
	if err := t.ready(ctx, s.Announce); err != nil {
		t.Stop()
		return nil, fmt.Errorf("%w\n%s", err, p.log())
	}
	return t, nil
}

// Version returns what the program calls itself, in one line.
func (k Kind) Version() string {
	program, err := k.find()
	if err != nil {
		return ""
	}
	out, _ := exec.Command(program, k.version...).CombinedOutput()
	first, _, _ := strings.Cut(string(out), "\n")
	first, _, _ = strings.Cut(first, " - ") // HAProxy's address
	first = strings.TrimPrefix(first, "nginx version: ")
	return strings.TrimSpace(strings.TrimPrefix(first, "postern "))
}

// Stop ends the program and waits until it has.
func (t *Target) Stop() {
	if t.process != nil {
		t.process.stop()
	}
}

// Tidy keeps the log of a long run from filling the disk.
func (t *Target) Tidy() {
	if t.process != nil {
		t.process.tidy()
	}
}

// Log returns the last the program had to say.
func (t *Target) Log() string {
	if t.process == nil {
		return ""
	}
	return t.process.log()
}

// ready waits until every door accepts connections and, where that needs no
// PROXY header, greets.
func (t *Target) ready(ctx context.Context, announce bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, d := range []struct {
		addr   string
		greets bool
	}{{t.IMAP, !announce}, {t.POP3, !announce}, {t.IMAPS, false}, {t.POP3S, false}} {
		for {
			err := knock(ctx, d.addr, d.greets)
			if err == nil {
				break
			}
			select {
			case <-t.process.ended:
				return errors.New("it ended at once")
			case <-ctx.Done():
				return fmt.Errorf("not ready: %w", err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// knock connects to addr and, if it greets, waits for what it says.
func knock(ctx context.Context, addr string, greets bool) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil || !greets {
		if err == nil {
			c.Close()
		}
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err = c.Read(make([]byte, 1))
	return err
}
