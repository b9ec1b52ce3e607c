package admin

import (
	"log/slog"
	"net/http"

	"postern/cmd/postern/internal/decisions"
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

// decisions lists the decisions in force, the newest first.
func (s *Server) decisions(*query) ([]decisions.Decision, error) {
	return list(s.gateway.Decisions()), nil
}

// decide makes a decision.
func (s *Server) decide(q *query, d decisions.Request) (decisions.Result, error) {
	d.By, d.Comment = cleanText(d.By), cleanText(d.Comment)
	q.describe(string(d.Kind), d.By, "network", d.Network, "for", d.For, "comment", d.Comment, "by_addr", d.From)
	q.note(slog.Bool("force", d.Force))
	return s.gateway.Decide(q.time, d, q.remote())
}

// end ends a decision.
func (s *Server) end(q *query) (decisions.Decision, error) {
	id, by := q.PathValue("id"), cleanText(q.URL.Query().Get("by"))
	q.describe("end", by, "decision", id)
	return s.gateway.End(q.time, id, by)
}

// release forgets denials.
func (s *Server) release(q *query, of decisions.Release) (decisions.Released, error) {
	of.By = cleanText(of.By)
	q.describe("release", of.By, "of", of.Of)
	done, err := s.gateway.Release(q.time, of)
	done.Ended, done.Blocked = list(done.Ended), list(done.Blocked)
	return done, err
}

// forget forgets an account.
func (s *Server) forget(q *query, of decisions.Forget) (decisions.Forgotten, error) {
	of.By = cleanText(of.By)
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
