package admin

import (
	"log/slog"
	"net/netip"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/firewall"
)

// decisions lists the decisions in force, the newest first.
func (s *Server) decisions(*query) ([]decisions.Decision, error) {
	return list(s.gateway.Decisions()), nil
}

// decide makes a decision.
func (s *Server) decide(q *query, d decisions.Request) (decisions.Result, error) {
	d.By, d.Comment = eventlog.OneLine(d.By), eventlog.OneLine(d.Comment)
	q.describe(string(d.Kind), d.By, "network", d.Network, "for", d.For, "comment", d.Comment, "by_addr", d.From)
	q.note(slog.Bool("force", d.Force))
	if from, err := netip.ParseAddr(d.From); err == nil && s.gateway.Operator != nil {
		s.gateway.Operator(q.time, from)
	}
	return s.gateway.Decide(q.time, d, q.remote())
}

// userAgentMax is how much of the name of a client is looked at, in octets.
const userAgentMax = 100

// firewall lists the sources that a firewall should drop, or what has changed since the client last asked.
func (s *Server) firewall(q *query) (firewall.Stream, error) {
	name := q.UserAgent()
	return s.gateway.Firewall(q.time, q.remote().String()+" "+name[:min(len(name), userAgentMax)], firewall.ParseQuery(q.URL.Query())), nil
}

// end ends a decision.
func (s *Server) end(q *query) (decisions.Decision, error) {
	id, by := q.PathValue("id"), eventlog.OneLine(q.URL.Query().Get("by"))
	q.describe("end", by, "decision", id)
	return s.gateway.End(q.time, id, by)
}

// release forgets denials.
func (s *Server) release(q *query, of decisions.Release) (decisions.Released, error) {
	of.By = eventlog.OneLine(of.By)
	q.describe("release", of.By, "of", of.Of)
	done, err := s.gateway.Release(q.time, of)
	done.Ended, done.Blocked = list(done.Ended), list(done.Blocked)
	return done, err
}

// forget forgets an account.
func (s *Server) forget(q *query, of decisions.Forget) (decisions.Forgotten, error) {
	of.By = eventlog.OneLine(of.By)
	q.describe("forget", of.By, "account", of.Account)
	return s.gateway.Forget(q.time, of)
}

// explain answers a question about a session, an address, a network or an account.
func (s *Server) explain(q *query) (explain.Explanation, error) {
	e, err := s.gateway.Explain(q.time, q.URL.Query().Get("about"))
	e.Facts, e.Advice, e.Events, e.Decisions = list(e.Facts), list(e.Advice), list(e.Events), list(e.Decisions)
	return e, err
}
