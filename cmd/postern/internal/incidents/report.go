package incidents

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/limiter/watch/report"
)

// Report draws up the report on an incident at time t, the latest one if id is
// empty. lookup may be nil; see [report.Subject].
func (l *Lookout) Report(t time.Time, id string, form report.Form, lookup func(netip.Addr) (uint32, string)) (*report.Report, error) {
	i, found := l.incidents.Find(id)
	switch {
	case !found && id == "":
		return nil, errors.New("report: there has been no incident")
	case !found:
		return nil, fmt.Errorf("report: there is no incident %q", id)
	}
	from, to := report.Span(t, &i)
	minutes, hours := l.history.Minutes(from, to), l.history.Hours(from, to)
	if !to.Before(t) {
		m, h := l.watch.Partial(t)
		minutes, hours = append(minutes, m), append(hours, h)
	}
	return report.New(t, report.Subject{
		Incident: i, Minutes: minutes, Hours: hours, Location: l.config.Location, Lookup: lookup, Service: l.config.Name,
	}, form), nil
}
