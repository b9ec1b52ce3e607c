package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Keys for Press.
const (
	Tabulator = kb.Tab
	Enter     = kb.Enter
	Escape    = kb.Escape
)

// Open loads a page.
func (tab *Tab) Open(url string) {
	tab.t.Helper()
	run(tab, "open "+url, chromedp.Navigate(url))
}

// Eval evaluates an expression in the page and returns its value. A promise is awaited. Use
// Void for an expression without a value.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	return run(tab, "evaluate "+expression, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Void is the type of no value.
type Void = chromedp.Void

// Text returns the visible text of the first element that the selector matches.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	tab.Await(selector, find(selector))
	return Eval[string](tab, find(selector)+".innerText")
}

// point is a place on the screen.
type point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// aim scrolls to an element and gives the middle of it, or nothing while it cannot be clicked
// there. Until the next aim, a click elsewhere, because the page has moved meanwhile, does
// nothing.
const aim = `(() => {
	const node = %s;
	if (!node || node.disabled || node.closest('[aria-busy=true]')) return null;
	node.scrollIntoView({ block: 'center', behavior: 'instant' });
	const box = node.getBoundingClientRect(), at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
	const top = document.elementFromPoint(at.x, at.y);
	if (!top || !node.contains(top)) return null;
	removeEventListener('click', window.aimed?.guard, true);
	const guard = event => {
		if (node.contains(event.target)) window.aimed.hit = true;
		else { event.preventDefault(); event.stopImmediatePropagation(); }
		removeEventListener('click', guard, true);
	};
	window.aimed = { at, guard, hit: false };
	addEventListener('click', guard, true);
	return window.aimed.at;
})()`

// Click waits until an element is visible, enabled, not busy and not covered by another, and
// clicks in its middle.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	for {
		tab.Await("a place to click at "+selector, fmt.Sprintf(aim, find(selector)))
		at := Eval[point](tab, `window.aimed.at`)
		run(tab, "click "+selector, chromedp.MouseClickXY(at.X, at.Y))
		// A click may have loaded another page.
		if Eval[bool](tab, `!window.aimed || window.aimed.hit`) {
			return
		}
	}
}

// MoveTo moves the pointer to the middle of an element.
func (tab *Tab) MoveTo(selector string) {
	tab.t.Helper()
	at := Eval[point](tab, fmt.Sprintf(`(() => {
		const node = %s;
		node.scrollIntoView({ block: 'center', behavior: 'instant' });
		const box = node.getBoundingClientRect();
		return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
	})()`, find(selector)))
	tab.MoveAway(at.X, at.Y)
}

// MoveAway moves the pointer to a place on the screen.
func (tab *Tab) MoveAway(x, y float64) {
	tab.t.Helper()
	run(tab, "move the pointer", command(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y}))
}

// Fill replaces the text of a field, as a user does, once its form is not busy.
func (tab *Tab) Fill(selector, text string) {
	tab.t.Helper()
	tab.Await(selector, find(selector)+"?.closest('[aria-busy=true]') === null")
	Eval[Void](tab, find(selector)+".focus(); "+find(selector)+".select()")
	run(tab, "type into "+selector, command(input.InsertText, input.InsertTextParams{Text: text}))
}

// Choose chooses a value of a select element.
func (tab *Tab) Choose(selector, value string) {
	tab.t.Helper()
	Eval[Void](tab, fmt.Sprintf(`(() => { const s = %s; s.value = %s; s.dispatchEvent(new Event('change', { bubbles: true })); })()`, find(selector), quote(value)))
}

// Press presses a key on what has the focus.
func (tab *Tab) Press(key string) {
	tab.t.Helper()
	run(tab, "press a key", chromedp.KeyEvent(key))
}

// Screenshot writes a picture of the screen, or of the whole page, to the artefacts of the
// test: `go test -artifacts -outputdir DIR` keeps them.
func (tab *Tab) Screenshot(name string, whole bool) {
	tab.t.Helper()
	action := chromedp.CaptureScreenshot()
	if whole {
		action = chromedp.FullScreenshot(100)
	}
	picture := run(tab, "take a picture", action)
	if err := os.WriteFile(filepath.Join(tab.t.ArtifactDir(), name+".png"), picture, 0o600); err != nil {
		tab.t.Fatal(err)
	}
}

// find is an expression for the first element that a selector matches.
func find(selector string) string { return "document.querySelector(" + quote(selector) + ")" }

// quote formats a JavaScript string.
func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string has no error
	return string(quoted)
}
