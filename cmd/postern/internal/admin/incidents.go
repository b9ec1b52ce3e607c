package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// Where the server answers `postern incident` and `postern report`. The answers
// name addresses and accounts, so even reading needs a token or the socket.
const (
	IncidentsPath = "/v1/incidents"
	ReportPath    = "/v1/report"
)

// Latest stands for the ID of the latest incident.
const Latest = "latest"

// incidents lists the incidents that are remembered, the latest first.
func (s *Server) incidents(*query) ([]incident.Incident, error) {
	return list(s.gateway.Incidents.All()), nil
}

// incident gives one incident: by its ID, or Latest.
func (s *Server) incident(q *query) (incident.Incident, error) {
	i, found := s.gateway.Incidents.Find(strings.TrimPrefix(q.PathValue("id"), Latest))
	if !found {
		return i, newProblem(http.StatusNotFound, "there is no such incident")
	}
	return i, nil
}

// command does what an operator asks for.
func (s *Server) command(q *query, c incident.Command) ([]incident.Event, error) {
	c.By = eventlog.OneLine(c.By)
	q.describe(string(c.Action), c.By, "incident", c.Incident)
	events, err := s.gateway.Incidents.Do(q.time, c)
	return list(events), err
}

// serveReport makes a report.
func (s *Server) serveReport(w http.ResponseWriter, q *query) error {
	form := report.Internal
	if q.FormValue("public") == "true" {
		form = report.Public
	}
	report, err := s.gateway.Incidents.Report(q.time, q.FormValue("incident"), form, s.autonomousSystems())
	switch {
	case err != nil:
		return problemOf(err, http.StatusNotFound)
	case q.FormValue("format") == "json":
		writeJSON(w, report)
	default:
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		fmt.Fprintf(w, "%s", report.Markdown())
	}
	return nil
}

// autonomousSystems returns a lookup in ASN_FILE. It is nil without that file, or if
// it cannot be read: the report is made without it then.
func (s *Server) autonomousSystems() func(netip.Addr) (uint32, string) {
	if s.asnFile == "" {
		return nil
	}
	db, err := geoip.Open(s.asnFile)
	if err != nil {
		s.gateway.Log.Warn("cannot open ASN_FILE: report without autonomous systems", slog.String("event", "admin"), eventlog.Error(err))
		return nil
	}
	return db.System
}
