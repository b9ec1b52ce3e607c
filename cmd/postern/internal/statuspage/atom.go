package statuspage

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/gorilla/feeds"
)

// feedMax is how many updates feed.atom holds. Readers ask often enough.
const feedMax = 50

// feed is feed.atom: one entry for every update, the newest first. It changes
// only when something is said, so that readers can tell.
func (p Page) feed() ([]byte, error) {
	f := &feeds.AtomFeed{
		Xmlns: "http://www.w3.org/2005/Atom", Title: p.Name, Id: uuidURN("feed", p.Name),
		Author: &feeds.AtomAuthor{AtomPerson: feeds.AtomPerson{Name: p.Name}},
	}
	if p.URL != "" {
		f.Link = &feeds.AtomLink{Href: p.URL + "/feed.atom", Rel: "self", Type: "application/atom+xml"}
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
	text, err := feeds.ToXML(f)
	return []byte(text), err
}

// entry is one update as readers list it.
func (p Page) entry(i Incident, u Update) *feeds.AtomEntry {
	return &feeds.AtomEntry{
		Title: i.Title + ": " + string(u.Stage), Id: uuidURN(i.ID, u.ID), Updated: rfc3339(u.Time), Published: rfc3339(u.Time),
		Links:   []feeds.AtomLink{{Href: p.link(i), Rel: "alternate", Type: "text/html"}},
		Content: &feeds.AtomContent{Content: u.Body, Type: "text"},
	}
}

// rfc3339 writes a time as Atom wants it (RFC 4287, section 3.3).
func rfc3339(t time.Time) string { return utc(t).Format(time.RFC3339) }

// uuidURN is a name for what the parts name together, the same every time. It is a
// UUID of version 8, made from a hash (RFC 9562, section 5.8).
func uuidURN(parts ...string) string {
	h := sha256.Sum256(fmt.Appendf(nil, "postern %q", parts))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
