package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"syscall"
	"time"

	"postern/cmd/postern/internal/monitor"
)

// checkTimeout is shorter than the ten seconds that Nagios gives a plugin.
const checkTimeout = 8 * time.Second

// prepareCheck declares the flags of `postern check`, which prints one line and
// ends with the exit code of a Nagios plugin.
func prepareCheck(flags *flag.FlagSet) func(context.Context, surroundings) error {
	format := flags.String("format", "nagios", "nagios (also Icinga and Checkmk's MRPE), or checkmk for a local check")
	timeout := flags.Duration("t", checkTimeout, "how long the running postern may take to answer")
	var limits monitor.Thresholds
	flags.Float64Var(&limits.Warning, "w", 99, "warn if fewer per cent of known users are served")
	flags.Float64Var(&limits.Critical, "c", 95, "critical if fewer per cent of known users are served")
	return func(ctx context.Context, s surroundings) error {
		if *format != "nagios" && *format != "checkmk" {
			fmt.Fprintln(s.stdout, monitor.NagiosError(monitor.Unknown, "-format takes nagios or checkmk"))
			return exitCode(monitor.Unknown)
		}
		state, err := s.askState(ctx, *timeout)
		var line string
		var level monitor.Level
		switch checkmk := *format == "checkmk"; {
		case err == nil && checkmk:
			line = state.Checkmk(limits) // whose exit code says only that it has run
		case err == nil:
			line, level = state.Nagios(limits)
		case checkmk:
			line = monitor.CheckmkError(levelOf(err), err.Error())
		default:
			level = levelOf(err)
			line = monitor.NagiosError(level, err.Error())
		}
		fmt.Fprintln(s.stdout, line)
		return exitCode(level)
	}
}

// askState asks the running postern how it does.
func (s surroundings) askState(ctx context.Context, timeout time.Duration) (state monitor.State, err error) {
	admin, err := s.adminClient(timeout)
	if err != nil {
		return state, err
	}
	return state, admin.getJSON(ctx, monitor.Path, &state)
}

// levelOf is how bad it is that nobody answers: critical if nobody is there,
// unknown if somebody may be.
func levelOf(err error) monitor.Level {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return monitor.Critical
	}
	return monitor.Unknown
}

// munin is a plugin of Munin.
func munin(ctx context.Context, s surroundings) error {
	var what string
	if len(s.args) > 0 {
		what = s.args[0]
	}
	switch what {
	case "config":
		fmt.Fprint(s.stdout, monitor.MuninConfig())
		if !slices.Contains(s.environ, "MUNIN_CAP_DIRTYCONFIG=1") { // values at once
			return nil
		}
	case "autoconf":
		if _, err := s.askState(ctx, checkTimeout); err != nil {
			fmt.Fprintf(s.stdout, "no (%v)\n", err)
			return nil
		}
		fmt.Fprintln(s.stdout, "yes")
		return nil
	case "":
	default:
		return fmt.Errorf("munin: %q is neither config nor autoconf", what)
	}
	state, err := s.askState(ctx, checkTimeout)
	if err != nil {
		fmt.Fprint(s.stdout, monitor.MuninNoData())
		return nil
	}
	fmt.Fprint(s.stdout, state.Munin())
	return nil
}
