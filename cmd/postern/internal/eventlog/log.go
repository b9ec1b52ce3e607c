// Package eventlog writes postern's log: a line for every login attempt when it
// is settled, one for every connection when it ends, and the lines of the
// program itself, as JSON or as key=value.
//
// What a client or a backend sent is escaped and cut first, so that it can
// neither end a line nor look like another field. Of the lines that a flood of
// refused clients would multiply, the first of each source and rule is written before
// others, and those left out are counted (sample.go). Every delay and refusal has its
// reason (why.go).
//
// The package formats what it is given. Callers decide what is an event.
package eventlog

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// Log writes lines. Its methods may be called from several goroutines.
type Log struct {
	*slog.Logger
	// Explain, if set, returns figures of one rule about an attempt, as
	// limiter.Limiter.Explain does. It must not change once attempts are logged.
	Explain func(limiter.Attempt, limiter.Rule) string

	level   *slog.LevelVar
	sampler *sampler
}

// New returns a Log that writes lines of at least this level to w, as key=value
// if format is text and else as JSON.
func New(w io.Writer, format string, level slog.Level) *Log {
	l := &Log{level: &slog.LevelVar{}, sampler: newSampler()}
	l.SetLevel(level)
	opts := &slog.HandlerOptions{Level: l.level, ReplaceAttr: renameTime}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if format == "text" {
		h = slog.NewTextHandler(w, opts)
	}
	l.Logger = slog.New(h)
	return l
}

// SetLevel changes the least level that is written.
func (l *Log) SetLevel(level slog.Level) { l.level.Set(level) }

// renameTime gives the time of a line the key that log collectors expect.
func renameTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Key = "ts"
	}
	return a
}

// Attempt logs a settled attempt. Those of known users are always written, the others
// are sampled.
func (l *Log) Attempt(a proxy.Attempt) {
	level := attemptLevel(a)
	if l.wants(level, isUsers(a), a.Listener, groupOf(a.Client, a.Forwarder, a.Verdict, level, a.Observed), a.Client.Addr()) {
		l.LogAttrs(context.Background(), level, "login "+Result(a), attemptAttrs(a, l.whyAttempt(a))...)
	}
}

// Record logs the end of a connection. Those that logged in are always written, the
// others are sampled: a refused login has a line of its own.
func (l *Log) Record(r proxy.Record) {
	level := recordLevel(r)
	if l.wants(level, r.Account != "", r.Listener, groupOf(r.Client, r.Forwarder, r.Verdict, level, r.Observed), r.Client.Addr()) {
		l.LogAttrs(context.Background(), level, "connection ended", recordAttrs(r, l.whyRecord(r))...)
	}
}

// wants reports whether a line of this level about a client at rip is written. Unless
// always is set, the sampler decides on those that are enabled. Logins at other programs
// are counted apart: what bans addresses must not count them.
func (l *Log) wants(level slog.Level, always bool, listener string, g group, rip netip.Addr) bool {
	if !slices.Contains(connectionListeners, listener) {
		g.listener = listener
	}
	return l.Enabled(context.Background(), level) && (always || l.sampler.allow(time.Now(), g, rip))
}

// connectionListeners are the names of the listeners to which clients connect.
var connectionListeners = proxy.ListenerNames()

// isUsers reports whether a line about an attempt must not be left out: it is a known
// user's, or its client is known from now on. Others whose verdict says known may be
// neighbours who guess, and so many that their lines must be sampled. It does not depend
// on whether the password worked before: what is left out would show that.
func isUsers(a proxy.Attempt) bool { return a.ByUser() || a.Outcome == limiter.Accepted }

// attemptLevel is a warning for attempts that no backend could answer, and for
// those of the known for which capacity was lacking.
func attemptLevel(a proxy.Attempt) slog.Level {
	unanswered := Result(a) == "void" && a.Err != nil && !a.Gone
	if unanswered || a.Verdict.Rule == limiter.RuleBackend || knownLacksCapacity(a.Verdict) {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// recordLevel raises connections that ended by a fault of postern or of a
// backend, and lowers health checks, which come every few seconds.
func recordLevel(r proxy.Record) slog.Level {
	switch {
	case r.End == proxy.EndPanic:
		return slog.LevelError
	case r.End == proxy.EndBackend && r.Err != nil:
		return slog.LevelWarn
	case r.End == proxy.EndProbe:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// ReportDropped logs how many lines were left out since it was last called: for each
// source and rule whose group is over, and for all others together.
func (l *Log) ReportDropped() { l.report(false) }

// ReportAll is ReportDropped for the end: all windows are over.
func (l *Log) ReportAll() { l.report(true) }

func (l *Log) report(all bool) {
	closed, others := l.sampler.report(time.Now(), all)
	for _, left := range closed {
		l.LogAttrs(context.Background(), left.level, "lines left out", left.attrs()...)
	}
	if others > 0 {
		l.Warn("log lines dropped", slog.String("event", "log_dropped"), slog.Uint64("lines", others))
	}
}

// Dropped returns how many lines were dropped since the start.
func (l *Log) Dropped() uint64 { return l.sampler.total() }
