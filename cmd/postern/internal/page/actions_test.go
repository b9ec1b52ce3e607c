package page

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/cmd/postern/internal/browser"
	"postern/cmd/postern/internal/decisions"
)

// manyDecisions are n decisions of the past hours, the oldest first.
func manyDecisions(n int) (list []decisions.Decision) {
	for i := range n {
		list = append(list, decisions.Decision{
			ID: fmt.Sprint("m", i), Kind: decisions.Block, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
			Made: sampleTime.Add(time.Duration(i-n) * time.Second), Until: sampleTime.Add(24 * time.Hour), By: "script", Comment: fmt.Sprintf("list entry %d", i),
		})
	}
	return list
}

func testExplain(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	ask := func(about string) {
		t.Helper()
		p.Fill("#about", about)
		p.Press(browser.Enter)
	}
	ask("user@example.org")
	p.awaitText("#answer h3", "Account user@example.org")
	p.hasTexts("#answer", "Refused by rule source: the client made 21 wrong guesses", "What happened", "Buckets", "20 of 20 spent", "a known device passes", "What to do",
		"postern release user@example.org", "Events", "POSTERN_LIMIT_SOURCE=20/1h")
	if got := browser.Eval[string](p.Tab, `document.activeElement.id`); got != "answer-title" {
		t.Errorf("got the focus on %q, want the answer", got)
	}
	p.Screenshot("explain", false)
	p.Click("#answer .close")
	p.Await("no answer", "!("+visible("#answer")+")")

	ask("203.0.113.77")
	p.awaitText("#answer h3", "Source 203.0.113.77")
	p.Click("#answer .subject button:nth-child(1)")
	p.awaitDone("Block 203.0.113.77: until")
	p.called(`anna: block 203.0.113.77 for "1h", "", force false`)
	ask("k7Qx0001Z")
	p.awaitText("#answer h3", "Session k7Qx0001Z")
	p.Click("#answer .subject p:last-child button:last-child")
	p.Click("#dialog-ok")
	p.awaitDone("Forget " + hostile[0])
	p.called("anna: forget " + hostile[0])
	ask("nothing")
	p.awaitFailed(`Explain nothing: nothing is known of "nothing"`)
	p.Click("#refusal-list tbody tr:nth-child(3) th button")
	p.awaitText("#answer h3", "Session k7Qx")
}

// testRowActions presses each button of a row once.
func testRowActions(t *testing.T, b *browser.Browser) {
	p := open(t, b, screen, operatorToken)
	press := func(table string, n int) {
		t.Helper()
		p.Click(fmt.Sprintf("%s tbody tr:nth-child(3) .actions button:nth-child(%d)", table, n))
	}
	press("#sources", 2)
	p.awaitText("#dialog-title", "Who are you?")
	p.Fill("#dialog input", "anna")
	p.Press(browser.Enter)
	p.awaitText("#done", "Block 203.0.113.3: until")
	p.hasTexts("#done", "3 connections closed", "1 known user logged in from there within a day")
	p.called(`anna: block 203.0.113.3 for "1h", "", force false`)
	p.awaitText("#decision-list", "203.0.113.3/32")
	p.Click("#done .message button")
	p.awaitDone("End block 203.0.113.3/32: done")
	p.called("anna: end block 203.0.113.3/32")

	press("#networks", 3)
	p.awaitDone("Allow 198.51.3.0/24")
	press("#networks", 4)
	p.awaitDone("Release 198.51.3.0/24: 2 buckets filled again")
	press("#networks", 1)
	p.awaitText("#answer h3", "Network 198.51.3.0/24")
	press("#accounts", 2)
	p.awaitDone("Release " + hostile[2])
	press("#accounts", 3)
	p.awaitText("#dialog-title", "Forget "+hostile[2])
	p.Press(browser.Escape)
	press("#accounts", 3)
	p.Click("#dialog-ok")
	p.awaitDone("Forget " + hostile[2] + ": done")
	p.called(`anna: allow 198.51.3.0/24 for "", "", force false`, "anna: release 198.51.3.0/24", "anna: release "+hostile[2], "anna: forget "+hostile[2])
	press("#refusal-list", 1)
	p.awaitDone("Block 203.0.113.3")

	p.Open(p.g.url())
	p.Await("the name is remembered", `document.querySelector('#by').value === 'anna'`)
}

func testForms(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "bo")
	p.Choose("#decide select[name=kind]", "allow")
	p.Choose("#decide select[name=for]", "7d")
	p.Fill("#decide input[name=comment]", "the office in Bergen")
	p.Fill("#decide input[name=network]", " 192.0.2.0/24 ")
	p.Click("#decide button")
	p.awaitDone("Allow 192.0.2.0/24")
	p.awaitText("#decision-list", "the office in Bergen")
	p.Await("an empty form", `document.querySelector('#decide input[name=network]').value === ''`)
	p.Choose("#mode select[name=for]", "6h")
	p.Fill("#mode input[name=comment]", "test")
	p.Click("#mode button")
	p.awaitDone("Observe only: until")
	p.called(`bo: allow 192.0.2.0/24 for "7d", "the office in Bergen", force false`, `bo: observe  for "6h", "test", force false`)
	p.awaitText("#decided", "2")
	p.Screenshot("decisions", true)
	p.Click("#decision-list tbody tr:nth-child(1) button")
	p.awaitDone("End observe: done")
	p.awaitText("#decided", "1")
	p.Fill("#decide input[name=network]", "everybody")
	p.Click("#decide button")
	p.awaitFailed(`got "everybody", want an address or a network in CIDR form`)
}

// testForce: what needs force says why, and asks.
func testForce(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.Fill("#decide input[name=network]", "10.0.0.0/8")
	p.Click("#decide button")
	p.awaitText("#dialog-text", "block 10.0.0.0/8: it is wider than /16; 1234 known users have logged in from there in the last 24 h.")
	p.Screenshot("force", false)
	for range 6 { // the focus stays in the dialog
		p.Press(browser.Tabulator)
		if !browser.Eval[bool](p.Tab, `document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))`) {
			t.Error("the focus is outside of the dialog")
		}
	}
	p.Press(browser.Escape)
	p.Await("no dialog", `!document.querySelector('#dialog').open`)
	p.called()
	p.Click("#decide button")
	p.Click("#dialog-cancel")
	p.Await("no dialog", `!document.querySelector('#dialog').open`)
	p.called()
	p.Click("#decide button")
	p.Click("#dialog-ok")
	p.awaitDone("Block 10.0.0.0/8")
	p.called(`anna: block 10.0.0.0/8 for "1h", "", force true`)
}

// testManyDecisions finds one among ten thousand.
func testManyDecisions(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.g.set(func() { p.g.decisions = manyDecisions(10_000) })
	p.awaitText("#decided", "10,000")
	p.awaitText("#decision-list", "list entry 9999")
	p.awaitText("#decision-list", "Show all 100")
	p.Fill("#find input", "ENTRY 77")
	p.Press(browser.Enter)
	p.awaitText("#found", "111 of 10,000 match")
	p.hasTexts("#found", "the latest 100 are shown")
	p.Fill("#find input", "list entry 4711")
	p.Press(browser.Enter)
	p.Await("one that matches", `document.querySelector('#found').textContent.startsWith('1 of 10,000 match')`)
	p.Click("#decision-list tbody button")
	p.awaitDone("End block 10.18.103.0/24: done")
	p.Click("#find-clear")
	p.awaitText("#decision-list", "list entry 9999")
	p.awaitText("#decided", "9,999")
}

// testIncidents presses each button of an incident.
func testIncidents(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	change := func(f func(i *incidentOf)) {
		p.g.set(func() { p.g.change = eachIncident(f) })
	}
	change(func(i *incidentOf) { i.AckedBy, i.Published, i.Phase = "", time.Time{}, "detected" })
	press := func(name string) {
		t.Helper()
		selector := fmt.Sprintf(`.incident button[aria-label="%s 20261127-1105"]`, name)
		p.Await(name, visible(selector))
		p.Click(selector)
	}
	press("Acknowledge")
	p.awaitDone("Acknowledge 20261127-1105: done")
	press("Note…")
	p.Fill("#dialog textarea", "called the provider")
	p.Click("#dialog-ok")
	p.awaitDone("Note 20261127-1105")
	press("Publish…")
	p.Click("#dialog-ok")
	p.awaitDone("Publish")
	press("Hold")
	p.awaitDone("Hold")
	press("Users are served…")
	p.Click("#dialog-ok")
	p.awaitDone("Users are served")
	press("Reclassify…")
	p.Choose("#dialog select", "storm")
	p.Click("#dialog-ok")
	p.awaitDone("Reclassify")
	press("False alarm…")
	p.hasTexts("#dialog-text", "nothing was wrong")
	p.Click("#dialog-ok")
	p.awaitDone("False alarm")
	press("Resolve…")
	p.Fill("#dialog textarea", "over")
	p.Click("#dialog-ok")
	p.awaitText("#dialog-text", "the attack on logins is on")
	p.Click("#dialog-ok")
	p.awaitDone("Resolve")
	p.Click("#report-incident")
	p.Choose("#dialog select", "auth_fault")
	p.Fill("#dialog textarea", "users call")
	p.Click("#dialog-ok")
	p.awaitDone("Report an incident")
	id := "20261127-1105"
	p.called("anna: ack "+id, "anna: note "+id+"  called the provider", "anna: publish "+id, "anna: hold "+id, "anna: mitigate "+id, "anna: reclassify "+id+" storm",
		"anna: false-alarm "+id, "anna: resolve "+id+"  over", "anna: open  auth_fault users call")

	change(func(i *incidentOf) { i.Phase, i.Ended = "resolved", sampleTime })
	p.awaitText(".incident h3", "resolved")
	if got := browser.Eval[int](p.Tab, `[...document.querySelector('.incident').querySelectorAll('.actions button')].filter(b => b.checkVisibility()).length`); got != 1 {
		t.Errorf("got %d buttons of an incident that has ended, want only Note", got)
	}
}

// testFailures: what fails says why, and a gateway that cannot be reached is named.
func testFailures(t *testing.T, b *browser.Browser) {
	p := openAs(t, b, "anna")
	p.g.set(func() { p.g.decisions = manyDecisions(1) })
	p.Await("a decision", visible("#decision-list tbody button"))
	p.MoveTo("#decision-list tbody button")
	p.g.set(func() { p.g.decisions = nil })
	p.Await("a row that has gone", `document.querySelector('#decision-list tr.gone')`)
	p.Click("#decision-list tbody button")
	p.awaitFailed("End block 10.0.0.0/24: there is no such decision")
	p.g.stop()
	p.Click("#sources tbody .actions button:nth-child(4)")
	p.awaitFailed("Release 203.0.113.1: the gateway cannot be reached")
	p.g.start()
	p.awaitLive()
	p.called()
}
