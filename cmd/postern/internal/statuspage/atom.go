package statuspage

import (
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"time"
)

// feedMax is how many updates feed.atom holds.
const feedMax = 50

// The parts of an Atom feed (RFC 4287) that feed.atom uses.
type (
	atomFeed struct {
		XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
		Title   string      `xml:"title"`
		ID      string      `xml:"id"`
		Updated string      `xml:"updated"`
		Link    *atomLink   `xml:"link"`
		Author  string      `xml:"author>name"`
		Entries []atomEntry `xml:"entry"`
	}
	atomEntry struct {
		Title     string      `xml:"title"`
		Updated   string      `xml:"updated"`
		ID        string      `xml:"id"`
		Content   atomContent `xml:"content"`
		Published string      `xml:"published"`
		Link      atomLink    `xml:"link"`
	}
	atomContent struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	}
	atomLink struct {
		Href string `xml:"href,attr"`
		Rel  string `xml:"rel,attr"`
		Type string `xml:"type,attr"`
	}
)

// feed returns feed.atom: one entry per update, newest incident first. It changes
// only when there is a new update.
func (p Page) feed() ([]byte, error) {
	f := atomFeed{Title: p.Name, ID: uuidURN("feed", p.Name), Author: p.Name}
	if p.URL != "" {
		f.Link = &atomLink{Href: p.URL + "/feed.atom", Rel: "self", Type: "application/atom+xml"}
	}
	newest := time.Unix(0, 0)
	for _, i := range p.Incidents {
		for _, u := range i.Updates {
			if u.Time.After(newest) {
				newest = u.Time
			}
			if len(f.Entries) < feedMax {
				f.Entries = append(f.Entries, p.entry(i, u))
			}
		}
	}
	f.Updated = rfc3339(newest)
	text, err := xml.MarshalIndent(f, "", "  ")
	return append([]byte(xml.Header), text...), err
}

// entry returns the entry of one update.
func (p Page) entry(i Incident, u Update) atomEntry {
	return atomEntry{
		Title: i.Title + ": " + string(u.Stage), ID: uuidURN(i.ID, u.ID), Updated: rfc3339(u.Time), Published: rfc3339(u.Time),
		Link:    atomLink{Href: p.link(i), Rel: "alternate", Type: "text/html"},
		Content: atomContent{Type: "text", Text: u.Body},
	}
}

// rfc3339 formats a time for Atom (RFC 4287, section 3.3).
func rfc3339(t time.Time) string { return utc(t).Format(time.RFC3339) }

// uuidURN returns a stable URN for what the parts identify: a UUID of version 8,
// made from a hash (RFC 9562, section 5.8).
func uuidURN(parts ...string) string {
	h := sha256.Sum256(fmt.Appendf(nil, "postern %q", parts))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
