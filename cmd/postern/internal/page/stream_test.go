package page

import (
	"testing"

	"postern/cmd/postern/internal/browser"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch/incident"
)

// incidentOf is an incident in a view.
type incidentOf = incident.Incident

// eachIncident changes the latest incident of each view.
func eachIncident(f func(*incidentOf)) func(*view.View) {
	return func(v *view.View) {
		if v.Detail != nil {
			f(&v.Detail.Incidents[0])
		}
	}
}

// makeOK lets views say that all is well.
func makeOK(v *view.View) {
	v.Level, v.Text = "OK", "known users 100.0 % served over 5 min, 3 of 3 backends up"
}

// noClaim is true while the page says that it is not live, and nowhere that all is well.
const noClaim = `!document.querySelector('#status').innerText.includes('well') && !document.querySelector('#status').classList.contains('ok')
	&& !document.title.includes('OK') && !document.querySelector('#live').innerText.startsWith('Live')`

// watchClaims collects, at each change of the page, whether it claims to be live while it is not
// permitted to.
const watchClaims = `(() => {
	window.claims = 0;
	new MutationObserver(() => { if (document.body.dataset.live !== 'live' && !(` + noClaim + `)) window.claims++; })
		.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
})()`

// testStream: when the stream breaks, the page says so, and it is live again when the gateway is.
func testStream(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	p.g.set(func() { p.g.change = makeOK })
	p.awaitText("#status", "All is well")
	browser.Eval[browser.Void](p.Tab, watchClaims)
	for range 2 {
		p.g.stop()
		p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
		p.Await("no claim", noClaim)
		p.hasTexts("#status", "⚠ Not live", "Connection to the gateway lost. Connecting again.", "State of", "ago", "What is below may have changed")
		p.awaitText("#announce", "Not live")
		p.Await("the age", `/Not live: [1-9]\d* s old/.test(document.querySelector('#live').innerText)`)
		p.hasTexts("#sources", "203.0.113.1")
		p.g.start()
		p.awaitLive()
		p.awaitText("#status", "All is well")
	}
	if n := browser.Eval[int](p.Tab, `window.claims`); n != 0 {
		t.Errorf("the page claimed %d times to be live while it was not", n)
	}
	p.g.stop()
	p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
	p.Screenshot("not-live", false)
	p.g.start()
	p.awaitLive()
}

// testFrozenData: a stream that repeats the same state is not live.
func testFrozenData(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, "")
	p.g.set(func() { p.g.frozen, p.g.change = true, makeOK })
	p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
	p.Await("no claim", noClaim)
	p.g.set(func() { p.g.frozen = false })
	p.awaitLive()
	p.awaitText("#status", "All is well")
	p.g.await("one stream", func() bool { return p.g.streams == 1 })
}

// testUpgrade: after an upgrade the page goes on with the next generation, and offers the new
// page.
func testUpgrade(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	p.isShown(false, "#upgraded")
	p.g.stop()
	p.Await("that it is not live", `document.body.dataset.live === 'lost'`)
	p.g.set(func() { p.g.change = func(v *view.View) { v.Version = "1.9.0" } })
	p.g.start()
	p.awaitLive()
	p.Await("the offer", visible("#upgraded"))
	p.hasTexts("#sources", "203.0.113.1")
	p.Click("#reload")
	p.Await("the new page", `document.body.dataset.live === 'live' && !document.querySelector('#upgraded').checkVisibility()`)
	p.awaitText("#role", "Operator")
}

// testAnnouncements: screen readers are told when the state changes, not with each figure.
func testAnnouncements(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, "")
	p.g.set(func() { p.g.change = makeOK })
	p.awaitText("#status", "All is well")
	browser.Eval[browser.Void](p.Tab, `(() => {
		window.announced = [];
		new MutationObserver(() => window.announced.push(document.querySelector('#announce').textContent))
			.observe(document.querySelector('#announce'), { subtree: true, childList: true, characterData: true });
	})()`)
	p.g.set(func() {
		p.g.change = func(v *view.View) {
			makeOK(v)
			v.Text = "known users 99.9 % served over 5 min"
		}
	})
	p.awaitText("#status", "99.9 %")
	p.g.set(func() { p.g.change = func(v *view.View) { v.Level, v.Text = "CRITICAL", "not ready" } })
	p.awaitText("#announce", "✕ Critical. Act now: not ready.")
	if got := browser.Eval[[]string](p.Tab, `window.announced`); len(got) != 1 {
		t.Errorf("got the announcements %q, want one", got)
	}
}
