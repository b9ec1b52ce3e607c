package admin

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
)

// Where the server answers the commands about decisions.
const (
	DecisionsPath = "/v1/decisions"
	ReleasePath   = "/v1/release"
	ForgetPath    = "/v1/forget"
)

// aboutMax is the longest subject of a question, in octets.
const aboutMax = 1024

// cleanName returns the name of a person without control and format characters, such
// as those that change the direction of writing.
func cleanName(name string) string {
	return oneLine(strings.Map(func(r rune) rune {
		if isFormat(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\ufffd")))
}

// decisions lists the decisions in force, the newest first.
func (s *Server) decisions(*query) ([]decisions.Decision, error) {
	return list(s.gateway.Decisions()), nil
}

// decide makes a decision.
func (s *Server) decide(q *query, d decisions.Request) (decisions.Result, error) {
	d.By, d.Comment = cleanName(d.By), cleanName(d.Comment)
	q.describe(string(d.Kind), d.By, "network", d.Network, "for", d.For, "comment", d.Comment)
	q.note(slog.Bool("force", d.Force))
	return s.gateway.Decide(q.time, d, q.remote())
}

// end ends a decision.
func (s *Server) end(q *query) (decisions.Decision, error) {
	id, by := q.PathValue("id"), cleanName(q.URL.Query().Get("by"))
	q.describe("end", by, "decision", id)
	return s.gateway.End(q.time, id, by)
}

// release forgets denials.
func (s *Server) release(q *query, of decisions.Release) (decisions.Released, error) {
	of.By = cleanName(of.By)
	q.describe("release", of.By, "of", of.Of)
	done, err := s.gateway.Release(q.time, of)
	done.Ended, done.Blocked = list(done.Ended), list(done.Blocked)
	return done, err
}

// forget forgets an account.
func (s *Server) forget(q *query, of decisions.Forget) (decisions.Forgotten, error) {
	of.By = cleanName(of.By)
	q.describe("forget", of.By, "account", of.Account)
	return s.gateway.Forget(q.time, of)
}

// explain answers a question about a session, an address, a network or an account.
func (s *Server) explain(q *query) (explain.Explanation, error) {
	about := q.URL.Query().Get("about")
	switch {
	case about == "":
		return explain.Explanation{}, newProblem(http.StatusBadRequest, "about: got nothing, want the ID of a session, an address, a network or an account")
	case len(about) > aboutMax:
		return explain.Explanation{}, newProblem(http.StatusBadRequest, "about: got more than 1024 octets, want the ID of a session, an address, a network or an account")
	}
	e, err := s.gateway.Explain(q.time, about)
	e.Facts, e.Advice, e.Events, e.Decisions = list(e.Facts), list(e.Advice), list(e.Events), list(e.Decisions)
	return e, err
}

// list returns l, and an empty list for nil: the JSON of a list is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// remote returns the address that q comes from, the zero value for a Unix socket.
func (q *query) remote() netip.Addr {
	from, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// describe notes for the log what q asks for, and what its sender is called. fields
// are names and values in turn; those without a value are left out.
func (q *query) describe(action, by string, fields ...string) {
	fields = append([]string{"by", by, "action", action}, fields...)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			q.note(slog.String(fields[i], eventlog.Printable(fields[i+1], eventlog.NameMax)))
		}
	}
}

// note adds to the line that is logged about q.
func (q *query) note(attr slog.Attr) { q.attrs = append(q.attrs, attr) }
