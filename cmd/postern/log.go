package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"postern/limiter"
	"postern/proxy"
)

const (
	// sampledPerSecond is how many lines about refused, denied and failed
	// clients are written in one second.
	sampledPerSecond = 200
	// accountMax and errorMax bound what a stranger can write into one line, in
	// octets; stackMax what a fault of ours may.
	accountMax, errorMax, stackMax = 128, 256, 8192
)

// journal writes the log: one line when a login is settled, one when a
// connection ends, and the few of the program itself. Whatever a client or a
// backend said is made printable first.
type journal struct {
	*slog.Logger
	level *slog.LevelVar
	quota *quota
	// explain, if set, tells in words what the rules hold against an attempt.
	explain func(proxy.Attempt) string
}

// newJournal returns a journal that writes lines of the format in s to w.
func newJournal(w io.Writer, s LogSettings) *journal {
	level := &slog.LevelVar{}
	level.Set(slog.Level(s.Level))
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: renameTime}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if s.Format == "text" {
		h = slog.NewTextHandler(w, opts)
	}
	return &journal{Logger: slog.New(h), level: level, quota: &quota{limit: sampledPerSecond}}
}

// renameTime gives the time of a line the key that log collectors expect.
func renameTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Key = "ts"
	}
	return a
}

// attempt logs one settled login. Accepted ones are always written, the others
// while the quota lasts.
func (j *journal) attempt(a proxy.Attempt) {
	level := attemptLevel(a)
	if j.wants(level, a.Outcome == limiter.Accepted) {
		j.LogAttrs(context.Background(), level, "login "+loginResult(a), attemptAttrs(a, j.why(a))...)
	}
}

// why says how full the bucket is of the rule that decided on a, if one did.
func (j *journal) why(a proxy.Attempt) string {
	if j.explain == nil || a.Verdict.Action == limiter.Pass {
		return ""
	}
	for line := range strings.Lines(j.explain(a)) {
		if why, ok := strings.CutPrefix(line, string(a.Verdict.Rule)+": "); ok {
			return strings.TrimSpace(why)
		}
	}
	return ""
}

// wants reports whether a line of this level is to be written; unless it must
// be, it uses up a part of the quota.
func (j *journal) wants(level slog.Level, must bool) bool {
	return j.Enabled(context.Background(), level) && (must || j.quota.take(time.Now()))
}

// attemptLevel raises those attempts that no backend could answer, and those of
// the known for which there was no room.
func attemptLevel(a proxy.Attempt) slog.Level {
	unanswered := loginResult(a) == "void" && a.Err != nil && !a.Gone
	if unanswered || a.Verdict.Rule == limiter.RuleBackend || lacksRoom(a.Verdict) {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// attemptAttrs are the fields of a login line. What the client chose comes
// last.
func attemptAttrs(a proxy.Attempt, why string) []slog.Attr {
	return []slog.Attr{
		slog.String("event", "login"),
		slog.String("listener", a.Listener),
		slog.String("rip", a.Client.Addr().String()),
		slog.Int("rport", int(a.Client.Port())),
		slog.String("backend", a.Backend),
		slog.String("action", decisionAction(a.Verdict)),
		slog.String("rule", string(a.Verdict.Rule)),
		slog.String("result", loginResult(a)),
		slog.String("client", clientOf(a.Verdict)),
		slog.String("why", why),
		slog.Bool("enforced", !a.Observed),
		milliseconds("dur_ms", a.Took),
		milliseconds("wait_ms", a.Waited),
		slog.String("session", a.Session),
		slog.String("method", printable(a.Method, accountMax)),
		reason(a.Err),
		slog.String("account", printable(a.Account, accountMax)),
	}
}

// record logs the end of one connection. Those that logged in are always
// written, the others while the quota lasts.
func (j *journal) record(r proxy.Record) {
	level := recordLevel(r)
	if j.wants(level, r.Account != "") {
		j.LogAttrs(context.Background(), level, "connection ended", recordAttrs(r)...)
	}
}

// recordLevel raises connections that ended by a fault of ours or of a backend,
// and lowers health checks, which come every few seconds.
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

// recordAttrs are the fields of a connection line. What the client chose comes
// last.
func recordAttrs(r proxy.Record) []slog.Attr {
	return []slog.Attr{
		slog.String("event", "connection"),
		slog.String("listener", r.Listener),
		slog.String("rip", r.Client.Addr().String()),
		slog.Int("rport", int(r.Client.Port())),
		slog.String("backend", r.Backend),
		slog.String("action", decisionAction(r.Verdict)),
		slog.String("rule", string(r.Verdict.Rule)),
		slog.String("result", r.End.String()),
		slog.Bool("enforced", !r.Observed),
		milliseconds("dur_ms", r.Duration),
		slog.Int64("bytes_in", r.FromClient),
		slog.Int64("bytes_out", r.ToClient),
		slog.String("session", r.ID),
		slog.String("lip", r.Local.Addr().String()),
		slog.Int("lport", int(r.Local.Port())),
		slog.String("room", r.Step.String()),
		slog.String("tls", r.TLS),
		slog.String("cipher", r.Cipher),
		slog.Int("attempts", r.Attempts),
		recordReason(r),
		slog.String("account", printable(r.Account, accountMax)),
	}
}

// missed writes how many lines the quota kept back since it was last called, if
// any.
func (j *journal) missed() {
	if n := j.quota.report(); n > 0 {
		j.Warn("log lines left out", slog.String("event", "log_dropped"), slog.Uint64("lines", n))
	}
}

// milliseconds is the field for a time that passed, in whole milliseconds.
func milliseconds(key string, d time.Duration) slog.Attr { return slog.Int64(key, d.Milliseconds()) }

// recordReason is the field for r's error, with the stack if it was a fault of
// ours.
func recordReason(r proxy.Record) slog.Attr {
	if r.End == proxy.EndPanic && r.Err != nil {
		return slog.String("error", printable(r.Err.Error(), stackMax))
	}
	return reason(r.Err)
}

// reason is the field for an error, which may quote what a client or a backend
// said.
func reason(err error) slog.Attr {
	if err == nil {
		return slog.String("error", "")
	}
	return slog.String("error", printable(err.Error(), errorMax))
}
