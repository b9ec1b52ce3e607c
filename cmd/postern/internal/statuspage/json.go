package statuspage

import (
	"encoding/json"
	"strings"
	"time"
)

// The objects of Statuspage's public API v2, with the fields that its clients use.
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
		NextUpdate *time.Time   `json:"next_update_at"` // not in Statuspage's API; its clients ignore it
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

// pageID takes the place of Statuspage's page ID.
const pageID = "postern"

// summary returns summary.json: the state of the components and open incidents.
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

// history returns incidents.json: all incidents.
func (p Page) history() ([]byte, error) {
	return json.MarshalIndent(incidentsJSON{p.page(), p.incidents(p.Incidents)}, "", " ")
}

// page returns the object page of both files.
func (p Page) page() pageJSON {
	return pageJSON{ID: pageID, Name: p.Name, URL: p.URL, TimeZone: p.Zone.String(), Updated: utc(p.Checked)}
}

// incidents converts a list of incidents.
func (p Page) incidents(list []Incident) []incidentJSON {
	all := []incidentJSON{}
	for _, i := range list {
		j := incidentJSON{
			ID: i.ID, Name: i.Title, Status: i.Stage(), Impact: i.Impact, Created: utc(i.Published()), Started: utc(i.Started), Updated: utc(i.Updated()),
			Monitoring: optionalTime(i.firstAt(Monitoring)), Resolved: optionalTime(i.firstAt(Resolved)), NextUpdate: optionalTime(i.NextUpdate),
			Shortlink: p.link(i), PageID: pageID, Updates: []updateJSON{},
		}
		for _, u := range i.Updates {
			j.Updates = append(j.Updates, updateJSON{u.ID, i.ID, u.Stage, u.Body, utc(u.Time), utc(u.Time), utc(u.Time)})
		}
		all = append(all, j)
	}
	return all
}

// link returns the URL of an incident, relative to the directory if the page's own
// URL is not known.
func (p Page) link(i Incident) string {
	if p.URL == "" {
		return "index.html#" + i.ID
	}
	return p.URL + "/index.html#" + i.ID
}

// utc converts t to UTC and truncates it to seconds.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// optionalTime returns nil, which is null in JSON, for the zero time.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = utc(t)
	return &t
}
