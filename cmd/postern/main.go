// Command postern is a front proxy for IMAP and POP3 that keeps a mail service
// open to its own users while others guess passwords. It stands in front of
// Dovecot, terminates TLS, reads the login, decides who may try a password and
// when, and only then connects to a backend, to which it sends the client's
// address in a PROXY header.
//
// Settings are environment variables that begin with POSTERN_; `postern config`
// lists them. The log goes to standard error, with one line for every login
// attempt and one for every connection. SIGHUP reloads limits and certificates;
// SIGTERM disconnects clients that have not logged in and lets the others finish
// for a while. SIGUSR2 starts the program that is installed now, which takes over without
// a client noticing.
//
// This package has a file for each subcommand. What they do is in the packages
// below internal, of which daemon is the gateway itself.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // for images without: the detector compares times of the week

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
)

func main() {
	os.Exit(run(context.Background(), arguments(os.Args), environment(os.Environ(), installedSettings), os.Stdout, os.Stderr))
}

// arguments are what args, the program's name included, ask for. Munin and Nagios call
// their plugins by the names of links.
func arguments(args []string) []string {
	switch name := filepath.Base(args[0]); {
	case strings.HasPrefix(name, "postern_"):
		return append([]string{"munin"}, args[1:]...)
	case name == "check_postern":
		return append([]string{"check"}, args[1:]...)
	}
	return args[1:]
}

// installedSettings is the file with the settings of an installed postern.
const installedSettings = "/etc/postern/postern.env"

// environment is environ, extended by the file with the settings if environ has no
// settings and the file can be read. So commands need no variables on a gateway.
func environment(environ []string, file string) []string {
	if slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, config.Prefix) }) {
		return environ
	}
	f, err := os.Open(file)
	if err != nil {
		return environ
	}
	f.Close()
	return append(slices.Clip(environ), config.Prefix+"ENV_FILE="+file)
}

// Exit codes of every command but check and doctor.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// exitCode ends a command that has printed all there is to say.
type exitCode int

// Error is never shown.
func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError is an error in what the user typed.
type usageError struct{ error }

// wrongUsage returns a usageError.
func wrongUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// process is what a command may use of the process it runs in.
type process struct {
	args           []string // that are not flags
	environ        []string
	stdout, stderr io.Writer
}

// command is one subcommand.
type command struct {
	name   string
	args   string // what it takes beside flags, for its usage; empty if nothing
	help   string
	plugin bool // it is a Nagios plugin: wrong usage ends with the status UNKNOWN
	misuse int  // exit code for wrong usage; 0 for exitUsage
	// prepare declares the command's flags, if it has any, and returns what runs
	// once they are parsed.
	prepare func(flags *flag.FlagSet) func(ctx context.Context, p process) error
}

// commands lists what `postern help` lists, in that order.
var commands = []command{
	{name: "serve", help: "run the proxy until SIGTERM (the default)", prepare: without(serve)},
	{name: "demo", help: "run the proxy on loopback with a mail server of its own, to try it", prepare: prepareDemo},
	{name: "config", args: "[NAME...]", help: "print settings: their values, defaults and meanings", prepare: prepareConfig},
	{name: "doctor", help: doctorHelp, misuse: exitNotRun, prepare: prepareDoctor},
	{name: "status", help: "print the state of the running postern, its processes and their sessions", prepare: prepareStatus},
	{name: "top", help: topHelp, prepare: prepareTop},
	{name: "reload", help: "have the running postern read its settings again, or upgrade if another program is installed", prepare: without(reload)},
	{name: "upgrade", help: "have it start the program that is installed now, which takes over", prepare: without(upgrade)},
	{name: "health", help: "ask the running postern whether it is ready; exit 0 or 1", prepare: without(health)},
	{name: "check", help: "check the running postern, for Nagios, Icinga or Checkmk; exit 0 to 3", plugin: true, prepare: prepareCheck},
	{name: "incident", args: "[list|show|ack|note|...]", help: incidentHelp, prepare: prepareIncident},
	{name: "report", args: "[INCIDENT]", help: "print the report on an incident, the latest one without ID", prepare: prepareReport},
	{name: "explain", args: "SESSION-ID|ADDRESS|ACCOUNT|NETWORK", help: explainHelp, prepare: prepareExplain},
	{name: "block", args: "NET", help: decideHelp[decisions.Block], prepare: prepareDecide(decisions.Block)},
	{name: "allow", args: "NET", help: decideHelp[decisions.Allow], prepare: prepareDecide(decisions.Allow)},
	{name: "release", args: "NET|ACCOUNT", help: "forget the denials of an address, a network or an account, and end decisions about it", prepare: prepareRelease},
	{name: "forget", args: "ACCOUNT", help: "forget all that is known of an account, as after a theft of its password", prepare: prepareForget},
	{name: "observe", help: decideHelp[decisions.Observe], prepare: prepareDecide(decisions.Observe)},
	{name: "enforce", help: decideHelp[decisions.Enforce], prepare: prepareDecide(decisions.Enforce)},
	{name: "decisions", help: decisionsHelp, prepare: prepareDecisions},
	{name: "learn", args: "FILE...", help: learnHelp, prepare: prepareLearn},
	{name: "key", args: "FILE", help: keyHelp, prepare: prepareKey},
	{name: "munin", args: "[autoconf|config]", help: "act as a plugin of Munin", prepare: without(munin)},
	{name: "version", help: "print version, revision and platform", prepare: without(version)},
}

// without prepares a command that has no flags.
func without(do func(context.Context, process) error) func(*flag.FlagSet) func(context.Context, process) error {
	return func(*flag.FlagSet) func(context.Context, process) error { return do }
}

// run does what args ask for and returns the exit code: 0 for success, 1 for
// failure, 2 for wrong usage. It returns early when ctx ends, as after SIGTERM.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	name, rest := "serve", args
	if len(args) > 0 && (args[0] == "" || args[0][0] != '-') {
		name, rest = args[0], args[1:]
	}
	switch {
	case name == "help", len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]):
		usage(stdout)
		return exitOK
	case len(args) > 0 && slices.Contains([]string{"-V", "-version", "--version"}, args[0]):
		name, rest = "version", args[1:]
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(ctx, rest, process{nil, environ, stdout, stderr})
		}
	}
	fmt.Fprintf(stderr, "postern: unknown command \"%s\"\nusage: postern [command] [flags]\nRun `postern -h` for the list of commands.\n", eventlog.Printable(name, eventlog.ErrorMax))
	return exitUsage
}

// run parses c's flags and does what it is for.
func (c command) run(ctx context.Context, args []string, p process) int {
	flags := flag.NewFlagSet("postern "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	do := c.prepare(flags)
	var err error
	p.args, err = parseMixed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.usage(flags, p.stdout)
		return exitOK
	case err != nil:
		return c.misused(p, err)
	case len(p.args) > 0 && c.args == "":
		return c.misused(p, fmt.Errorf("got the argument %q, want none", p.args[0]))
	}
	var code exitCode
	var wrong usageError
	switch err := do(ctx, p); {
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &wrong):
		return c.misused(p, wrong)
	case err != nil:
		fmt.Fprintf(p.stderr, "postern: %v\n", err)
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

// misused reports wrong usage of c and returns the exit code.
func (c command) misused(p process, err error) int {
	fmt.Fprintf(p.stderr, "postern %s: %v\n%sRun `postern %s -h` for help.\n", c.name, err, c.usageLine(), c.name)
	if c.plugin {
		fmt.Fprintln(p.stdout, monitor.NagiosError(monitor.Unknown, err.Error()))
		return int(monitor.Unknown)
	}
	return cmp.Or(c.misuse, exitUsage)
}

// usageLine is how to call c.
func (c command) usageLine() string {
	return fmt.Sprintf("usage: postern %s [flags]\n", strings.TrimSpace(c.name+" "+c.args))
}

// usage prints all about c.
func (c command) usage(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "%s\n%s\n", c.usageLine(), c.help)
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
	fmt.Fprintf(w, "\n`postern COMMAND -h` explains a command. Settings are environment variables that begin with %s;\n`postern config` lists them.\n", config.Prefix)
}
