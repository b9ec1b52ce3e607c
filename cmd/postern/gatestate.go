package main

import (
	"net/http"
	"time"

	"postern/cmd/postern/internal/monitor"
)

// answerState says how the gate does, for monitoring systems. It names nobody,
// so it needs no token.
func (g *gate) answerState(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, g.monitorState(time.Now()))
}

// monitorState is how the gate does at time t.
func (g *gate) monitorState(t time.Time) monitor.State {
	s, server := g.lookout.State(), g.server.Stats()
	m := monitor.State{
		Unready: g.unready(), Verdict: string(s.Class), Since: s.Since, Learned: s.Learned, Excess: s.Excess,
		Known: monitor.Known{
			Good: s.Users.Good, Slow: s.Users.Slow, Limited: s.Users.Limited, Failed: s.Users.Fault, Greeted: s.Users.Greeted.Quantile(.95),
		},
		Logins:      monitor.Logins(g.lookout.RecentLogins(t, monitor.Window)),
		Connections: server.Open, MaxConnections: server.MaxConnections, Failures: g.lookout.Failures(t),
	}
	if i, open := g.lookout.Open(); open && i.Phase.Alarming() {
		m.Incident = &monitor.Incident{ID: i.ID, Class: string(i.Class), Stage: string(i.Phase), Acknowledged: i.AckedBy != ""}
	}
	for _, group := range g.backends {
		for _, b := range group.Stats() {
			m.Backends.All++
			if b.Up {
				m.Backends.Up++
			}
		}
	}
	return m
}
