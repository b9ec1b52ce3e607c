package top

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/view"
)

// ready returns a model that has seen the View of f.
func ready(t *testing.T, f *fake, width, height int) *model {
	t.Helper()
	m := newModel(t.Context(), f.options(t))
	m.width, m.height = width, height
	m.Update(viewMsg{at: now, view: f.view, role: "operator"})
	return m
}

// named are the keys that are no characters.
var named = map[string]tea.KeyPressMsg{
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown},
	"home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd}, "tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift},
	"left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "backspace": {Code: tea.KeyBackspace},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+u": {Code: 'u', Mod: tea.ModCtrl}, "ctrl+z": {Code: 'z', Mod: tea.ModCtrl},
	"space": {Code: ' ', Text: " "},
}

// press presses keys, which are separated by spaces, and does what they cause. It reports
// whether the model wants to quit.
func press(m *model, keys string) (quit bool) {
	for name := range strings.FieldsSeq(keys) {
		k, ok := named[name]
		if !ok {
			k = tea.KeyPressMsg{Code: rune(name[0]), Text: name}
		}
		_, cmd := m.Update(k)
		for cmd != nil {
			msg := cmd()
			if _, ok := msg.(tea.QuitMsg); ok {
				return true
			}
			_, cmd = m.Update(msg)
		}
	}
	return false
}

// names are the first cells of the rows that are shown, the selected one in brackets.
func (m *model) names() string {
	var names []string
	for i, r := range m.list.rows {
		name := r.cells[0].text
		if i == m.list.cursor {
			name = "[" + name + "]"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// TestKeysChooseRows in tables, by sorting, filtering and moving.
func TestKeysChooseRows(t *testing.T) {
	const a, b, c = "203.0.113.7", "2001:db8:aaaa:bbbb::/64", "198.51.100.99"
	for keys, want := range map[string]struct{ table, rows string }{
		"":                          {"sources", "[" + a + "] " + b + " " + c},
		"down":                      {"sources", a + " [" + b + "] " + c},
		"j j j j k":                 {"sources", a + " [" + b + "] " + c},
		"end home":                  {"sources", "[" + a + "] " + b + " " + c},
		"G":                         {"sources", a + " " + b + " [" + c + "]"},
		"pgdown pgup":               {"sources", "[" + a + "] " + b + " " + c},
		"> ":                        {"sources", "[" + c + "] " + b + " " + a},
		"> >":                       {"sources", "[" + a + "] " + c + " " + b},
		"> > o":                     {"sources", "[" + b + "] " + c + " " + a},
		"> > > > <":                 {"sources", "[" + b + "] " + a + " " + c}, // by OK, the two others as they were
		"> <":                       {"sources", "[" + a + "] " + b + " " + c},
		"< ":                        {"sources", "[" + a + "] " + b + " " + c}, // by the latest
		"o":                         {"sources", "[" + c + "] " + b + " " + a},
		"down > >":                  {"sources", a + " " + c + " [" + b + "]"}, // follows the row
		"/ 2 0 0":                   {"sources", "[" + b + "]"},
		"/ D B 8 enter":             {"sources", "[" + b + "]"},
		"/ D B 8 enter esc":         {"sources", "[" + a + "] " + b + " " + c},
		"/ x y":                     {"sources", ""},
		"/ x y backspace backspace": {"sources", "[" + a + "] " + b + " " + c},
		"/ x y ctrl+u":              {"sources", "[" + a + "] " + b + " " + c},
		"/ x esc":                   {"sources", "[" + a + "] " + b + " " + c},
		"/ r e p e a t":             {"sources", "[" + c + "]"},
		"tab":                       {"networks", "[203.0.113.0/24]"},
		"right right left":          {"networks", "[203.0.113.0/24]"},
		"3":                         {"accounts", "[info@example.org]"},
		"4":                         {"refusals", "[3s]"},
		"5":                         {"incidents", "[20261127-1409]"},
		"6":                         {"decisions", "[k3f] z9q"},
		"6 down 1 6":                {"decisions", "[k3f] z9q"},
		"shift+tab":                 {"decisions", "[k3f] z9q"},
		"6 tab":                     {"sources", "[" + a + "] " + b + " " + c},
		"0 7 9 x":                   {"sources", "[" + a + "] " + b + " " + c},
	} {
		m := ready(t, newFake(t), 100, 30)
		if press(m, keys) {
			t.Errorf("%q: quits", keys)
		}
		if got := tables[m.list.table].name; got != want.table || m.names() != want.rows {
			t.Errorf("%q: got %s %s, want %s %s", keys, got, m.names(), want.table, want.rows)
		}
		m.screen() // does not panic
	}
}

// TestKeysAct: what each key sends to the gateway, and what is shown then.
func TestKeysAct(t *testing.T) {
	for keys, want := range map[string]struct{ sent, shown string }{
		"b":             {"", "block 203.0.113.7 for 1h? [y/n]"},
		"b n":           {"", "nothing was changed"},
		"b esc":         {"", "nothing was changed"},
		"b q x":         {"", "block 203.0.113.7 for 1h? [y/n]"},
		"b y":           {"block 203.0.113.7 for 1h by anna force false", "1 connection closed, 2 known users from there in the last day; MODE is observe"},
		"b y j":         {"block 203.0.113.7 for 1h by anna force false", "?:help"},
		"2 b y":         {"block 203.0.113.0/24 for 1h by anna force false", "block 203.0.113.0/24 until "},
		"a y":           {"allow 203.0.113.7 for 8h by anna force false", "allow 203.0.113.7 until "},
		"r y":           {"release 203.0.113.7 by anna", "released 203.0.113.7: 3 buckets with denials, 0 decisions ended; still blocked by 203.0.113.0/24"},
		"3 r y":         {"release info@example.org by anna", "released info@example.org"},
		"3 b":           {"", "nothing to block is selected"},
		"3 a":           {"", "nothing to allow is selected"},
		"4 b y":         {"block 203.0.113.7 for 1h by anna force false", "block 203.0.113.7 until "},
		"4 e":           {"explain 7Qx2", "7Qx2 is limited by the rule source."},
		"5 r":           {"", "nothing to release is selected"},
		"5 e":           {"", "open  attack  detected  (postern)"},
		"5 enter q":     {"", "[5 incidents]"},
		"6 r y":         {"end k3f by anna", "ended: block 203.0.113.7 until 15:25"},
		"6 down r y":    {"end z9q by anna", "ended: allow 192.0.2.0/24 until it is ended"},
		"6 e":           {"explain 203.0.113.7", "$ postern block 203.0.113.7"},
		"e":             {"explain 203.0.113.7", "203.0.113.7 (source)"},
		"e down g end":  {"explain 203.0.113.7", "7Qx2  203.0.113.7  source  refused"},
		"e esc":         {"explain 203.0.113.7", "[1 sources]"},
		"/ x x x enter": {"", "none"},
		"/ x x enter b": {"", "nothing to block is selected"},
		"/ x x enter e": {"", "none"},
		"?":             {"", "Ctrl-C"},
		"? q":           {"", "[1 sources]"},
	} {
		f := newFake(t)
		m := ready(t, f, 120, 40)
		if press(m, keys) {
			t.Errorf("%q: quits", keys)
		}
		if got := strings.Join(f.requests(), "; "); got != want.sent {
			t.Errorf("%q: got %q, want %q", keys, got, want.sent)
		}
		screen := ansi.Strip(m.screen())
		if !strings.Contains(screen, want.shown) || hasHostile(screen) {
			t.Errorf("%q: got no %q in\n%s", keys, want.shown, screen)
		}
	}
}

// TestActionNeedsForce shows the reason and asks again.
func TestActionNeedsForce(t *testing.T) {
	for keys, want := range map[string]struct{ sent, shown string }{
		"b y":   {"block 203.0.113.7 for 1h by anna force false", "12 known users logged in from there; block 203.0.113.7 all the same? [y/n]"},
		"b y n": {"block 203.0.113.7 for 1h by anna force false", "nothing was changed"},
		"b y y": {"block 203.0.113.7 for 1h by anna force false; block 203.0.113.7 for 1h by anna force true", "block 203.0.113.7 until "},
	} {
		f := newFake(t)
		f.refuse = decisions.NeedsForceError{Reason: "12 known users logged in from there", Users: 12}
		m := ready(t, f, 120, 40)
		press(m, keys)
		if got, screen := strings.Join(f.requests(), "; "), ansi.Strip(m.screen()); got != want.sent || !strings.Contains(screen, want.shown) {
			t.Errorf("%q: got %q\n%s", keys, got, screen)
		}
	}
}

// TestActionFails shows the error.
func TestActionFails(t *testing.T) {
	f := newFake(t)
	f.refuse = decisions.RequestError{Err: errors.New("got \x1b[2J, want a network")}
	m := ready(t, f, 120, 40)
	press(m, "b y")
	if screen := ansi.Strip(m.screen()); !strings.Contains(screen, "block 203.0.113.7: got") || hasHostile(screen) {
		t.Errorf("got\n%s", screen)
	}
}

// TestQuestionKeepsSubject while the table changes.
func TestQuestionKeepsSubject(t *testing.T) {
	f := newFake(t)
	m := ready(t, f, 120, 40)
	press(m, "b")
	f.change(func(v *view.View) { slices.Reverse(v.Detail.Top.Sources) })
	m.Update(viewMsg{at: now, view: f.view, role: "operator"})
	press(m, "y")
	if got := f.requests(); len(got) != 1 || !strings.HasPrefix(got[0], "block 203.0.113.7 ") {
		t.Errorf("got %q", got)
	}
}

// TestActionsNeedOperator: neither a reader nor a user without a token is offered any.
func TestActionsNeedOperator(t *testing.T) {
	f := newFake(t)
	for name, tt := range map[string]struct {
		change func(*model)
		want   string
	}{
		"reader":     {func(m *model) { m.role = "reader" }, "this needs the admin token: got the read-only one"},
		"no token":   {func(m *model) { m.act, m.note = false, "read the admin token: permission denied" }, "this needs the admin token: read the admin token: permission denied"},
		"no details": {func(m *model) { m.view.Detail = nil }, "this needs the admin token"},
	} {
		m := ready(t, f, 120, 40)
		view := *f.view
		m.view = &view
		tt.change(m)
		if screen := ansi.Strip(m.screen()); strings.Contains(screen, "b:block") {
			t.Errorf("%s: got\n%s", name, screen)
		}
		for _, key := range []string{"b y", "a y", "r y"} {
			press(m, key)
			if screen := ansi.Strip(m.screen()); m.prompt != nil || key != "b y" && !strings.Contains(screen, "?:help") {
				t.Errorf("%s %s: got\n%s", name, key, screen)
			}
			press(m, key[:1])
			if screen := ansi.Strip(m.screen()); !strings.Contains(screen, tt.want) {
				t.Errorf("%s %s: got\n%s", name, key, screen)
			}
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// TestRoleOfToken is what the gateway says.
func TestRoleOfToken(t *testing.T) {
	for role, change := range map[string]func(*fake){
		"operator": func(*fake) {},
		"reader":   func(f *fake) { f.c.Admin.TokenFile = f.c.Admin.ReadTokenFile },
	} {
		f := newFake(t)
		change(f)
		m := newModel(t.Context(), f.options(t))
		m.Update(m.ask()())
		if m.role != role || m.view == nil || m.view.Detail == nil {
			t.Errorf("%s: got %q, %s", role, m.role, m.failure)
		}
	}
}

// TestQuits on q and Ctrl-C, the latter from everywhere.
func TestQuits(t *testing.T) {
	for keys, want := range map[string]bool{
		"q": true, "ctrl+c": true, "b ctrl+c": true, "? ctrl+c": true, "/ ctrl+c": true, "e q q": true, "/ q": false, "b q": false, "? q": false, "esc": false,
	} {
		if got := press(ready(t, newFake(t), 80, 24), keys); got != want {
			t.Errorf("%q: got %v", keys, got)
		}
	}
}

// TestConnectionGone says so with the age of the data, and asks once in an interval.
func TestConnectionGone(t *testing.T) {
	f := newFake(t)
	m := ready(t, f, 100, 24)
	failed := viewMsg{at: now.Add(12 * time.Second), err: errors.New("ask 127.0.0.1:9143: connect: connection \x1b[2Jrefused")}
	m.Update(failed)
	m.Update(tickMsg(now.Add(75 * time.Second)))
	if !m.asking || m.ask() != nil {
		t.Error("does not ask, or twice")
	}
	screen := ansi.Strip(m.screen())
	for _, want := range []string{"NO CONNECTION: data are 1m old, trying again (ask 127.0.0.1:9143: connect: connection ", "203.0.113.7"} {
		if !strings.Contains(screen, want) || hasHostile(screen) {
			t.Errorf("got no %q in\n%s", want, screen)
		}
	}
	m.Update(viewMsg{at: now.Add(80 * time.Second), view: f.view})
	if screen := ansi.Strip(m.screen()); strings.Contains(screen, "NO CONNECTION") {
		t.Errorf("got\n%s", screen)
	}
}

// TestNoConnectionYet shows the error instead of data.
func TestNoConnectionYet(t *testing.T) {
	m := newModel(t.Context(), newFake(t).options(t))
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	if screen := m.screen(); !strings.Contains(screen, "asking the running postern") {
		t.Errorf("got %q", screen)
	}
	m.Update(viewMsg{at: now, err: errors.New("connection refused")})
	if screen := m.screen(); !strings.Contains(screen, "connection refused; trying again") {
		t.Errorf("got %q", screen)
	}
	if press(m, "b a r e 2 > < / x enter") || m.prompt != nil {
		t.Error("acts without data")
	}
}

// TestScrollsToSelected in a table with more rows than lines.
func TestScrollsToSelected(t *testing.T) {
	f := newFake(t)
	f.change(func(v *view.View) {
		for i := range 200 {
			row := v.Detail.Top.Sources[0]
			row.Name = fmt.Sprintf("192.0.2.%d", i)
			v.Detail.Top.Sources = append(v.Detail.Top.Sources, row)
		}
	})
	m := ready(t, f, 80, 24)
	for keys, want := range map[string]string{"end": "192.0.2.199", "end up": "192.0.2.198", "home": "203.0.113.7", "home pgdown pgdown": "192.0.2.21"} {
		press(m, keys)
		if screen := ansi.Strip(m.screen()); !strings.Contains(screen, want) {
			t.Errorf("%s: got no %s in\n%s", keys, want, screen)
		}
	}
}

// TestSummary names what is unusual.
func TestSummary(t *testing.T) {
	for want, change := range map[string]func(*view.View){
		"none; normal since ":                      func(v *view.View) { v.State.Verdict, v.State.Incident = "normal", nil },
		"none seen; the detector has learned 40 %": func(v *view.View) { v.State.Verdict, v.State.Learned = "learning", 0.4 },
		"slow spray since 14:07 (23m)":             func(v *view.View) { v.State.Verdict = "slow_spray" },
		"detected (auth fault since 14:07)":        func(v *view.View) { v.State.Incident.Class = "auth_fault" },
		"no logins by known users over 5 min": func(v *view.View) {
			v.State.Known.Good, v.State.Known.Slow, v.State.Known.Limited, v.State.Known.Failed = 0, 0, 0, 0
		},
		"only observing: verdicts are not enforced; ":           func(v *view.View) { v.Mode.Observe, v.Mode.Setting = true, true },
		"not enforced until 15:00 (ole)":                        func(v *view.View) { v.Mode = view.Mode{Observe: true, Until: now.Add(30 * time.Minute), By: "ole"} },
		"enforcing until 15:00 (ole)":                           func(v *view.View) { v.Mode = view.Mode{Setting: true, Until: now.Add(30 * time.Minute), By: "ole"} },
		"the rule global is off; waiting: 0 known, 23 stranger": func(v *view.View) { v.Lanes.Size = 0 },
		"Backends  none":                                        func(v *view.View) { v.Backends, v.Lanes = nil, view.Lanes{} },
	} {
		f := newFake(t)
		f.change(change)
		if screen := ansi.Strip(ready(t, f, 150, 50).screen()); !strings.Contains(screen, want) {
			t.Errorf("got no %q in\n%s", want, screen)
		}
	}
}

// TestClientErrorsStayShort: a request that is refused is one line.
func TestClientErrorsStayShort(t *testing.T) {
	f := newFake(t)
	client, err := admin.NewClient(f.c, nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	m := ready(t, f, 120, 40)
	m.client = client
	press(m, "e")
	if screen := ansi.Strip(m.screen()); !strings.Contains(screen, "explain 203.0.113.7: this needs the token in POSTERN_ADMIN_TOKEN_FILE") {
		t.Errorf("got\n%s", screen)
	}
}
