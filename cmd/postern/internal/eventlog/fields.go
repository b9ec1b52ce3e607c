package eventlog

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// Bounds on what a client or a backend can write into one field, in octets. A
// stack is postern's own and longer.
const (
	NameMax  = 128 // account names, mechanisms
	ErrorMax = 256
	stackMax = 8192
)

// attemptAttrs are the fields of a login line. What the client chose comes
// last.
func attemptAttrs(a proxy.Attempt, why string) []slog.Attr {
	return []slog.Attr{
		slog.String("event", "login"),
		slog.String("listener", a.Listener),
		slog.String("rip", a.Client.Addr().String()),
		slog.Int("rport", int(a.Client.Port())),
		slog.String("backend", a.Backend),
		slog.String("action", Action(a.Verdict)),
		slog.String("rule", string(a.Verdict.Rule)),
		slog.String("result", Result(a)),
		slog.String("client", Client(a.Verdict)),
		slog.String("why", why),
		slog.Bool("enforced", !a.Observed),
		forwarder(a.Forwarder.Addr()),
		milliseconds("dur_ms", a.Took),
		milliseconds("wait_ms", a.Waited),
		slog.String("session", a.Session),
		slog.String("ja4", a.JA4),
		slog.String("method", Printable(a.Method, NameMax)),
		Error(a.Err),
		slog.String("forwarder_session", Printable(a.ForwarderSession, NameMax)),
		slog.String("account", Printable(a.Account, NameMax)),
	}
}

// recordAttrs are the fields of a connection line. What the client chose comes
// last.
func recordAttrs(r proxy.Record, why string) []slog.Attr {
	return []slog.Attr{
		slog.String("event", "connection"),
		slog.String("listener", r.Listener),
		slog.String("rip", r.Client.Addr().String()),
		slog.Int("rport", int(r.Client.Port())),
		slog.String("backend", r.Backend),
		slog.String("action", Action(r.Verdict)),
		slog.String("rule", string(r.Verdict.Rule)),
		slog.String("result", r.End.String()),
		slog.String("why", why),
		slog.Bool("enforced", !r.Observed),
		forwarder(r.Forwarder.Addr()),
		milliseconds("dur_ms", r.Duration),
		slog.Int64("bytes_in", r.FromClient),
		slog.Int64("bytes_out", r.ToClient),
		slog.String("session", r.ID),
		slog.String("lip", r.Local.Addr().String()),
		slog.Int("lport", int(r.Local.Port())),
		slog.String("step", r.Step.String()),
		slog.String("tls", r.TLS),
		slog.String("cipher", r.Cipher),
		slog.Bool("resumed", r.Resumed),
		slog.String("ja4", r.JA4),
		slog.Int("attempts", r.Attempts),
		recordError(r),
		slog.String("forwarder_session", Printable(r.ForwarderSession, NameMax)),
		slog.String("account", Printable(r.Account, NameMax)),
	}
}

// forwarder is the field for the address of a forwarder, empty without one.
func forwarder(addr netip.Addr) slog.Attr {
	if !addr.IsValid() {
		return slog.String("forwarder", "")
	}
	return slog.String("forwarder", addr.String())
}

// attrs are the fields of the line that closes a group of lines.
func (l leftOut) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("event", "left_out"),
		slog.String("rip", l.rip.String()),
		slog.String("action", l.action),
		slog.String("rule", string(l.rule)),
		slog.String("client", l.client),
		slog.Bool("enforced", l.enforced),
		forwarder(l.forwarder),
		slog.String("listener", l.listener),
		slog.Uint64("lines", l.lines),
		slog.Time("from", l.from),
		slog.Time("to", l.to),
	}
}

// milliseconds is the field for a duration, in whole milliseconds.
func milliseconds(key string, d time.Duration) slog.Attr { return slog.Int64(key, d.Milliseconds()) }

// recordError is the field for r's error, which after a panic holds the stack.
func recordError(r proxy.Record) slog.Attr {
	if r.End == proxy.EndPanic && r.Err != nil {
		return slog.String("error", Printable(r.Err.Error(), stackMax))
	}
	return Error(r.Err)
}

// Error is the field for an error, which may quote what a client or a backend
// sent. It is empty for nil.
func Error(err error) slog.Attr {
	if err == nil {
		return slog.String("error", "")
	}
	return slog.String("error", Printable(err.Error(), ErrorMax))
}

// WithoutAddr returns the cause of an error of the net package, without the operation and the
// addresses. Other errors, and nil, are returned as they are.
func WithoutAddr(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// The values that log fields and metric labels have in common. Each function
// returns one of a fixed set of values, whatever a client did; package metrics
// lists the sets.

// Action is what a verdict meant for the client: pass, tarpit, repeat, reject or
// shed. A refusal for lack of capacity is shed: the operator can do something
// about it. A refusal because the client asked for too much is reject.
func Action(v limiter.Verdict) string {
	switch v.Action {
	case limiter.Pass:
		return "pass"
	case limiter.Wait:
		return "tarpit"
	case limiter.Repeat:
		return "repeat"
	}
	switch v.Rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend, limiter.RuleMaxConnections, limiter.RuleHandshakes:
		return "shed"
	}
	return "reject"
}

// Result is the outcome of an attempt: accepted, denied by a backend, repeat
// (denied by postern without asking a backend), refused by postern, abandoned
// by a client that left a backend's challenge unanswered, or void, cut short by
// a backend or the client otherwise. Where verdicts are only observed,
// postern neither repeats nor refuses.
func Result(a proxy.Attempt) string {
	enforced := a.Verdict.Action
	if a.Observed {
		enforced = limiter.Pass
	}
	switch {
	case a.Outcome == limiter.Accepted:
		return "accepted"
	case a.Outcome == limiter.Denied && enforced == limiter.Repeat:
		return "repeat"
	case a.Outcome == limiter.Denied:
		return "denied"
	case enforced == limiter.Refuse:
		return "refused"
	case a.Abandoned:
		return "abandoned"
	}
	return "void"
}

// Client says whether the attempt that v is about was known or a stranger's.
func Client(v limiter.Verdict) string {
	if v.Known {
		return "known"
	}
	return "stranger"
}

// knownLacksCapacity reports whether a known client had to wait or was refused
// for lack of capacity. It must not happen: capacity is reserved for the known.
func knownLacksCapacity(v limiter.Verdict) bool {
	switch v.Rule {
	case limiter.RuleGlobal, limiter.RuleTarpit, limiter.RuleBackend:
		return v.Known && v.Action != limiter.Pass
	}
	return false
}
