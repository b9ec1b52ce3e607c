package top

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charm.land/bubbles/v2/viewport"
	tea "charm.land/bubbletea/v2"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/view"
)

// model is what is on the screen. Only messages change it, so it has no clock.
type model struct {
	ctx    context.Context
	client *admin.Client
	glyphs
	act      bool
	note, by string
	role     string // of the token: operator, reader or none; empty if it is not known yet
	interval time.Duration
	once     bool // one screen without keys

	width, height int
	now           time.Time // of the latest message that has a time

	view    *view.View // the latest one; nil before the first
	fetched time.Time  // when
	failure string     // why the latest request failed; empty if it did not
	asking  bool       // a request is under way

	list   list
	typing bool    // keys change the filter
	prompt *prompt // nil if nothing is asked
	acting bool    // an action is under way
	notice string  // about the latest action, until the next key
	pane   *pane   // covers the table; nil if there is none
}

// pane is a text that can be scrolled.
type pane struct {
	title string
	lines []string // to be wrapped
	viewport.Model
}

// newModel returns a model that has seen nothing yet.
func newModel(ctx context.Context, o Options) *model {
	return &model{
		ctx: ctx, client: o.Client, glyphs: glyphsFor(o.Environ), act: o.Act, note: o.Note, by: o.By, interval: o.Interval,
		list: list{orders: make([]order, len(tables))},
	}
}

// tickMsg comes once in each interval.
type tickMsg time.Time

// viewMsg is the end of a request.
type viewMsg struct {
	at   time.Time
	view *view.View
	role string // empty if it is not known
	err  error
}

// Init starts the first request.
func (m *model) Init() tea.Cmd { return tea.Batch(m.ask(), m.tick()) }

// tick waits for the next interval.
func (m *model) tick() tea.Cmd {
	return tea.Tick(m.interval, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// ask requests a View, unless a request is under way.
func (m *model) ask() tea.Cmd {
	if m.asking {
		return nil
	}
	m.asking = true
	ctx, c, role := m.ctx, m.client, m.role
	return func() tea.Msg {
		msg := viewMsg{view: new(view.View), role: role}
		msg.err = c.GetJSON(ctx, view.Path, msg.view)
		if msg.err == nil && role == "" {
			var s admin.Session
			if c.GetJSON(ctx, admin.SessionPath, &s) == nil { // else the answer to an action says what it needs
				msg.role = s.Role
			}
		}
		msg.at = time.Now()
		return msg
	}
}

// received takes the answer to a request.
func (m *model) received(msg viewMsg) {
	m.asking, m.now = false, msg.at
	if msg.err != nil {
		m.failure = msg.err.Error()
		return
	}
	m.view, m.fetched, m.failure, m.role = msg.view, msg.at, "", msg.role
	m.list.update(m)
}

// Update changes the model by one message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.layPane()
	case tickMsg:
		m.now = time.Time(msg)
		return m, tea.Batch(m.ask(), m.tick())
	case viewMsg:
		m.received(msg)
	case doneMsg:
		return m, m.done(msg)
	case explainedMsg:
		m.notice = ""
		if msg.err != nil {
			m.notice = fmt.Sprintf("explain %s: %v", msg.about, msg.err)
			break
		}
		m.open(fmt.Sprintf("%s (%s)", msg.about, msg.e.Subject), explanationText(msg.e))
	case tea.PasteMsg:
		if m.typing {
			m.setFilter(m.list.filter + strings.Join(strings.Fields(msg.Content), " "))
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// open shows a text in a pane.
func (m *model) open(title string, lines []string) {
	m.pane = &pane{title: title, lines: lines, Model: viewport.New()}
	m.layPane()
}

// layPane wraps the text of the pane for the size of the screen.
func (m *model) layPane() {
	if m.pane == nil {
		return
	}
	var lines []string
	for _, line := range m.pane.lines {
		text := m.plain(line)
		indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
		for _, part := range wrapped(strings.TrimLeft(text, " "), m.width-len(indent)) {
			lines = append(lines, indent+part)
		}
	}
	m.pane.SetWidth(m.width)
	m.pane.SetHeight(max(m.height-2, 1))
	m.pane.SetContentLines(lines)
}

// The least size of a screen that can show something.
const (
	minWidth  = 30
	minHeight = 8
)

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	return v
}

// screen is the text of the screen, with styles.
func (m *model) screen() string {
	switch {
	case m.width < minWidth || m.height < minHeight:
		return m.cut(fmt.Sprintf("want %dx%d", minWidth, minHeight), m.width)
	case m.pane != nil:
		return bold.Render(m.fit(m.plain(m.pane.title), m.width, false)) + "\n" + m.pane.View() + "\n" +
			faint.Render(m.cut("up down pgup pgdn: scroll  q esc: back", m.width))
	}
	footer := m.footer()
	if m.view == nil {
		lines := append([]string{bold.Render("postern top")}, wrapped(m.plain(m.waiting()), m.width)...)
		return strings.Join(append(lines, footer...), "\n")
	}
	const rowsMin = 3
	lines := m.summary(m.height - len(footer) - 2 - rowsMin)
	if m.failure != "" {
		lines[0] = m.outdated()
	}
	lines = append(lines, m.list.tabs(m))
	rows := m.list.view(m, m.height-len(footer)-len(lines))
	lines = append(lines, rows...)
	for len(lines) < m.height-len(footer) && !m.once {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, footer...), "\n")
}

// waiting is shown before the first View.
func (m *model) waiting() string {
	if m.failure == "" {
		return "asking the running postern" + m.ellipsis
	}
	return m.failure + "; trying again"
}

// outdated is the first line while the gateway does not answer.
func (m *model) outdated() string {
	return critical.Render(m.fit(m.plain(fmt.Sprintf("NO CONNECTION: data are %s old, trying again (%s)", age(m.now.Sub(m.fetched)), m.failure)), m.width, false))
}

// footer has the question, the result of an action, the filter or the help, whichever
// comes first.
func (m *model) footer() []string {
	switch {
	case m.once:
		return nil
	case m.prompt != nil:
		return m.few(warning.Render, m.prompt.question)
	case m.notice != "":
		return m.few(bold.Render, m.notice)
	case m.typing && m.list.filter == "":
		return []string{m.cut("/ type what the rows must contain", m.width)}
	case m.typing:
		return []string{m.cut(m.list.status(m)+" enter: keep  esc: all rows", m.width)}
	}
	help := "?:help q:quit tab:table <>:sort /:filter e:explain"
	if m.mayAct() {
		help += " b:block r:release a:allow"
	}
	status := m.list.status(m)
	return []string{m.cut(bold.Render(status)+faint.Render(help), m.width)}
}

// few wraps a text into a few lines at most.
func (m *model) few(style func(...string) string, text string) []string {
	const most = 4
	lines := wrapped(m.plain(text), m.width)
	if len(lines) > most { // keep the end, which has the question
		lines = append(lines[:most-1:most-1], lines[len(lines)-1])
	}
	for i, line := range lines {
		lines[i] = style(line)
	}
	return lines
}
