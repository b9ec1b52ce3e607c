// Package eventlog writes postern's log: a line for every login attempt when it
// is settled, one for every connection when it ends, and the lines of the
// program itself, as JSON or as key=value.
//
// What a client or a backend sent is escaped and cut first, so that it can
// neither end a line nor look like another field. Of the lines that a flood of
// refused clients would multiply, so many in a second are written and the others
// are counted.
//
// The package formats what it is given. Callers decide what is an event.
package eventlog

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// Log writes lines. Its methods may be called from several goroutines.
type Log struct {
	*slog.Logger
	// Explain, if set, returns what the rules hold against an attempt like this
	// one, a line for each rule. It must not change once attempts are logged.
	Explain func(proxy.Attempt) string

	level   *slog.LevelVar
	sampler *sampler
}

// New returns a Log that writes lines of at least this level to w, as key=value
// if format is text and else as JSON.
func New(w io.Writer, format string, level slog.Level) *Log {
	l := &Log{level: &slog.LevelVar{}, sampler: newSampler(sampledPerSecond)}
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

// Attempt logs a settled attempt. Accepted ones are always written, the others
// are sampled.
func (l *Log) Attempt(a proxy.Attempt) {
	level := attemptLevel(a)
	if l.wants(level, a.Outcome == limiter.Accepted) {
		l.LogAttrs(context.Background(), level, "login "+Result(a), attemptAttrs(a, l.why(a))...)
	}
}

// Record logs the end of a connection. Those that logged in are always written,
// the others are sampled.
func (l *Log) Record(r proxy.Record) {
	level := recordLevel(r)
	if l.wants(level, r.Account != "") {
		l.LogAttrs(context.Background(), level, "connection ended", recordAttrs(r)...)
	}
}

// wants reports whether a line of this level is written. Unless always is set,
// the sampler decides on those that are enabled.
func (l *Log) wants(level slog.Level, always bool) bool {
	return l.Enabled(context.Background(), level) && (always || l.sampler.allow(time.Now()))
}

// why is what the rule that decided on a holds against it, if one did.
func (l *Log) why(a proxy.Attempt) string {
	if l.Explain == nil || a.Verdict.Action == limiter.Pass {
		return ""
	}
	for line := range strings.Lines(l.Explain(a)) {
		if why, ok := strings.CutPrefix(line, string(a.Verdict.Rule)+": "); ok {
			return strings.TrimSpace(why)
		}
	}
	return ""
}

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

// ReportDropped logs how many lines were dropped since it was last called, if
// any were.
func (l *Log) ReportDropped() {
	if n := l.sampler.report(); n > 0 {
		l.Warn("log lines dropped", slog.String("event", "log_dropped"), slog.Uint64("lines", n))
	}
}

// Dropped returns how many lines were dropped since the start.
func (l *Log) Dropped() uint64 { return l.sampler.total() }
