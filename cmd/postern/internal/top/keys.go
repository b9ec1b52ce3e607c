package top

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"postern/cmd/postern/internal/admin"
	"postern/limiter/watch/incident"
)

// helpText explains the keys and the terms on the screen.
const helpText = `Keys
  q, Ctrl-C              quit
  1 to 6, tab, shift-tab choose a table
  up, down, pgup, pgdn, home, end
                         select a row; also k, j, g, G
  < and >                sort by the column before or after
  o                      reverse the order
  /                      show only rows that contain a text; esc: all rows
  e, enter               explain the selected row; of an incident: its events
  b                      block the selected address or network for an hour
  a                      allow it for 8 hours
  r                      release it: forget denials, end blocks; of a decision: end it
  Ctrl-Z                 suspend; fg resumes

Logins a second by outcome, over five minutes
  known                  accepted, of clients that were known
  stranger               accepted, of others
  denied                 by a backend: wrong password
  repeat                 the same wrong password again, answered without a backend
  refused                by postern
  void                   without an answer: a backend failed, or the client has gone
  The first figure is the mean of five seconds, the last one the highest of one second.

Lanes
  tokens left            logins that may reach the backends at once, and those of them
                         that only the known get
  waiting                attempts that wait for one
  waiting for a slot     attempts that wait for a login slot of a backend

Tables
  sources, networks and accounts are those with most attempts that were not accepted.
  OK are accepted, DENIED by a backend or as a repeat, REFUSED by postern, WAITED delayed.
  ACCTS and NETS count different accounts or networks.
  KNOWN: a known user logged in from there, or to it. A block would hit them.`

// key acts on a key.
func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case key == "ctrl+z":
		return tea.Suspend
	case m.prompt != nil:
		return m.answer(key)
	case m.pane != nil:
		return m.scroll(msg)
	case m.typing:
		m.typeFilter(msg)
		return nil
	}
	m.notice = ""
	return m.browse(key)
}

// browse acts on a key while the tables are shown.
func (m *model) browse(key string) tea.Cmd {
	page := max(m.height/2, 1)
	switch key {
	case "q":
		return tea.Quit
	case "?", "h":
		m.open("postern top", strings.Split(helpText, "\n"))
	case "/":
		m.typing = true
	case "esc":
		m.setFilter("")
	case "up", "k":
		m.list.move(-1)
	case "down", "j":
		m.list.move(1)
	case "pgup":
		m.list.move(-page)
	case "pgdown", "space":
		m.list.move(page)
	case "home", "g":
		m.list.move(-len(m.list.rows))
	case "end", "G":
		m.list.move(len(m.list.rows))
	case "e", "enter":
		return m.explainSelected()
	case "b":
		m.propose(block)
	case "a":
		m.propose(allow)
	case "r":
		m.propose(release)
	default:
		m.arrange(key)
	}
	return nil
}

// arrange acts on a key that chooses or sorts a table.
func (m *model) arrange(key string) {
	switch {
	case key == "tab" || key == "right":
		m.list.choose(m.list.table + 1)
	case key == "shift+tab" || key == "left":
		m.list.choose(m.list.table - 1)
	case len(key) == 1 && key[0] >= '1' && int(key[0]-'1') < len(tables):
		m.list.choose(int(key[0] - '1'))
	case key == "<":
		m.list.sortBy(-1)
	case key == ">":
		m.list.sortBy(1)
	case key == "o":
		m.list.reverse()
	}
	m.list.update(m)
}

// mayAct reports whether the user may block, allow and release.
func (m *model) mayAct() bool {
	return m.act && m.role != admin.ReaderRole && m.view != nil && m.view.Detail != nil
}

// propose asks whether to act on the selected row. What is asked about does not change if
// the table does.
func (m *model) propose(v verb) {
	r, ok := m.list.selected()
	a := action{verb: v, subject: r.network, by: m.by}
	if v == release {
		a.subject = r.subject()
		if r.decision.ID != "" {
			a.verb, a.id, a.subject = end, r.decision.ID, decisionText(r.decision, m.view.Time)
		}
	}
	switch {
	case !m.mayAct():
		m.notice = "this needs the admin token"
		switch {
		case m.note != "":
			m.notice += ": " + m.note
		case m.role == admin.ReaderRole:
			m.notice += ": got the read-only one"
		}
	case m.acting:
		m.notice = "the last action is not done yet"
	case !ok || a.subject == "":
		m.notice = fmt.Sprintf("nothing to %s is selected", v)
	default:
		m.prompt = &prompt{a, a.question("")}
	}
}

// answer takes the answer to a question. Other keys than y, n and esc do nothing.
func (m *model) answer(key string) tea.Cmd {
	switch a := m.prompt.action; key {
	case "y", "Y":
		m.prompt, m.acting, m.notice = nil, true, fmt.Sprintf("%s %s%s", a.verb, a.subject, m.ellipsis)
		return a.do(m.ctx, m.client)
	case "n", "N", "esc":
		m.prompt, m.notice = nil, "nothing was changed"
	}
	return nil
}

// explainSelected explains the selected row.
func (m *model) explainSelected() tea.Cmd {
	r, ok := m.list.selected()
	if !ok {
		return nil
	}
	if r.about != "" {
		return m.explain(r.about)
	}
	all := m.view.Detail.Incidents
	if i := slices.IndexFunc(all, func(i incident.Incident) bool { return i.ID == r.key }); i >= 0 {
		m.open("incident "+r.key, incidentText(&all[i], m.view.Time))
	}
	return nil
}

// scroll acts on a key while a pane is shown.
func (m *model) scroll(msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case "q", "esc", "enter", "e", "?":
		m.pane = nil
		return nil
	case "home", "g":
		m.pane.GotoTop()
	case "end", "G":
		m.pane.GotoBottom()
	}
	var cmd tea.Cmd
	m.pane.Model, cmd = m.pane.Update(msg)
	return cmd
}

// filterMax is the longest filter, in octets.
const filterMax = 100

// typeFilter changes the filter by a key.
func (m *model) typeFilter(msg tea.KeyPressMsg) {
	filter := m.list.filter
	switch msg.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing = false
		m.setFilter("")
	case "ctrl+u":
		m.setFilter("")
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(filter)
		m.setFilter(filter[:len(filter)-n])
	default:
		m.setFilter(filter + msg.Text)
	}
}

// setFilter shows the rows that contain a text.
func (m *model) setFilter(filter string) {
	if len(filter) <= filterMax {
		m.list.filter = filter
		m.list.update(m)
	}
}
