package report

import (
	"time"

	"postern/limiter/watch"
)

// An HourRow is one hour of the clock, summed up from its minutes.
type HourRow struct {
	Start    time.Time   `json:"start"`
	Logins   int         `json:"logins"`               // attempts of all
	Expected int         `json:"expected,omitempty"`   // zero if nothing was learned
	Above    *float64    `json:"above,omitempty"`      // excess over Expected, as a share of it; nil if nothing was learned
	Failed   float64     `json:"failed"`               // share of all attempts that were not accepted
	Blocked  int         `json:"blocked"`              // attempts refused by postern
	Known    int         `json:"known"`                // attempts of the known that Served is of
	Served   float64     `json:"served"`               // share of these
	Greeting float64     `json:"greeting_p95_seconds"` // of the known
	Class    watch.Class `json:"class"`                // the gravest of the hour
}

// volume returns the hours from the one before the incident on.
func (s *Subject) volume() []HourRow {
	var rows []HourRow
	var sum watch.Minute
	for i := range s.Minutes {
		m := &s.Minutes[i]
		start := hourOf(m.Start.In(s.Location))
		if len(rows) == 0 || !start.Equal(rows[len(rows)-1].Start) {
			rows = append(rows, HourRow{Start: start})
			sum = watch.Minute{Class: watch.ClassNormal}
		}
		sum.Add(*m)
		rows[len(rows)-1].set(&sum)
	}
	return rows
}

// hourOf returns the beginning of the hour of the clock that t is in. Where the clock goes back an hour, they are two
// hours.
func hourOf(t time.Time) time.Time {
	into := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	return t.Add(-into)
}

// set sets the figures of r from m, the sum of its minutes.
func (r *HourRow) set(m *watch.Minute) {
	r.Logins = m.Logins()
	r.Expected = int(m.Expected.Logins + 0.5)
	if r.Expected > 0 {
		above := float64(r.Logins)/float64(r.Expected) - 1
		r.Above = &above
	}
	if r.Logins > 0 {
		r.Failed = 1 - float64(m.Known.Accepted+m.Stranger.Accepted)/float64(r.Logins)
	}
	r.Blocked = m.Known.Refused() + m.Stranger.Refused()
	r.Known, r.Served = m.Users.Asked(), m.Users.Served()
	r.Greeting = m.Users.Greeted.Quantile(0.95).Seconds()
	r.Class = m.Class
}
