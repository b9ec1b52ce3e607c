package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"postern/bench"
	"postern/limiter/traffic"
)

// cli is the parsed command line.
type cli struct {
	bench.Config
	targets, passwordFile, ca string
	users                     string
	insecure                  bool
	json, html, readme        string
	volume                    int64
	work                      string
	list                      bool
	kinds, times              string
}

// newFlags declares all flags, with these defaults.
func newFlags(defaults bench.Options) (*flag.FlagSet, *cli) {
	c := &cli{Config: bench.Config{Options: defaults}}
	f := flag.NewFlagSet("postern-bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	c.targetFlags(f)
	c.workFlags(f)
	f.DurationVar(&c.Limit, "limit", 30*time.Minute, "maximum `time` of the whole run")
	f.StringVar(&c.json, "json", "", "write the report as JSON to this `file`; - is standard output")
	f.StringVar(&c.html, "html", "", "write the report as a page with charts to this `file`; - is standard output")
	f.StringVar(&c.readme, "readme", "", "write the report between the markers of this `file`")
	return f, c
}

// targetFlags declares the flags that say what is measured.
func (c *cli) targetFlags(f *flag.FlagSet) {
	l, r := &c.Local, &c.Remote
	f.StringVar(&c.targets, "target", "postern,direct", "`list` of targets to start: postern, nginx, haproxy, dovecot, direct")
	f.StringVar(&l.Postern, "postern", "", "`path` of postern; the default builds it if the working directory is inside its module")
	f.BoolVar(&l.LogLogins, "log", false, "targets log every login")
	f.StringVar(&r.IMAP, "imap", "", "`host:port` of a running server: IMAP with STARTTLS")
	f.StringVar(&r.IMAPS, "imaps", "", "`host:port` of a running server: IMAP with implicit TLS")
	f.StringVar(&r.POP3, "pop3", "", "`host:port` of a running server: POP3 with STLS")
	f.StringVar(&r.POP3S, "pop3s", "", "`host:port` of a running server: POP3 with implicit TLS")
	f.StringVar(&r.Account, "user", "", "`account` at the running server; %d in it is replaced by 0, 1, 2, ...")
	f.StringVar(&c.passwordFile, "password-file", "", "`file` with the password of that account")
	f.StringVar(&c.users, "users", "", "`file` with users of the running server, lines NAME:PASSWORD, in place of -user; attack, incident and tarpit need it there")
	f.StringVar(&c.ca, "ca", "", "`file` with the CA certificates of the running server; the default is the system's")
	f.BoolVar(&c.insecure, "insecure", false, "accept any certificate of the running server")
	f.BoolVar(&r.OwnServer, "i-run-this-server", false, "allow a public address for the running server")
	f.BoolVar(&c.ProxyHeader, "proxy", false, "clients send their address in a PROXY header, which targets must trust")
}

// workFlags declares the flags that say how it is measured.
func (c *cli) workFlags(f *flag.FlagSet) {
	o, a := &c.Options, &c.Options.Attack
	f.StringVar(&c.work, "work", "", "do only works whose names match this regular `expression`, the extra ones included")
	f.BoolVar(&c.list, "list", false, "list the works of the scenarios and exit")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "`number` of measurements at every target")
	f.DurationVar(&o.Duration, "duration", o.Duration, "`time` of one round of logins")
	f.IntVar(&o.Workers, "workers", o.Workers, "`number` of concurrent clients at saturation")
	f.Float64Var(&o.Rate, "rate", o.Rate, "`logins` a second in an open loop with TLS, four times as many without")
	f.IntVar(&o.Sessions, "sessions", o.Sessions, "`number` of idle sessions")
	f.DurationVar(&o.Settle, "settle", o.Settle, "`time` to wait before memory is read")
	f.Int64Var(&c.volume, "volume", o.Volume>>20, "`MB` that relay moves in each direction in one round")
	f.StringVar(&c.kinds, "kinds", strings.Join(a.Kinds, ","), "`list` of kinds of attack: "+kindNames())
	f.StringVar(&c.times, "times", joinNumbers(a.Times), "`list` of strengths of attack: all logins as a multiple of the normal ones")
	f.Float64Var(&a.MaxRate, "most", a.MaxRate, "`logins` a second of users and attackers together; the site is made small enough")
	f.DurationVar(&a.Baseline, "baseline", a.Baseline, "`time` of normal traffic before an attack")
	f.DurationVar(&a.Duration, "attack", a.Duration, "`time` of an attack")
	f.DurationVar(&a.Hour, "hour", a.Hour, "`time` that replaces an hour in the scenario incident")
	f.IntVar(&o.Held, "held", o.Held, "`number` of attackers in the scenario tarpit")
	f.DurationVar(&o.Flood, "flood", o.Flood, "`time` of an overload")
	f.IntVar(&o.Files, "files", o.Files, "`number` of file descriptors that the scenario capacity uses in one process")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "`time` after which a client gives up")
}

// parse reads the command line. Flags may stand before and after scenarios.
func parse(args []string) (*cli, error) {
	c, err := parseWith(args, bench.Defaults())
	if err == nil && c.Remote.Given() {
		c, err = parseWith(args, bench.GatewayDefaults())
	}
	if err != nil {
		return nil, err
	}
	return c, c.complete(args)
}

// parseWith reads the command line with these defaults.
func parseWith(args []string, defaults bench.Options) (*cli, error) {
	f, c := newFlags(defaults)
	for rest := args; ; rest = f.Args()[1:] {
		if err := f.Parse(rest); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			break
		}
		c.Scenario = append(c.Scenario, f.Arg(0))
	}
	if len(c.Scenario) == 0 {
		return nil, errors.New("no scenario")
	}
	if len(c.Scenario) == 1 && c.Scenario[0] == "all" {
		c.Scenario = nil
		for _, s := range bench.Scenarios {
			c.Scenario = append(c.Scenario, s.Name)
		}
	}
	return c, nil
}

// complete sets what needs more than one flag or a conversion.
func (c *cli) complete(args []string) (err error) {
	c.Local.Targets = splitList(c.targets)
	c.Options.Volume = c.volume << 20
	if c.work != "" {
		if c.Only, err = regexp.Compile(c.work); err != nil {
			return fmt.Errorf("-work: %w", err)
		}
	}
	c.Options.Attack.Kinds = splitList(c.kinds)
	if c.Options.Attack.Times, err = numbers(c.times); err != nil {
		return fmt.Errorf("-times: %w", err)
	}
	c.Command = "postern-bench " + strings.Join(args, " ")
	if c.Local.Program, err = os.Executable(); err != nil {
		return err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		c.Version = info.Main.Version
	}
	if c.passwordFile != "" {
		secret, err := os.ReadFile(c.passwordFile)
		if err != nil {
			return fmt.Errorf("-password-file: %w", err)
		}
		c.Remote.Password = strings.TrimRight(string(secret), "\r\n")
	}
	if c.users != "" {
		if c.Remote.Users, err = bench.ReadUsers(c.users); err != nil {
			return fmt.Errorf("-users: %w", err)
		}
	}
	return c.completeTLS()
}

// completeTLS says how clients verify a running server.
func (c *cli) completeTLS() error {
	c.Remote.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.insecure}
	if c.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return fmt.Errorf("-ca: %w", err)
	}
	c.Remote.TLS.RootCAs = x509.NewCertPool()
	if !c.Remote.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("-ca: %s contains no certificate", c.ca)
	}
	return nil
}

// kindNames lists all kinds of attack.
func kindNames() string {
	var names []string
	for _, k := range traffic.Kinds() {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}

// joinNumbers writes what numbers parses.
func joinNumbers(all []float64) string {
	var parts []string
	for _, n := range all {
		parts = append(parts, strconv.FormatFloat(n, 'g', -1, 64))
	}
	return strings.Join(parts, ",")
}

// numbers parses a comma-separated list of numbers.
func numbers(list string) (all []float64, err error) {
	for _, part := range splitList(list) {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return nil, fmt.Errorf("got %q, want a number", part)
		}
		all = append(all, n)
	}
	return all, nil
}
