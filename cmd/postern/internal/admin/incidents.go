package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// Where the server answers `postern incident` and `postern report`. The answers
// name addresses and accounts, so even reading needs the token or the socket.
const (
	IncidentsPath = "/v1/incidents"
	ReportPath    = "/v1/report"
)

// Latest stands for the ID of the latest incident.
const Latest = "latest"

// needsForce is a header of the refusal of a command that is executed with the
// field force.
const needsForce = "Postern-Needs-Force"

// commandMax is the largest command that is accepted, in octets.
const commandMax = 16 << 10

// serveIncidents lists the incidents that are remembered, the latest first.
func (s *Server) serveIncidents(w http.ResponseWriter, _ *http.Request) {
	all := s.gateway.Incidents.All()
	if all == nil {
		all = []incident.Incident{}
	}
	writeJSON(w, all)
}

// serveIncident gives one incident: by its ID, or Latest.
func (s *Server) serveIncident(w http.ResponseWriter, r *http.Request) {
	i, found := s.gateway.Incidents.Find(strings.TrimPrefix(r.PathValue("id"), Latest))
	if !found {
		http.Error(w, "there is no such incident", http.StatusNotFound)
		return
	}
	writeJSON(w, i)
}

// serveCommand does what an operator asks for, and logs who did.
func (s *Server) serveCommand(w http.ResponseWriter, r *http.Request) {
	var c incident.Command
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, commandMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		http.Error(w, "not a command: "+err.Error(), http.StatusBadRequest)
		return
	}
	c.By = eventlog.StripControl(c.By)
	events, err := s.gateway.Incidents.Do(time.Now(), c)
	text := func(key, value string) slog.Attr {
		return slog.String(key, eventlog.Printable(value, eventlog.NameMax))
	}
	s.gateway.Log.Info("operator command", slog.String("event", "admin"), slog.String("rip", r.RemoteAddr), text("by", c.By),
		text("action", string(c.Action)), text("incident", c.Incident), eventlog.Error(err))
	if err != nil {
		if errors.Is(err, incident.ErrStillOn) {
			w.Header().Set(needsForce, string(c.Action))
		}
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	writeJSON(w, events)
}

// serveReport makes a report.
func (s *Server) serveReport(w http.ResponseWriter, r *http.Request) {
	form := report.Internal
	if r.FormValue("public") == "true" {
		form = report.Public
	}
	lookup, closeFile := s.autonomousSystems()
	defer closeFile()
	report, err := s.gateway.Incidents.Report(time.Now(), r.FormValue("incident"), form, lookup)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case r.FormValue("format") == "json":
		writeJSON(w, report)
	default:
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		fmt.Fprintf(w, "%s", report.Markdown())
	}
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

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, string(text)+"\n")
}
