package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"postern/cmd/postern/internal/monitor"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// Where the running gate answers what `postern incident` and `postern report`
// ask. What they say names addresses and accounts, so even reading needs the
// token or the socket.
const (
	incidentsPath = "/v1/incidents"
	reportPath    = "/v1/report"
)

// commandMax bounds what an operator may say at once, in octets.
const commandMax = 16 << 10

// handleOperators adds to mux what operators ask.
func (g *gate) handleOperators(mux *http.ServeMux) {
	mux.HandleFunc("GET "+monitor.Path, g.answerState)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET " + incidentsPath: g.answerIncidents, "GET " + incidentsPath + "/{id}": g.answerIncident,
		"POST " + incidentsPath: g.takeCommand, "GET " + reportPath: g.answerReport,
	} {
		mux.Handle(pattern, g.guardToken(h))
	}
}

// answerIncidents lists the incidents that are remembered, the latest first.
func (g *gate) answerIncidents(w http.ResponseWriter, _ *http.Request) {
	all := g.lookout.All()
	if all == nil {
		all = []incident.Incident{}
	}
	answerJSON(w, all)
}

// answerIncident tells of one incident: by its ID, or "latest".
func (g *gate) answerIncident(w http.ResponseWriter, r *http.Request) {
	i, found := g.lookout.Find(strings.TrimPrefix(r.PathValue("id"), latest))
	if !found {
		http.Error(w, "there is no such incident", http.StatusNotFound)
		return
	}
	answerJSON(w, i)
}

// latest stands for the ID of the latest incident.
const latest = "latest"

// takeCommand does what an operator asks for, and writes down who did.
func (g *gate) takeCommand(w http.ResponseWriter, r *http.Request) {
	var c incident.Command
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, commandMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		http.Error(w, "not a command: "+err.Error(), http.StatusBadRequest)
		return
	}
	c.By = harmless(c.By)
	events, err := g.lookout.Do(time.Now(), c)
	g.journal.Info("operator's command", slog.String("event", "admin"), slog.String("rip", r.RemoteAddr), slog.String("by", printable(c.By, accountMax)),
		slog.String("action", printable(string(c.Action), accountMax)), slog.String("incident", printable(c.Incident, accountMax)), reason(err))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	answerJSON(w, events)
}

// answerReport draws up a report.
func (g *gate) answerReport(w http.ResponseWriter, r *http.Request) {
	form := report.Internal
	if r.FormValue("public") == "true" {
		form = report.Public
	}
	lookup, closeFile := g.autonomousSystems()
	defer closeFile()
	report, err := g.lookout.Report(time.Now(), r.FormValue("incident"), form, lookup)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case r.FormValue("format") == "json":
		answerJSON(w, report)
	default:
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		fmt.Fprintf(w, "%s", report.Markdown())
	}
}

// autonomousSystems opens ASN_FILE for as long as a report takes. Without one,
// or if it cannot be read, the report does without.
func (g *gate) autonomousSystems() (lookup func(netip.Addr) (uint32, string), closeFile func()) {
	path := string(g.config.Watch.ASNFile)
	if path == "" {
		return nil, func() {}
	}
	db, err := maxminddb.Open(path)
	if err != nil {
		g.journal.Warn("report without autonomous systems", slog.String("event", "admin"), reason(err))
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
		return system.Number, harmless(system.Name)
	}, func() { db.Close() }
}

// answerJSON sends v.
func answerJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, string(text)+"\n")
}
