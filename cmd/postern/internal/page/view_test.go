package page

import (
	"testing"
	"time"

	"postern/cmd/postern/internal/browser"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/view"
)

func testGlance(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.hasTexts("#status", "▲ Warning", "Attention: attack since 11:05 UTC, known users 99.6 % served over 5 min.")
	p.hasTexts("#served", "99.5 %")
	p.hasTexts("#served-more", "1,212 of 1,217 logins", "9 slow, 4 refused, 1 failed")
	p.hasTexts("#attack", "Attack")
	p.hasTexts("#attack-more", "since", "43 min", "excess 62 %")
	p.hasTexts("#doing", "Verdicts are enforced", "Limits for strangers are tightened", "50 of 62 login tokens left are reserved", "Waiting: 0 known, 40 strangers; 412 in the tarpit", "Counts together with 1 other gateway")
	p.hasTexts("#incident-more", "20261127-1105", "acknowledged by anna")
	p.hasTexts("#host", "mail.example")
	p.hasTexts("#role", "Operator")
	if bottom := browser.Eval[float64](p.Tab, `document.querySelector('#glance').getBoundingClientRect().bottom`); bottom > 400 {
		t.Errorf("the glance ends at %v pixels, want 400", bottom)
	}
	p.isShown(false, "#notice")

	p.g.set(func() {
		p.g.change = func(v *view.View) {
			v.Level, v.Text, v.Tight = "OK", "known users 100.0 % served over 5 min, 4 of 4 backends up", false
			v.State.Verdict, v.State.Incident, v.State.Known = "normal", nil, monitor.Known{Good: 3}
			v.State.Sharing = nil
			v.Lanes, v.Tarpit = view.Lanes{}, view.Place{}
		}
	})
	p.awaitText("#status", "✓ OK")
	p.hasTexts("#status", "All is well: known users 100.0 % served")
	p.hasTexts("#served", "100 %")
	p.hasTexts("#attack", "No attack")
	p.hasTexts("#incident-now", "None open")
	p.hasTexts("#doing", "Usual limits", "No limit on all logins", "Nobody waits")
	p.isShown(false, "#sharing")
	p.Screenshot("ok", false)

	p.g.set(func() {
		p.g.change = func(v *view.View) {
			v.Level, v.Text = "CRITICAL", "not ready: no imap backend is up"
			v.Mode = view.Mode{Observe: true, Until: time.Now().Add(time.Hour), By: "bo"}
			v.State.Known = monitor.Known{Good: 80, Limited: 20}
		}
	})
	p.awaitText("#status", "✕ Critical")
	p.hasTexts("#status", "Act now: not ready: no imap backend is up.")
	p.hasTexts("#notice", "Verdicts are reported, and nothing is refused until", "by bo")
	p.hasTexts("#mode-now", "now observed until")
	p.Screenshot("critical", false)
}

func testPanels(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	for selector, texts := range map[string][]string{
		"#outcomes":     {"Accepted, known users", "Accepted, others", "Denied by a backend", "Answered as repeats", "Refused by postern", "Without an answer", "Peak"},
		"#places":       {"Login tokens in use", "139 / 200", "50 / 200", "38", "412 / 2,000", "5,650 / 20,000", "48,211 / 500,000", "21,034"},
		"#backends":     {"10.0.0.11:143", "✓ up", "4 / 32", "5,120", "✕ down: dial tcp 10.0.0.12:143: connect: connection refused", "31 / 32"},
		"#listeners":    {"imaps", "[::]:993", "5,300", "2,210", "from some networks"},
		"#generations":  {"4,011", "480", "accepts", "1.8.0", "1,121", "drains until", "1.7.2"},
		"#sharing":      {"gw1", "this one", "alerts people", "gw2", "alone", "42 s ago", "1.7.2", "Mode: shared, through valkeys://engine.example:6379, last receipt 1 s ago", "50.0 %", "1,300 records lost", "XADD: timeout"},
		"#clients":      {"denied, delayed or refused in the last 15 min"},
		"#sources":      {"203.0.113.1", "203.0.113.8", "network", "known", "Show all 50"},
		"#networks":     {"198.51.1.0/24", "Accounts"},
		"#accounts":     {"user4@example.org", "Networks", "Forget"},
		"#refusal-list": {"k7Qx", "imaps", "203.0.113.1", "bucket of the source is empty: POSTERN_LIMIT_SOURCE=20/1h", "refused (observed)", "1.2 s"},
		"#incidents":    {"Attack: mitigating", "20261127-1105", "acknowledged by anna", "with Backend fault", "peak 5400 logins a minute", "Reconnect storm: resolved", "3 events"},
		"#decisions":    {"Block or allow a network", "Verdicts", "None."},
		"footer":        {"1.8.0", "Times are those of this browser"},
	} {
		p.hasTexts(selector, texts...)
	}
	count := func(want int) {
		t.Helper()
		if got := browser.Eval[int](p.Tab, `document.querySelectorAll('#sources tbody tr').length`); got != want {
			t.Errorf("got %d rows, want %d", got, want)
		}
	}
	count(8)
	p.Click("#sources .below button")
	count(50)
	p.hasTexts("#sources", "203.0.113.50", "Show 8")
	p.Click("#sources .below button")
	count(8)
	p.Click(".incident summary")
	p.hasTexts(".incident .events", "<b>called</b> the provider", "by anna")
	p.MoveTo("#chart-others canvas")
	p.awaitText("#outcomes .at", "refused")
	testChartMoves(p)
}

// testChartMoves: the charts have five minutes of each outcome, and go on.
func testChartMoves(p *tester) {
	p.t.Helper()
	const painted = `document.querySelector('#chart-others canvas').toDataURL()`
	browser.Eval[browser.Void](p.Tab, `window.painted = `+painted)
	p.Await("another picture", painted+` !== window.painted`)
}

// testHostileNames: what a client chose is text, whatever is in it.
func testHostileNames(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	names := browser.Eval[[]string](p.Tab, `[...document.querySelectorAll('#accounts tbody th')].slice(0, 4).map(th => th.textContent)`)
	want := []string{hostile[0], "‹U+202E›gnp.exe‹U+2066›user", hostile[2], hostile[3]}
	for i := range want {
		if names[i] != want[i] {
			t.Errorf("got %q, want %q", names[i], want[i])
		}
	}
	if n := browser.Eval[int](p.Tab, `document.querySelectorAll('img, main script').length`); n != 0 {
		t.Errorf("%d elements were made of names", n)
	}
	p.Click("#accounts tbody tr:nth-child(1) .actions button:nth-child(1)")
	p.awaitText("#answer h3", "Account "+hostile[0])
	p.Click("#accounts tbody tr:nth-child(2) .actions button:nth-child(2)")
	p.awaitDone("Release ‹U+202E›gnp.exe‹U+2066›user")
	p.called("anna: release " + hostile[1])
	p.Screenshot("names", true)
	if width := browser.Eval[int](p.Tab, `document.documentElement.scrollWidth`); width > int(screen.Width) {
		t.Errorf("got a width of %d", width)
	}
	p.Show(browser.Screen{Width: 360, Height: 740})
	p.Await("no horizontal scrolling", `document.documentElement.scrollWidth <= 360`)
}

// testOrderIsHeld: a row does not move away from under the pointer, or from the keyboard.
func testOrderIsHeld(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	const first = `document.querySelector('#sources tbody th').textContent`
	p.MoveTo("#sources tbody tr:nth-child(1) button:nth-child(2)")
	p.g.set(func() {
		p.g.change = func(v *view.View) {
			if v.Detail == nil {
				return
			}
			s := v.Detail.Top.Sources
			s[0], s[1] = s[1], s[0]
			s[1].Attempts = 4321
		}
	})
	p.awaitText("#sources tbody tr", "4,321")
	p.Await("a note about it", visible("#sources .below span"))
	if got := browser.Eval[string](p.Tab, first); got != "203.0.113.1" {
		t.Errorf("got %s first under the pointer", got)
	}
	p.MoveAway(5, 5)
	p.Await("the new order", first+` === '203.0.113.2'`)

	browser.Eval[browser.Void](p.Tab, `document.querySelector('#sources tbody button').focus()`)
	p.Press(browser.Tabulator)
	p.g.set(func() { p.g.change = func(*view.View) {} })
	p.Await("a note about it", visible("#sources .below span"))
	p.Await("other figures", `!document.querySelector('#sources tbody').innerText.includes('4,321')`)
	if got := browser.Eval[string](p.Tab, first); got != "203.0.113.2" {
		t.Errorf("got %s first under the focus", got)
	}
}
