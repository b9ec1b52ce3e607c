// Command postern is a front proxy for IMAP and POP3 that keeps a mail service
// open to its own users while strangers try passwords. It stands in front of
// Dovecot, ends TLS, hears the login, decides who may try a password and when,
// and only then dials the backend, to which it shows the client's address in a
// PROXY header.
//
// Settings come from environment variables that begin with POSTERN_; `postern
// config` lists them. The log goes to standard error, one line for every login
// and one for every connection. SIGHUP reads limits and certificates again;
// SIGTERM takes leave of those who have not logged in and lets the others
// finish for a while.
//
// The files: main.go commands; config.go the settings, with settings.go,
// load.go, parse.go, check.go and envfile.go behind it; gate.go and doors.go
// the wiring; serve.go, reload.go and systemd.go its life; admin.go,
// metrics.go, gauges.go and log.go what it tells others; words.go what they
// call things. watching.go is what the watch is told of, operator.go what
// operators may ask it. The packages beside it are lookout (who keeps the watch
// and speaks for it), status (the public's page), notify (alerts) and monitor
// (Nagios, Checkmk and Munin).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	_ "time/tzdata" // for images without: the watch lives by local time
)

// main does nothing but lend run the process.
func main() {
	os.Exit(run(context.Background(), arguments(os.Args), os.Environ(), os.Stdout, os.Stderr))
}

// arguments are what args, the program's name included, ask for. Munin calls
// its plugins by the names of their links.
func arguments(args []string) []string {
	if strings.HasPrefix(filepath.Base(args[0]), "postern_") {
		return append([]string{"munin"}, args[1:]...)
	}
	return args[1:]
}

// Exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// exitCode is how a command ends that has said all there is to say itself.
type exitCode int

// Error is not seen by anybody.
func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// surroundings is what a command may use of the process it runs in.
type surroundings struct {
	args           []string // that are not flags
	environ        []string
	stdout, stderr io.Writer
}

// command is one thing postern can be told to do.
type command struct {
	name string
	args string // what it takes beside flags, for its usage; empty if nothing
	help string
	// flags declares the command's flags, if it has any, and returns what runs
	// once they are parsed.
	prepare func(flags *flag.FlagSet) func(ctx context.Context, s surroundings) error
}

// commands lists what `postern help` lists, in that order.
var commands = []command{
	{"serve", "", "open the doors and serve until SIGTERM (the default)", without(serve)},
	{"demo", "", "serve on loopback in front of a mail server of its own, to try things out", prepareDemo},
	{"config", "", "print every setting: its value now, its default, its meaning", prepareConfig},
	{"health", "", "ask the postern that runs here whether it is ready; exit 0 or 1", without(health)},
	{"check", "", "ask it how it does, for Nagios, Icinga or Checkmk; exit 0 to 3", prepareCheck},
	{"incident", "[list|show|ack|note|...]", incidentHelp, prepareIncident},
	{"report", "[INCIDENT]", "print the report on an incident, the latest one without ID", prepareReport},
	{"munin", "[autoconf|config]", "be a plugin of Munin", without(munin)},
	{"version", "", "print what this program was built from", without(version)},
}

// without prepares a command that has no flags.
func without(do func(context.Context, surroundings) error) func(*flag.FlagSet) func(context.Context, surroundings) error {
	return func(*flag.FlagSet) func(context.Context, surroundings) error { return do }
}

// run does what args ask for and returns the exit code: 0 for success, 1 for
// failure, 2 for wrong usage. It returns early when ctx ends, as after SIGTERM.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	name, rest := "serve", args
	if len(args) > 0 && args[0][:min(1, len(args[0]))] != "-" {
		name, rest = args[0], args[1:]
	}
	if name == "help" || len(args) == 1 && isHelp(args[0]) {
		usage(stdout)
		return exitOK
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(ctx, rest, surroundings{nil, environ, stdout, stderr})
		}
	}
	fmt.Fprintf(stderr, "postern: \"%s\" is not a command\n\n", printable(name, errorMax))
	usage(stderr)
	return exitUsage
}

// isHelp reports whether arg asks for help in place of a command.
func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// run parses c's flags and does what it is for.
func (c command) run(ctx context.Context, args []string, s surroundings) int {
	flags := flag.NewFlagSet("postern "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	do := c.prepare(flags)
	var err error
	s.args, err = parseMixed(flags, args)
	if err == nil && len(s.args) > 0 && c.args == "" {
		err = fmt.Errorf("takes no argument %q", s.args[0])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.usage(flags, s.stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(s.stderr, "postern %s: %v\n\n", c.name, err)
		c.usage(flags, s.stderr)
		return exitUsage
	}
	var code exitCode
	switch err := do(ctx, s); {
	case errors.As(err, &code):
		return int(code)
	case err != nil:
		fmt.Fprintf(s.stderr, "postern: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// parseMixed parses flags before, between and after the arguments, which it
// returns.
func parseMixed(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
			return rest, err
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}

// usage prints how to call c.
func (c command) usage(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "usage: postern %s [flags]\n\n%s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// usage prints how to call postern, and with what.
func usage(w io.Writer) {
	fmt.Fprint(w, "postern is a front proxy for IMAP and POP3 that limits login attempts.\n\nusage: postern [command] [flags]\n\ncommands:\n")
	for _, c := range commands {
		first, _, _ := strings.Cut(c.help, ":\n")
		fmt.Fprintf(w, "  %-9s %s\n", c.name, first)
	}
	fmt.Fprintf(w, "  %-9s %s\n", "help", "print this")
	fmt.Fprintf(w, "\nSettings are environment variables that begin with %s; `postern config` lists them.\n", prefix)
}

// version prints what this program was built from.
func version(_ context.Context, s surroundings) error {
	_, err := fmt.Fprintln(s.stdout, thisBuild())
	return err
}

// fdLimit returns how many file descriptors this process may have. The Go
// runtime has raised the soft limit to the hard one before main began.
func fdLimit() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of file descriptors: %w", err)
	}
	return l.Cur, nil
}

// settings reads the Config of these surroundings.
func (s surroundings) settings() (Config, error) {
	limit, err := fdLimit()
	if err != nil {
		return Config{}, err
	}
	return load(s.environ, limit)
}
