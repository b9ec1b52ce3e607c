// Package peer starts the programs that the bench measures: postern, nginx,
// HAProxy and Dovecot's login proxy. Each gets a configuration for the same work
// (folder conf), the same certificate, and the same mail server behind it.
//
// It installs nothing and writes only into the folder of a target. Limits are
// raised until they never apply, and no program logs logins unless all do.
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

// startTimeout is how long a target may take until all listeners accept.
const startTimeout = 15 * time.Second

// Backend is where the mail server behind the targets listens. The Proxied ports
// require a PROXY header. AuthURL answers nginx's auth_http.
type Backend struct {
	IMAP, POP3, ProxiedIMAP, ProxiedPOP3 string
	AuthURL                              string
}

// Setup is what a target needs to start.
type Setup struct {
	Dir         string // folder of the target, readable by other users; Start may leave files in it
	Cert, Key   string // PEM files
	Backend     Backend
	ProxyHeader bool              // clients send their address in a PROXY header
	LogLogins   bool              // log every login, as in production
	AdminToken  string            // of postern's admin API, at least 16 octets; "" for none
	State       map[string][]byte // state files of postern, by name
	Settings    []string          // NAME=value for postern, in place of raised limits; if not nil, HAProxy limits connections by address
	More        []string          // NAME=value for postern, in addition to those
}

// Kind is a program that can be a target.
type Kind struct {
	Name     string
	About    string // what it does, in a few words
	StartTLS bool   // ends STARTTLS itself
	SASL     bool   // clients can use all SASL mechanisms of the mail server

	// find returns the path of the program, or an error with what to install.
	find func() (program string, err error)
	// version is the arguments that print the version.
	version []string
	// configure writes the configuration into the folder of s and returns
	// arguments and environment.
	configure func(s Setup, program string, l listeners) (args, env []string, err error)
}

// errMissing means that a program is not installed or not suitable.
var errMissing = errors.New("missing")

// Kinds lists the programs that can be started. program is the path of postern.
func Kinds(program string) []Kind {
	return []Kind{postern(program), nginx, haproxy, dovecot}
}

// Missing returns nil if the program can be started, else an error with what to
// install.
func (k Kind) Missing() error {
	if _, err := k.find(); err != nil {
		return fmt.Errorf("%s: %w: %w", k.Name, errMissing, err)
	}
	return nil
}

// findProgram returns the path of a program in PATH or where Debian installs
// daemons.
func findProgram(program, packages string) (string, error) {
	for _, path := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("no program %s; on Debian: apt-get install %s", program, packages)
}

// listeners is where a target listens, host:port each. Only postern has Admin.
type listeners struct{ IMAP, IMAPS, POP3, POP3S, Admin string }

// Target is a running program.
type Target struct {
	Name     string
	Pid      int // of the first process of its tree
	StartTLS bool

	IMAP, IMAPS, POP3, POP3S string // host:port
	Admin                    string // host:port of postern's admin API

	process *process
}

// startTries is how often to try a start: another program may take a port that
// was free before.
const startTries = 3

// Start runs the program until Stop. It returns once all listeners accept.
func (k Kind) Start(ctx context.Context, s Setup) (*Target, error) {
	program, err := k.find()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", k.Name, errMissing, err)
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
	l, err := freeListeners()
	if err != nil {
		return nil, err
	}
	args, env, err := k.configure(s, program, l)
	if err != nil {
		return nil, err
	}
	p, err := run(s.Dir, program, args, env)
	if err != nil {
		return nil, err
	}
	t := &Target{Name: k.Name, Pid: p.pid, StartTLS: k.StartTLS, process: p,
		IMAP: l.IMAP, IMAPS: l.IMAPS, POP3: l.POP3, POP3S: l.POP3S, Admin: l.Admin}
	if err := t.ready(ctx, s.ProxyHeader); err != nil {
		t.Stop()
		return nil, fmt.Errorf("%w\n%s", err, p.log())
	}
	return t, nil
}

// Version returns the version that the program prints, in one line.
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

// TruncateLog empties a large log, so that a long run does not fill the disk.
func (t *Target) TruncateLog() {
	if t.process != nil {
		t.process.truncateLog()
	}
}

// Log returns the end of the program's output.
func (t *Target) Log() string {
	if t.process == nil {
		return ""
	}
	return t.process.log()
}

// ready waits until all listeners accept connections and, where that needs no
// PROXY header, send a greeting.
func (t *Target) ready(ctx context.Context, proxyHeader bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, l := range []struct {
		addr   string
		greets bool
	}{{t.IMAP, !proxyHeader}, {t.POP3, !proxyHeader}, {t.IMAPS, false}, {t.POP3S, false}} {
		for {
			err := probe(ctx, l.addr, l.greets)
			if err == nil {
				break
			}
			select {
			case <-t.process.ended:
				return errors.New("the program ended")
			case <-ctx.Done():
				return fmt.Errorf("not ready: %w", err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// probe connects to addr and, if greets, waits for a greeting.
func probe(ctx context.Context, addr string, greets bool) error {
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
