package top

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// list is what the user sees of the chosen table: which rows, in which order, and which
// one is selected.
type list struct {
	table  int // index in tables
	orders []order
	filter string
	rows   []row
	total  int // rows without the filter

	cursor int
	offset int    // of the first row that is shown
	picked bool   // the user has moved the cursor, so it stays on its row
	key    string // of that row
}

// update takes the rows from a View. A cursor that the user has moved follows its row.
func (l *list) update(m *model) {
	l.rows, l.total = nil, 0
	if m.view != nil && m.view.Detail != nil {
		t := tables[l.table]
		rows := t.rows(m.view.Detail, m.view.Time)
		for i := range rows {
			for j := range rows[i].cells {
				rows[i].cells[j].text = m.plain(rows[i].cells[j].text)
			}
		}
		l.total = len(rows)
		filter := strings.ToLower(l.filter)
		l.rows = slices.DeleteFunc(rows, func(r row) bool { return !r.matches(filter) })
		l.orders[l.table].sort(t, l.rows)
	}
	if l.picked {
		if i := slices.IndexFunc(l.rows, func(r row) bool { return r.key == l.key }); i >= 0 {
			l.cursor = i
		}
	} else {
		l.cursor = 0
	}
	l.cursor = min(max(l.cursor, 0), max(len(l.rows)-1, 0))
}

// move moves the cursor.
func (l *list) move(by int) {
	if len(l.rows) == 0 {
		return
	}
	l.cursor = min(max(l.cursor+by, 0), len(l.rows)-1)
	l.picked, l.key = true, l.rows[l.cursor].key
}

// choose changes to another table.
func (l *list) choose(n int) {
	l.table = (n + len(tables)) % len(tables)
	l.cursor, l.offset, l.picked = 0, 0, false
}

// sortBy changes the column that the table is sorted by, to the next one or the one before.
func (l *list) sortBy(step int) {
	o, n := &l.orders[l.table], len(tables[l.table].columns)+1
	*o = order{column: (o.column + step + n) % n}
}

// reverse reverses the order.
func (l *list) reverse() { l.orders[l.table].reversed = !l.orders[l.table].reversed }

// selected returns the row with the cursor.
func (l *list) selected() (row, bool) {
	if l.cursor >= len(l.rows) {
		return row{}, false
	}
	return l.rows[l.cursor], true
}

// tabs is the line that names the tables.
func (l *list) tabs(m *model) string {
	var b strings.Builder
	for i, t := range tables {
		name := fmt.Sprintf("%d %s", i+1, t.name)
		if i == l.table {
			b.WriteString(bold.Render("["+name+"]") + " ")
			continue
		}
		b.WriteString(" " + name + "  ")
	}
	return m.cut(strings.TrimRight(b.String(), " "), m.width)
}

// status says which rows are not shown; empty if all are.
func (l *list) status(m *model) string {
	switch {
	case l.filter != "":
		return fmt.Sprintf("/%s: %d of %d ", m.plain(l.filter), len(l.rows), l.total)
	case m.view != nil && m.view.Detail != nil && tables[l.table].name == decisionsTable && m.view.Detail.Decided > l.total:
		return fmt.Sprintf("the latest %d of %d ", l.total, m.view.Detail.Decided)
	}
	return ""
}

// view draws the heading and the rows that have a place in height lines.
func (l *list) view(m *model, height int) []string {
	if m.view.Detail == nil {
		note := m.note
		if note == "" {
			note = "addresses and accounts are shown with the admin token only"
		}
		return wrapped(m.plain(note), m.width)
	}
	widths := l.widths(m)
	lines := []string{l.line(m, widths, l.headings(m), bold)}
	if len(l.rows) == 0 {
		return append(lines, faint.Render("none"))
	}
	height = max(height-1, 1)
	l.offset = min(max(l.offset, l.cursor-height+1, 0), l.cursor, max(len(l.rows)-height, 0))
	for i := l.offset; i < min(l.offset+height, len(l.rows)); i++ {
		style := lipgloss.NewStyle()
		if i == l.cursor && !m.once {
			style = selected
		}
		lines = append(lines, l.line(m, widths, l.rows[i].cells, style))
	}
	return lines
}

// headings are the titles of the columns, with a mark at the one that is sorted by.
func (l *list) headings(m *model) []cell {
	t, o := tables[l.table], l.orders[l.table]
	cells := make([]cell, len(t.columns))
	for i, c := range t.columns {
		cells[i].text = c.title
		if o.column == i+1 {
			cells[i].text += m.up
			if o.descending(t) {
				cells[i].text = c.title + m.down
			}
		}
	}
	return cells
}

// widths are those of the columns; 0 for one that is not shown. A column is as wide as
// its widest cell, and the one without a limit takes what is left.
func (l *list) widths(m *model) []int {
	columns := tables[l.table].columns
	widths := make([]int, len(columns))
	left, open := m.width, 0
	for i, c := range columns {
		if c.from > m.width {
			continue
		}
		widths[i] = ansi.StringWidth(c.title) + 1
		for _, r := range l.rows {
			widths[i] = max(widths[i], ansi.StringWidth(r.cells[i].text))
		}
		if c.max == 0 {
			open = i
			left-- // the space after it
			continue
		}
		widths[i] = min(widths[i], max(c.max, len(c.title)+1))
		left -= widths[i] + 1
	}
	widths[open] = max(left, len(columns[open].title)+1, 8)
	return widths
}

// line draws cells beside each other.
func (l *list) line(m *model, widths []int, cells []cell, style lipgloss.Style) string {
	var parts []string
	for i, c := range cells {
		if widths[i] > 0 {
			parts = append(parts, m.fit(c.text, widths[i], tables[l.table].columns[i].number))
		}
	}
	return style.Render(m.fit(strings.Join(parts, " "), m.width, false))
}
