package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/browser"
)

// screen is that of a usual computer.
var screen = browser.Screen{Width: 1400, Height: 900}

// TestPage acts on the page in Chromium as an operator does. `go test -artifacts -outputdir DIR`
// keeps the pictures.
func TestPage(t *testing.T) {
	b := browser.Start(t)
	for name, test := range map[string]func(*testing.T, *browser.Browser){
		"session":           testSession,
		"reader":            testReader,
		"cookie that ended": testCookieEnded,
		"late answer":       testLateAnswer,
		"glance":            testGlance,
		"panels":            testPanels,
		"explain":           testExplain,
		"rows":              testRowActions,
		"forms":             testForms,
		"force":             testForce,
		"decisions":         testManyDecisions,
		"incidents":         testIncidents,
		"failures":          testFailures,
		"names":             testHostileNames,
		"order":             testOrderIsHeld,
		"stream":            testStream,
		"frozen":            testFrozenData,
		"upgrade":           testUpgrade,
		"announcements":     testAnnouncements,
		"keyboard":          testKeyboard,
		"widths":            testWidths,
		"accessibility":     testAccessibility,
		"time":              testRenderTime,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

// tester is a page with the gateway that serves it.
type tester struct {
	*browser.Tab
	t *testing.T
	g *gateway
}

// open opens the page and waits until it is live, with the role of a token if there is one. At
// the end of the test nothing on the console, no violation of a policy and no request elsewhere
// may have been.
func open(t *testing.T, b *browser.Browser, s browser.Screen, token string) *tester {
	t.Helper()
	g := newGateway(t)
	p := &tester{b.Tab(t, s), t, g}
	p.Open(g.url())
	p.awaitLive()
	if token != "" {
		p.login(token)
		p.Await("names", `document.body.classList.contains('named')`)
		p.awaitLive()
	}
	t.Cleanup(func() {
		if problems := p.Problems(); len(problems) > 0 {
			t.Errorf("the browser reports %q", problems)
		}
		if got := p.Origins(); !slices.Equal(got, []string{"http://" + g.addr}) {
			t.Errorf("got requests to %q, want only %s", got, g.addr)
		}
	})
	return p
}

// openAs is open on a usual screen, with a name for the record.
func openAs(t *testing.T, b *browser.Browser, name string) *tester {
	t.Helper()
	p := open(t, b, screen, operatorToken)
	p.Fill("#by", name)
	p.Press(browser.Tabulator)
	return p
}

// login sends a token.
func (p *tester) login(token string) {
	p.t.Helper()
	p.Fill("#token", token)
	p.Press(browser.Enter)
}

// awaitLive waits until data is live.
func (p *tester) awaitLive() {
	p.t.Helper()
	p.Await("live data", `document.body.dataset.live === 'live'`)
}

// visible is an expression that is true if an element is shown.
func visible(selector string) string {
	return fmt.Sprintf("document.querySelector(%q)?.checkVisibility()", selector)
}

// awaitText waits until an element has a text, among others.
func (p *tester) awaitText(selector, text string) {
	p.t.Helper()
	p.Await("text in "+selector, fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

// awaitDone waits for a message about a success, which must have these texts, and dismisses it.
func (p *tester) awaitDone(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.awaitText("#done", text)
	}
	p.dismiss("#done")
}

// awaitFailed does so for a failure.
func (p *tester) awaitFailed(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.awaitText("#failed", text)
	}
	p.dismiss("#failed")
}

// dismiss dismisses the messages.
func (p *tester) dismiss(region string) {
	p.t.Helper()
	browser.Eval[browser.Void](p.Tab, fmt.Sprintf(`[...document.querySelectorAll(%q)].forEach(b => b.click())`, region+" button:last-of-type"))
	p.Await("no message", fmt.Sprintf("document.querySelector(%q).children.length === 0", region))
}

// called checks the actions of the gateway since the last check.
func (p *tester) called(want ...string) {
	p.t.Helper()
	if got := p.g.called(); !slices.Equal(got, want) {
		p.t.Errorf("got the actions %q, want %q", got, want)
	}
}

// hasTexts checks the text of an element.
func (p *tester) hasTexts(selector string, texts ...string) {
	p.t.Helper()
	got := p.Text(selector)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			p.t.Errorf("%s: got %q, want %q", selector, got, text)
		}
	}
}

// isShown checks which elements are shown.
func (p *tester) isShown(want bool, selectors ...string) {
	p.t.Helper()
	for _, selector := range selectors {
		if got := browser.Eval[bool](p.Tab, "Boolean("+visible(selector)+")"); got != want {
			p.t.Errorf("%s: got shown %v, want %v", selector, got, want)
		}
	}
}
