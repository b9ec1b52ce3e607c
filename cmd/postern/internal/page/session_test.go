package page

import (
	"strings"
	"testing"

	"postern/cmd/postern/internal/browser"
	"postern/cmd/postern/internal/view"
)

// operatorOnly and withNames are what operators alone see, and what readers see as well.
var (
	operatorOnly = []string{"#decide", "#mode", "#report-incident", ".incident .op", "#sources .actions button:nth-child(2)", "#decision-list button", "#by"}
	withNames    = []string{"#ask", "#sources table", "#networks table", "#accounts table", "#refusal-list table", ".incident", "#find"}
)

func testSession(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, "")
	p.hasTexts("#role", "Not logged in")
	p.isShown(true, "#login", "#served", "#backends table", "#chart-others canvas")
	p.isShown(false, append(append([]string{"#logout"}, operatorOnly...), withNames...)...)
	p.Screenshot("not-logged-in", false)

	p.login("wrong-token-0123456789")
	p.awaitFailed("Log in: wrong token")
	p.isShown(true, "#login")
	p.login(operatorToken)
	p.awaitText("#role", "Operator")
	p.Await("names", visible("#sources table"))
	p.g.set(func() { p.g.decisions = manyDecisions(1) })
	p.Await("a decision", visible("#decision-list button"))
	p.isShown(true, append(operatorOnly, withNames...)...)
	p.isShown(false, "#login", "#failed .message")
	if got := browser.Eval[string](p.Tab, `document.cookie + document.querySelector('#token').value`); got != "" {
		t.Errorf("a script can read %q", got)
	}
	p.Screenshot("operator", true)
	p.Open(p.g.url())
	p.awaitText("#role", "Operator")

	p.Click("#logout")
	p.awaitText("#role", "Not logged in")
	p.Await("no names", "!("+visible("#sources table")+")")
	p.awaitLive()
	p.isShown(false, append(append([]string{"#logout"}, operatorOnly...), withNames...)...)
	if text := browser.Eval[string](p.Tab, `document.documentElement.outerHTML`); strings.Contains(text, "203.0.113.1") || strings.Contains(text, "@example.org") {
		t.Error("names are left in the document")
	}
}

// holdSession makes the page wait for the next answer about its session until window.release is called.
const holdSession = `(() => {
	const real = window.fetch;
	window.fetch = async (...request) => {
		const answer = await real(...request);
		if (!window.release && String(request[0]).includes('/page/session')) await new Promise(f => { window.release = f; });
		return answer;
	};
})()`

// testLateAnswer: an answer about the session from before a login does not end it.
func testLateAnswer(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, "")
	browser.Eval[browser.Void](p.Tab, holdSession)
	p.g.stop()
	p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
	p.g.start()
	p.Await("the question", `Boolean(window.release)`)
	p.login(operatorToken)
	p.awaitText("#role", "Operator")
	p.Await("names", visible("#sources table"))
	browser.Eval[browser.Void](p.Tab, `(async () => { window.release(); await new Promise(f => setTimeout(f, 200)); })()`)
	p.hasTexts("#role", "Operator")
}

// testReader: readers see all and cannot act.
func testReader(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, readerToken)
	p.awaitText("#role", "Reader")
	p.g.set(func() { p.g.decisions = manyDecisions(1) })
	p.Await("a decision", visible("#decision-list table"))
	p.isShown(true, withNames...)
	p.isShown(false, operatorOnly...)
	p.Click("#sources .actions button")
	p.awaitText("#answer", "Refused by rule source")
	for _, name := range []string{"Block 1 h", "Allow", "Release", "Forget", "End", "Acknowledge", "Note…"} {
		if browser.Eval[bool](p.Tab, `[...document.querySelectorAll('button')].some(b => b.checkVisibility() && b.textContent === "`+name+`")`) {
			t.Errorf("a reader sees the button %s", name)
		}
	}
	p.Screenshot("reader", false)
}

// testCookieEnded: a login that has ended is noticed at the next view without names.
func testCookieEnded(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	browser.Eval[browser.Void](p.Tab, `fetch('/page/logout', { method: 'POST', headers: { 'X-CSRF-Token': 'csrf-operator' } })`)
	p.Click("#sources .actions button")
	p.awaitFailed("this needs a token")
	p.g.set(func() { p.g.change = func(v *view.View) { v.Detail = nil } })
	p.Await("the login form", visible("#login"))
	p.isShown(false, append(operatorOnly, withNames...)...)
}
