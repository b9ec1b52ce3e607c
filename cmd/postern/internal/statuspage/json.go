package statuspage

import (
	"encoding/json"
	"strings"
	"time"
)

// The shapes of Statuspage's public API v2, with the fields its readers use.
type (
	pageJSON struct {
		ID       string    `json:"id"`
		Name     string    `json:"name"`
		URL      string    `json:"url"`
		TimeZone string    `json:"time_zone"`
		Updated  time.Time `json:"updated_at"`
	}
	overallJSON struct {
		Indicator   Impact `json:"indicator"`
		Description string `json:"description"`
	}
	componentJSON struct {
		ID       string    `json:"id"`
		Name     string    `json:"name"`
		Status   Health    `json:"status"`
		Position int       `json:"position"`
		Updated  time.Time `json:"updated_at"`
		PageID   string    `json:"page_id"`
		Group    bool      `json:"group"`
	}
	incidentJSON struct {
		ID         string       `json:"id"`
		Name       string       `json:"name"`
		Status     Stage        `json:"status"`
		Impact     Impact       `json:"impact"`
		Created    time.Time    `json:"created_at"`
		Started    time.Time    `json:"started_at"`
		Updated    time.Time    `json:"updated_at"`
		Monitoring *time.Time   `json:"monitoring_at"`
		Resolved   *time.Time   `json:"resolved_at"`
		NextUpdate *time.Time   `json:"next_update_at"` // ours; Statuspage's readers pass it over
		Shortlink  string       `json:"shortlink"`
		PageID     string       `json:"page_id"`
		Updates    []updateJSON `json:"incident_updates"`
	}
	updateJSON struct {
		ID         string    `json:"id"`
		IncidentID string    `json:"incident_id"`
		Status     Stage     `json:"status"`
		Body       string    `json:"body"`
		Created    time.Time `json:"created_at"`
		Updated    time.Time `json:"updated_at"`
		Display    time.Time `json:"display_at"`
	}
	summaryJSON struct {
		Page        pageJSON        `json:"page"`
		Status      overallJSON     `json:"status"`
		Components  []componentJSON `json:"components"`
		Incidents   []incidentJSON  `json:"incidents"`
		Maintenance []struct{}      `json:"scheduled_maintenances"`
	}
	incidentsJSON struct {
		Page      pageJSON       `json:"page"`
		Incidents []incidentJSON `json:"incidents"`
	}
)

// pageID stands where Statuspage has the number of a page.
const pageID = "postern"

// summary is summary.json: how things are, and what goes on.
func (p Page) summary() ([]byte, error) {
	s := summaryJSON{
		Page: p.page(), Status: overallJSON{p.indicator(), p.headline()},
		Components: []componentJSON{}, Incidents: p.incidents(p.open()), Maintenance: []struct{}{},
	}
	for n, c := range p.Components {
		s.Components = append(s.Components, componentJSON{
			ID: strings.ToLower(strings.ReplaceAll(c.Name, " ", "-")), Name: c.Name, Status: c.State, Position: n + 1,
			Updated: utc(p.Checked), PageID: pageID,
		})
	}
	return json.MarshalIndent(s, "", " ")
}

// history is incidents.json: everything that has been told.
func (p Page) history() ([]byte, error) {
	return json.MarshalIndent(incidentsJSON{p.page(), p.incidents(p.Incidents)}, "", " ")
}

// page is the head of both files.
func (p Page) page() pageJSON {
	return pageJSON{ID: pageID, Name: p.Name, URL: p.URL, TimeZone: p.Zone.String(), Updated: utc(p.Checked)}
}

// incidents gives some incidents the shape.
func (p Page) incidents(some []Incident) []incidentJSON {
	all := []incidentJSON{}
	for _, i := range some {
		j := incidentJSON{
			ID: i.ID, Name: i.Title, Status: i.Stage(), Impact: i.Impact, Created: utc(i.Published()), Started: utc(i.Started), Updated: utc(i.Updated()),
			Monitoring: maybe(i.reached(Monitoring)), Resolved: maybe(i.reached(Resolved)), NextUpdate: maybe(i.Promised),
			Shortlink: p.link(i), PageID: pageID, Updates: []updateJSON{},
		}
		for _, u := range i.Updates {
			j.Updates = append(j.Updates, updateJSON{u.ID, i.ID, u.Stage, u.Body, utc(u.Time), utc(u.Time), utc(u.Time)})
		}
		all = append(all, j)
	}
	return all
}

// link leads to an incident, relative to the folder if it is not known where
// that is served.
func (p Page) link(i Incident) string {
	if p.URL == "" {
		return "index.html#" + i.ID
	}
	return p.URL + "/index.html#" + i.ID
}

// utc leaves out what no reader needs: the zone and the parts of a second.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// maybe is null for the zero time.
func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = utc(t)
	return &t
}
