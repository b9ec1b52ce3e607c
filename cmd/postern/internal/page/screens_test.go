package page

import (
	"fmt"
	"os"
	"testing"

	"postern/cmd/postern/internal/browser"
)

// testKeyboard: everything is reached with the keyboard, and what has the focus is visible.
func testKeyboard(t *testing.T, b *browser.Browser) {
	p := open(t, b, browser.Screen{Width: 1400, Height: 900, Calm: true}, operatorToken)
	browser.Eval[browser.Void](p.Tab, `document.activeElement.blur(); window.getSelection().removeAllRanges(); document.body.tabIndex = -1; document.body.focus()`)
	p.Press(browser.Tabulator)
	if got := browser.Eval[string](p.Tab, `document.activeElement.className`); got != "skip" {
		t.Errorf("got the first focus on %q, want the link to the content", got)
	}
	p.Await("the link in sight", `document.activeElement.getBoundingClientRect().top >= 0`)
	p.Press(browser.Enter)
	p.Await("the focus on the content", `document.activeElement.id === 'main'`)
	reached := map[string]bool{}
	for range 400 {
		p.Press(browser.Tabulator)
		at := browser.Eval[struct {
			Name, Outline string
			End           bool
		}](p.Tab, `(() => {
			const e = document.activeElement, style = getComputedStyle(e);
			return { Name: e.id || e.name || e.textContent, Outline: e === document.body ? 'auto' : style.outlineStyle + (parseFloat(style.outlineWidth) >= 2 ? '' : ' thin'), End: Boolean(e.closest('footer')) };
		})()`)
		reached[at.Name] = true
		if at.Outline != "solid" && at.Outline != "auto" {
			t.Errorf("%s: got the outline %q with the focus", at.Name, at.Outline)
		}
		if at.End {
			break
		}
	}
	for _, name := range []string{"about", "Explain", "Block 1 h", "Allow", "Release", "Forget", "report-incident", "Note…", "Resolve…", "network", "Decide", "Change", "Search all", "3 events"} {
		if !reached[name] {
			t.Errorf("%s is not reached with the keyboard", name)
		}
	}
	p.Fill("#about", "203.0.113.5")
	p.Press(browser.Enter)
	p.awaitText("#answer h3", "Source 203.0.113.5")
}

// testWidths: no horizontal scrolling on a telephone or a tablet, in light and dark.
func testWidths(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.g.set(func() { p.g.decisions = manyDecisions(3) })
	p.Click("#sources .actions button")
	p.Await("an answer", visible("#answer"))
	for i, width := range []int64{360, 360, 768, 1024, 1248, 1260, 1400, 1920} {
		dark := i%2 == 1
		p.Show(browser.Screen{Width: width, Height: 800, Dark: dark})
		p.Await(fmt.Sprintf("no horizontal scrolling at %d pixels", width), fmt.Sprintf(`innerWidth === %d && document.documentElement.scrollWidth <= %d`, width, width))
		paper := browser.Eval[string](p.Tab, `getComputedStyle(document.body).backgroundColor`)
		if want := map[bool]string{false: "rgb(244, 245, 246)", true: "rgb(18, 22, 26)"}[dark]; paper != want {
			t.Errorf("dark %v: got %s, want %s", dark, paper, want)
		}
		wide := browser.Eval[[]string](p.Tab, `[...document.querySelectorAll('.table')].filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.parentElement.id)`)
		if len(wide) > 0 {
			t.Errorf("at %d pixels the tables %q scroll", width, wide)
		}
		p.Screenshot(fmt.Sprintf("%d-%v", width, map[bool]string{false: "light", true: "dark"}[dark]), width == 360)
	}
}

// testAccessibility runs axe-core on each state of the page, in light and dark.
func testAccessibility(t *testing.T, b *browser.Browser) {
	axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, b, screen, "")
	browser.Eval[browser.Void](p.Tab, string(axe))
	check := func(state string, more ...browser.Screen) {
		t.Helper()
		for _, s := range append(more, browser.Screen{Width: 1400, Height: 900, Dark: true}, screen) {
			p.Show(s)
			p.Await("the screen", fmt.Sprintf(`innerWidth === %d`, s.Width))
			violations := browser.Eval[[]string](p.Tab, `axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.flatMap(v =>
				v.nodes.slice(0, 3).map(n => v.id + ': ' + n.html.slice(0, 200) + ' ' + n.failureSummary.replaceAll('\n', ' '))))`)
			for _, v := range violations {
				t.Errorf("%s, %d pixels, dark %v: %s", state, s.Width, s.Dark, v)
			}
		}
	}
	check("not logged in")
	p.login(operatorToken)
	p.Await("names", visible("#sources table"))
	p.g.set(func() { p.g.decisions = manyDecisions(3) })
	p.Click("#sources .actions button")
	p.Await("an answer", visible("#answer"))
	check("operator", browser.Screen{Width: 360, Height: 740})
	p.Click("#report-incident")
	check("dialog")
	p.Press(browser.Escape)
	p.g.set(func() { p.g.change = makeOK })
	p.awaitText("#status", "All is well")
	check("ok")
	p.g.stop()
	p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
	check("not live")
	p.g.start()
	p.awaitLive()
}

// testRenderTime measures what one view costs with 10,000 decisions and all rows shown. The
// bound is on CPU time, and generous: the machine may be busy, and slower for it.
func testRenderTime(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.g.set(func() { p.g.decisions = manyDecisions(10_000) })
	p.awaitText("#decided", "10,000")
	for _, table := range []string{"#sources", "#networks", "#accounts", "#refusal-list", "#decision-list"} {
		p.Click(table + " .below button")
	}
	if rows := browser.Eval[int](p.Tab, `document.querySelectorAll('tbody tr').length`); rows < 300 {
		t.Errorf("got %d rows, want 300", rows)
	}
	browser.Eval[browser.Void](p.Tab, `(() => {
		window.took = [];
		let painted;
		window.next = () => new Promise(resolve => { painted = resolve; });
		new PerformanceObserver(list => {
			window.took.push(...list.getEntriesByName('postern-show').map(e => e.duration));
			requestAnimationFrame(() => setTimeout(painted));
		}).observe({ type: 'measure' });
	})()`)
	before := p.Metrics()
	for range 30 {
		browser.Eval[browser.Void](p.Tab, `{ window.painted = window.next(); }`)
		p.g.set(func() {})
		browser.Eval[browser.Void](p.Tab, `window.painted`)
	}
	after := p.Metrics()
	took := browser.Eval[struct {
		N           float64
		Median, Max float64
	}](p.Tab, `(() => { const t = window.took.toSorted((a, b) => a - b); return { N: t.length, Median: t[Math.floor(t.length / 2)], Max: t.at(-1) }; })()`)
	each := func(name string) float64 { return 1000 * (after[name] - before[name]) / took.N }
	t.Logf("a view: median %.1f ms, at most %.1f ms; all work of the tab %.1f ms of CPU time, of it scripts %.1f, styles %.1f, layout %.1f",
		took.Median, took.Max, each("TaskDuration"), each("ScriptDuration"), each("RecalcStyleDuration"), each("LayoutDuration"))
	if cpu := each("TaskDuration"); cpu > 150 {
		t.Errorf("got %.1f ms of CPU time for a view, want at most 150", cpu)
	}
}
