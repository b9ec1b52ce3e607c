package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"syscall"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/monitor"
)

// checkTimeout is shorter than the ten seconds that Nagios gives a plugin.
const checkTimeout = 8 * time.Second

// checkFlags are the flags of `postern check`.
type checkFlags struct {
	format  string
	timeout time.Duration
	limits  monitor.Thresholds
}

// prepareCheck declares the flags of `postern check`, which prints one line and
// ends with the exit code of a Nagios plugin.
func prepareCheck(flags *flag.FlagSet) func(context.Context, process) error {
	var f checkFlags
	flags.StringVar(&f.format, "format", "nagios", "nagios (also for Icinga and Checkmk's MRPE), or checkmk for a local check")
	flags.DurationVar(&f.timeout, "t", checkTimeout, "how long the running postern may take to answer")
	flags.Float64Var(&f.limits.Warning, "w", monitor.DefaultThresholds.Warning, "warning if fewer `per cent` of known users are served")
	flags.Float64Var(&f.limits.Critical, "c", monitor.DefaultThresholds.Critical, "critical if fewer `per cent` of known users are served")
	return func(ctx context.Context, p process) error {
		if err := f.validate(); err != nil {
			return err
		}
		state, err := p.askState(ctx, f.timeout)
		var line string
		var level monitor.Level
		switch checkmk := f.format == "checkmk"; {
		case err == nil && checkmk:
			line = state.Checkmk(f.limits) // the exit code says only that the check ran
		case err == nil:
			line, level = state.Nagios(f.limits)
		case checkmk:
			line = monitor.CheckmkError(levelOf(err), err.Error())
		default:
			level = levelOf(err)
			line = monitor.NagiosError(level, err.Error())
		}
		fmt.Fprintln(p.stdout, line)
		return exitCode(level)
	}
}

// validate returns a usageError for flags that make no sense, alone or together.
func (f checkFlags) validate() error {
	for _, l := range []struct {
		flag  string
		value float64
	}{{"-w", f.limits.Warning}, {"-c", f.limits.Critical}} {
		if !(l.value >= 0 && l.value <= 100) { // nor NaN
			return wrongUsage("%s: got %v, want per cent from 0 to 100", l.flag, l.value)
		}
	}
	switch {
	case f.format != "nagios" && f.format != "checkmk":
		return wrongUsage("-format: got %q, want nagios or checkmk", f.format)
	case f.timeout <= 0:
		return wrongUsage("-t: got %v, want a duration above zero", f.timeout)
	case f.limits.Warning < f.limits.Critical:
		return wrongUsage("-w: got %v, want at least %v as in -c: the share of served users falls below the warning first", f.limits.Warning, f.limits.Critical)
	}
	return nil
}

// askState asks the running postern for its state.
func (p process) askState(ctx context.Context, timeout time.Duration) (state monitor.State, err error) {
	c, err := config.Load(p.environ)
	client, err := admin.NewClient(c, err, timeout)
	if err != nil {
		return state, err
	}
	return state, client.GetJSON(ctx, monitor.Path, &state)
}

// levelOf is how bad it is that there is no answer: critical if no process
// listens, unknown if one may.
func levelOf(err error) monitor.Level {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return monitor.Critical
	}
	return monitor.Unknown
}
