package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"postern/cmd/postern/internal/eventlog"
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
	lookup, closeFile := s.autonomousSystems()
	defer closeFile()
	report, err := s.gateway.Incidents.Report(q.time, q.FormValue("incident"), form, lookup)
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

// autonomousSystems opens ASN_FILE until closeFile is called. lookup is nil
// without one, or if it cannot be read: the report is made without it then.
func (s *Server) autonomousSystems() (lookup func(netip.Addr) (uint32, string), closeFile func()) {
	if s.asnFile == "" {
		return nil, func() {}
	}
	db, err := maxminddb.Open(s.asnFile)
	if err != nil {
		s.gateway.Log.Warn("cannot open ASN_FILE: report without autonomous systems", slog.String("event", "admin"), eventlog.Error(err))
		return nil, func() {}
	}
	return func(addr netip.Addr) (uint32, string) {
		var system struct {
			Number uint32 `maxminddb:"autonomous_system_number"`
			Name   string `maxminddb:"autonomous_system_organization"`
		}
		if db.Lookup(addr).Decode(&system) != nil {
			return 0, ""
		}
		return system.Number, eventlog.StripControl(system.Name)
	}, func() { db.Close() }
}
