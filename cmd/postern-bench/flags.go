package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"postern/bench"
)

// cli is what the command line says.
type cli struct {
	bench.Config
	targets, passwordFile, ca string
	insecure                  bool
	json, html, readme        string
	volume                    int64
	work                      string
	list                      bool
	attacks, times            string
}

// newFlags declares all flags.
func newFlags() (*flag.FlagSet, *cli) {
	c := &cli{Config: bench.Config{Options: bench.Defaults()}}
	o := &c.Options
	f := flag.NewFlagSet("postern-bench", flag.ContinueOnError)
	f.SetOutput(discard{})
	f.StringVar(&c.targets, "target", "postern,direct", "`list` of targets to start: postern, nginx, haproxy, dovecot, direct")
	f.StringVar(&c.Postern, "postern", "", "`program` of postern; without it, it is built when this runs inside its module")
	f.BoolVar(&c.Log, "log", false, "targets write a log line for every login")
	f.StringVar(&c.IMAP, "imap", "", "`host:port` of a server that runs already: IMAP with STARTTLS")
	f.StringVar(&c.IMAPS, "imaps", "", "`host:port` of a server that runs already: IMAP inside TLS")
	f.StringVar(&c.POP3, "pop3", "", "`host:port` of a server that runs already: POP3 with STLS")
	f.StringVar(&c.POP3S, "pop3s", "", "`host:port` of a server that runs already: POP3 inside TLS")
	f.StringVar(&c.Account, "user", "", "`account` at that server; a %d in it counts from 0")
	f.StringVar(&c.passwordFile, "password-file", "", "`file` with the password of that account")
	f.StringVar(&c.ca, "ca", "", "`file` of certificates that may sign that server's; without it, the system's")
	f.BoolVar(&c.insecure, "insecure", false, "accept any certificate from that server")
	f.BoolVar(&c.MyServer, "i-run-this-server", false, "that server may be neither loopback nor private")
	f.BoolVar(&c.Announce, "proxy", false, "clients say their address in a PROXY header, which targets must trust")
	f.StringVar(&c.work, "work", "", "do only the works whose names match this regular `expression`; also the extra ones")
	f.BoolVar(&c.list, "list", false, "list the works of the scenarios and do nothing")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "`times` that everything is measured at every target")
	f.DurationVar(&o.Duration, "duration", o.Duration, "`time` of one round of logins")
	f.IntVar(&o.Workers, "workers", o.Workers, "`clients` at once at saturation")
	f.Float64Var(&o.Rate, "rate", o.Rate, "`logins` a second in an open loop with TLS; four times as many without")
	f.IntVar(&o.Sessions, "sessions", o.Sessions, "idle sessions")
	f.DurationVar(&o.Settle, "settle", o.Settle, "`time` before memory is read")
	f.Int64Var(&c.volume, "volume", o.Volume>>20, "`MB` that relay moves each way in one round")
	f.StringVar(&c.attacks, "attack", strings.Join(o.Attacks, ","), "`list` of attacks: few, wide, target, spray, hop, insider")
	f.StringVar(&c.times, "times", "4.27,10,100", "`list` of how many times the normal ones all logins are under attack")
	f.Float64Var(&o.Most, "most", o.Most, "`logins` a second of a site and its attackers together; the site is made as small as that takes")
	f.DurationVar(&o.Peace, "peace", o.Peace, "`time` before an attack")
	f.DurationVar(&o.Siege, "siege", o.Siege, "`time` that an attack lasts")
	f.DurationVar(&o.Hour, "hour", o.Hour, "`time` that stands for an hour of the incident")
	f.IntVar(&o.Held, "held", o.Held, "`attackers` who are made to wait by tarpit")
	f.DurationVar(&o.Flood, "flood", o.Flood, "`time` that an overload lasts")
	f.IntVar(&o.Files, "files", o.Files, "`descriptors` that capacity is to fill in one process")
	f.DurationVar(&o.Patience, "patience", o.Patience, "`time` that a client waits before it gives up")
	f.DurationVar(&c.Limit, "limit", 30*time.Minute, "`time` of the whole run, at most")
	f.StringVar(&c.json, "json", "", "write the report as JSON to this `file`; - is standard output")
	f.StringVar(&c.html, "html", "", "write the report as a page with charts to this `file`")
	f.StringVar(&c.readme, "readme", "", "put the table into this `file`, between its markers")
	return f, c
}

// discard swallows what package flag would print.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// parse reads the command line. Flags may stand before and behind scenarios.
func parse(args []string) (*cli, error) {
	f, c := newFlags()
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
		return nil, errors.New("which scenario?")
	}
	if len(c.Scenario) == 1 && c.Scenario[0] == "all" {
		c.Scenario = nil
		for _, s := range bench.Scenarios {
			c.Scenario = append(c.Scenario, s.Name)
		}
	}
	return c, c.complete(args)
}

// complete fills in what is not a flag as it stands.
func (c *cli) complete(args []string) (err error) {
	c.Targets = splitList(c.targets)
	c.Options.Volume = c.volume << 20
	if c.work != "" {
		if c.Only, err = regexp.Compile(c.work); err != nil {
			return err
		}
	}
	c.Options.Attacks = splitList(c.attacks)
	if c.Options.Times, err = numbers(c.times); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	c.Command = "postern-bench " + strings.Join(args, " ")
	if c.Backend, err = os.Executable(); err != nil {
		return err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		c.Version = info.Main.Version
	}
	if c.passwordFile != "" {
		secret, err := os.ReadFile(c.passwordFile)
		if err != nil {
			return err
		}
		c.Password = strings.TrimRight(string(secret), "\r\n")
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.insecure}
	if c.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return err
	}
	c.TLS.RootCAs = x509.NewCertPool()
	if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", c.ca)
	}
	return nil
}

// numbers reads a comma list of numbers.
func numbers(list string) (all []float64, err error) {
	for _, part := range splitList(list) {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", part)
		}
		all = append(all, n)
	}
	return all, nil
}
