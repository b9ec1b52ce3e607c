package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
	"postern/limiter"
	"postern/limiter/watch/incident"
)

// column is a column of a table.
type column struct {
	title  string
	number bool // sorts by number, the largest first; is aligned to the right
	max    int  // its greatest width; 0 for a column that takes what is left
	from   int  // the width of screens that have it
}

// cell is one value. A number column sorts by its number.
type cell struct {
	text   string
	number float64
}

// row is one row of a table.
type row struct {
	key     string // tells it from others, and remains over requests
	about   string // what `explain` is asked about; empty if nothing
	network string // what can be blocked, allowed and released: an address or a network; empty if there is none
	account string // what can be released if there is no network

	decision decisions.Decision // what can be ended; without an ID if there is none
	cells    []cell
}

// subject is what can be released.
func (r row) subject() string { return cmp.Or(r.network, r.account) }

// table is one of the tables that the user can choose from.
type table struct {
	name    string
	columns []column
	rows    func(d *view.Detail, now time.Time) []row
}

// decisionsTable is the name of the table that may not have all.
const decisionsTable = "decisions"

// tables are all tables, in the order of their keys 1, 2, ...
var tables = []table{
	{"sources", topColumns("SOURCE", "ACCTS"), func(d *view.Detail, now time.Time) []row { return topRows(d.Top.Sources, true, now) }},
	{"networks", topColumns("NETWORK", "ACCTS"), func(d *view.Detail, now time.Time) []row { return topRows(d.Top.Networks, true, now) }},
	{"accounts", topColumns("ACCOUNT", "NETS"), func(d *view.Detail, now time.Time) []row { return topRows(d.Top.Accounts, false, now) }},
	{"refusals", []column{
		{title: "AGE", number: true, max: 5}, {title: "ADDRESS", max: 39}, {title: "ACCOUNT", max: 24}, {title: "LISTENER", max: 9, from: 110},
		{title: "KNOWN", max: 6}, {title: "RULE", max: 13}, {title: "RESULT", max: 9, from: 100}, {title: "SESSION", max: 16, from: 130}, {title: "WHY"},
	}, refusalRows},
	{"incidents", []column{
		{title: "ID", max: 16}, {title: "PHASE", max: 14}, {title: "CLASS"}, {title: "STARTED", number: true, max: 16},
		{title: "ENDED", number: true, max: 16}, {title: "PUBLIC", max: 7, from: 100}, {title: "ACKNOWLEDGED", max: 16},
	}, incidentRows},
	{decisionsTable, []column{
		{title: "ID", max: 10, from: 90}, {title: "KIND", max: 8}, {title: "NETWORK", max: 43}, {title: "MADE", number: true, max: 5},
		{title: "UNTIL", number: true, max: 16}, {title: "BY", max: 24}, {title: "COMMENT"},
	}, decisionRows},
}

// topColumns are the columns of sources, networks and accounts.
func topColumns(name, others string) []column {
	return []column{
		{title: name}, {title: "TRIES", number: true, max: 8}, {title: "OK", number: true, max: 8}, {title: "DENIED", number: true, max: 8},
		{title: "REFUSED", number: true, max: 8}, {title: "WAITED", number: true, max: 8, from: 90}, {title: others, number: true, max: 7},
		{title: "KNOWN", max: 6}, {title: "RULE", max: 13}, {title: "FIRST", number: true, max: 6, from: 100}, {title: "LAST", number: true, max: 5},
	}
}

// topRows are those of sources, networks or accounts.
func topRows(all []recent.Row, network bool, now time.Time) []row {
	rows := make([]row, len(all))
	for i, r := range all {
		rows[i] = row{key: r.Name, about: r.Name, cells: []cell{
			text(r.Name), number(r.Attempts), number(r.Accepted), number(r.Denied), number(r.Refused), number(r.Waited), number(r.Others),
			yes(r.Known), text(r.Rule), since(r.First, now), since(r.Last, now),
		}}
		if network {
			rows[i].network = r.Name
		} else {
			rows[i].account = r.Name
		}
	}
	return rows
}

// refusalRows are the latest refusals.
func refusalRows(d *view.Detail, now time.Time) []row {
	rows := make([]row, len(d.Refusals))
	for i, e := range d.Refusals {
		rows[i] = row{key: fmt.Sprint(e.Session, e.Time.UnixNano()), about: e.Session, account: e.Account, cells: []cell{
			since(e.Time, now), {}, text(e.Account), text(e.Listener), yes(e.Known), text(e.Rule), text(e.Result), text(e.Session), text(e.Why),
		}}
		if e.Addr.IsValid() {
			rows[i].network = e.Addr.Unmap().WithZone("").String()
			rows[i].cells[1] = text(rows[i].network)
		}
	}
	return rows
}

// incidentRows are the latest incidents.
func incidentRows(d *view.Detail, now time.Time) []row {
	rows := make([]row, len(d.Incidents))
	for i, e := range d.Incidents {
		rows[i] = row{key: e.ID, cells: []cell{
			text(e.ID), text(string(e.Phase)), text(string(e.Class)), at(e.Started, now), at(e.Ended, now), yes(e.Public()), text(cmp.Or(e.AckedBy, "-")),
		}}
	}
	return rows
}

// incidentText is an incident with its events.
func incidentText(i *incident.Incident, now time.Time) []string {
	lines := []string{fmt.Sprintf("%s, %s, since %s", i.Class, i.Phase, clock(i.Since, now)), ""}
	for _, e := range i.Events {
		line := clock(e.Time, now) + "  " + string(e.Kind)
		for _, part := range []string{string(e.Class), string(e.To), e.Text} {
			if part != "" {
				line += "  " + part
			}
		}
		lines = append(lines, line+"  ("+e.By+")")
	}
	return append(lines, "", "`postern incident` has the commands that act on it.")
}

// decisionRows are the latest decisions.
func decisionRows(d *view.Detail, now time.Time) []row {
	rows := make([]row, len(d.Decisions))
	for i, e := range d.Decisions {
		network := ""
		if e.Kind == decisions.Block || e.Kind == decisions.Allow {
			network = limiter.BlockName(e.Network)
		}
		until := at(e.Until, now)
		if e.Until.IsZero() {
			until = cell{"ended by hand", float64(1 << 62)}
		}
		rows[i] = row{key: e.ID, about: network, network: network, decision: e, cells: []cell{
			text(e.ID), text(string(e.Kind)), text(cmp.Or(network, "all")), since(e.Made, now), until, text(e.Who()), text(e.Comment),
		}}
	}
	return rows
}

// text is a cell with a text.
func text(s string) cell { return cell{text: s} }

// number is a cell with a number.
func number(n int) cell { return cell{fmt.Sprint(n), float64(n)} }

// since is a cell with the age of a time. The latest sorts as the largest.
func since(t, now time.Time) cell {
	if t.IsZero() {
		return text("-")
	}
	return cell{age(now.Sub(t)), float64(t.UnixMilli())}
}

// at is a cell with a time.
func at(t, now time.Time) cell { return cell{clock(t, now), float64(max(t.UnixMilli(), 0))} }

// yes is a cell that says yes or nothing.
func yes(b bool) cell {
	if b {
		return text("yes")
	}
	return cell{}
}

// order says how a table is sorted. The zero value keeps the order of the gateway: the
// busiest or the latest first.
type order struct {
	column   int // counted from 1; 0 for the order of the gateway
	reversed bool
}

// descending reports whether the largest value is first.
func (o order) descending(t table) bool { return t.columns[o.column-1].number != o.reversed }

// sort sorts rows of t. Rows with the same value keep their order.
func (o order) sort(t table, rows []row) {
	if o.column == 0 {
		if o.reversed {
			slices.Reverse(rows)
		}
		return
	}
	n := o.column - 1
	slices.SortStableFunc(rows, func(a, b row) int {
		c := strings.Compare(strings.ToLower(a.cells[n].text), strings.ToLower(b.cells[n].text))
		if t.columns[n].number {
			c = cmp.Compare(a.cells[n].number, b.cells[n].number)
		}
		if o.descending(t) {
			return -c
		}
		return c
	})
}

// matches reports whether a filter, in lower case, is part of one of the row's values.
func (r row) matches(filter string) bool {
	for _, c := range r.cells {
		if strings.Contains(strings.ToLower(c.text), filter) {
			return true
		}
	}
	return false
}
