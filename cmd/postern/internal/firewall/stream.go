package firewall

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/limiter"
)

// StreamPath is where the admin API serves a Stream, as the local API (LAPI) of CrowdSec does.
const StreamPath = "/v1/decisions/stream"

// A Stream is what has changed in the list, in the form of CrowdSec's LAPI, so that its bouncers
// work unchanged.
type Stream struct {
	New     []Decision `json:"new"`
	Deleted []Decision `json:"deleted"` // their duration is zero or negative
}

// A Decision is an Entry in the form of CrowdSec's LAPI.
type Decision struct {
	ID        int64     `json:"id"`
	Origin    string    `json:"origin"`   // postern
	Type      string    `json:"type"`     // ban
	Scenario  string    `json:"scenario"` // postern/source, postern/connect or postern/blocked
	Scope     string    `json:"scope"`    // Ip, or Range for IPv6
	Value     string    `json:"value"`    // an IPv4 address, or an IPv6 network
	Duration  string    `json:"duration"` // until it ends
	Simulated bool      `json:"simulated,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	Until     time.Time `json:"until"`
}

// The constant texts of a Decision.
const (
	Origin     = "postern"
	decideBan  = "ban"
	scopeIP    = "Ip"
	scopeRange = "Range"
)

// decision is e in the form of CrowdSec's LAPI at time t.
func (e *Entry) decision(t time.Time) Decision {
	d := Decision{
		ID: e.ID, Origin: Origin, Type: decideBan, Scenario: Origin + "/" + string(e.Rule), Scope: scopeIP, Value: limiter.BlockName(e.Source),
		Duration: e.Until.Sub(t).Round(time.Millisecond).String(), Simulated: e.Observe, CreatedAt: e.Listed.UTC(), Until: e.Until.UTC(),
	}
	if !e.Source.IsSingleIP() {
		d.Scope = scopeRange
	}
	return d
}

// A Query asks for a Stream. Its fields are the parameters of the request.
type Query struct {
	Startup    bool     // all entries, not only those that are new to the client
	Simulated  bool     // also those of observe mode, which nothing should be dropped for
	Scopes     []string // in lower case; empty: all
	Origins    []string // likewise
	Containing []string // texts of which the scenario must have one; empty: any scenario
	Without    []string // texts of which the scenario must have none
}

// ParseQuery reads the parameters that bouncers send. Others are ignored.
func ParseQuery(v url.Values) Query {
	return Query{
		Startup: v.Get("startup") == "true", Simulated: v.Get("simulated") == "true",
		Scopes: splitList(strings.ToLower(v.Get("scopes"))), Origins: splitList(strings.ToLower(v.Get("origins"))),
		Containing: splitList(v.Get("scenarios_containing")), Without: splitList(v.Get("scenarios_not_containing")),
	}
}

// splitList splits a list at commas and spaces.
func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// asksFor reports whether q asks for d.
func (q *Query) asksFor(d *Decision) bool {
	isIn := func(part string) bool { return strings.Contains(d.Scenario, part) }
	return (q.Simulated || !d.Simulated) &&
		(len(q.Scopes) == 0 || slices.Contains(q.Scopes, strings.ToLower(d.Scope))) &&
		(len(q.Origins) == 0 || slices.Contains(q.Origins, d.Origin)) &&
		(len(q.Containing) == 0 || slices.ContainsFunc(q.Containing, isIn)) && !slices.ContainsFunc(q.Without, isIn)
}

// Stream returns what q asks for at time t. New has all entries if since is zero, else those
// listed from then on; Deleted has those that ended from then on.
func (l *List) Stream(t, since time.Time, q Query) Stream {
	s := Stream{New: []Decision{}, Deleted: []Decision{}}
	for _, e := range l.Entries(t) {
		if d := e.decision(t); !e.Listed.Before(since) && q.asksFor(&d) {
			s.New = append(s.New, d)
		}
	}
	for _, e := range l.removals(since) {
		if d := e.decision(t); q.asksFor(&d) {
			if e.Until.After(t) {
				d.Duration = "0s"
			}
			s.Deleted = append(s.Deleted, d)
		}
	}
	return s
}

// Limits on what is remembered of clients that fetch the list.
const (
	clientsMax = 64
	// overlap is how much of what a client was sent it is sent once more: an answer may be lost, and
	// two clients behind one address may look the same.
	overlap = time.Minute
)

// Clients remembers when each client fetched the list. Its zero value is ready, and its methods
// may be called from several goroutines.
type Clients struct {
	mu     sync.Mutex
	latest map[string]time.Time
}

// Since returns the time from which on a client that fetches the list at time t needs changes; zero
// if it needs all.
func (c *Clients) Since(t time.Time, client string, startup bool) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest == nil {
		c.latest = map[string]time.Time{}
	}
	former, known := c.latest[client]
	if !known && len(c.latest) >= clientsMax {
		oldest := client
		for name, at := range c.latest {
			if oldest == client || at.Before(c.latest[oldest]) {
				oldest = name
			}
		}
		delete(c.latest, oldest)
	}
	c.latest[client] = t
	if startup || !known || t.Sub(former) > RemovedTime-overlap || t.Before(former) {
		return time.Time{}
	}
	return former.Add(-overlap)
}
