package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReportsProblems: what must not happen on a page is found, so that a test that finds none
// means something.
func TestReportsProblems(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	page := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'self' 'nonce-n'")
		fmt.Fprintf(w, "<!DOCTYPE html><title>t</title><link rel=icon href=data:,><p>text</p>%s", page)
	}))
	defer server.Close()
	browser := Start(t)
	for name, tt := range map[string]struct{ page, problem string }{
		"none":      {`<script nonce=n>console.log("fine")</script>`, ""},
		"console":   {`<script nonce=n>console.error("wrong", 7)</script>`, `console: error  "wrong" 7`},
		"exception": {`<script nonce=n>nowhere()</script>`, "exception: "},
		"promise":   {`<script nonce=n>Promise.reject(new Error("lost"))</script>`, "exception: "},
		"policy":    {`<script>1</script>`, "Content Security Policy"},
		"origin":    {`<img src="` + other.URL + `/x.png">`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			page = tt.page
			tab := browser.Tab(t, Screen{Width: 800, Height: 600})
			tab.Open(server.URL)
			if got := tab.Text("p"); got != "text" {
				t.Errorf("got %q", got)
			}
			ticker := time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			for deadline := time.After(patience); ; {
				problems := strings.Join(tab.Problems(), "\n")
				if (tt.problem == "") == (problems == "") && strings.Contains(problems, tt.problem) {
					break
				}
				select {
				case <-ticker.C: // the browser reports some of them a little later
				case <-deadline:
					t.Fatalf("got %q, want %q", problems, tt.problem)
				}
			}
			if got := slices.Contains(tab.Origins(), other.URL); got != (name == "origin") {
				t.Errorf("got %q", tab.Origins())
			}
		})
	}
}

// TestActsOnlyOnWhatIsNotBusy: a click on what is busy would have no effect, as with a person's.
func TestActsOnlyOnWhatIsNotBusy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!DOCTYPE html><form aria-busy=true><input><button type=button>press</button></form><script>
			const form = document.querySelector('form'), late = [];
			for (const name of ['input', 'click']) form.addEventListener(name, () => late.push(name + (form.ariaBusy === 'true' ? ' while busy' : '')));
			const wait = n => n === 0 ? form.removeAttribute('aria-busy') : requestAnimationFrame(() => wait(n - 1));
			wait(20);
		</script>`)
	}))
	defer server.Close()
	b := Start(t)
	for name, act := range map[string]func(*Tab){
		"click": func(tab *Tab) { tab.Click("button") },
		"input": func(tab *Tab) { tab.Fill("input", "text") },
	} {
		tab := b.Tab(t, Screen{Width: 800, Height: 600})
		tab.Open(server.URL)
		act(tab)
		if got := Eval[string](tab, "late.join()"); got != name {
			t.Errorf("got the events %q, want %q", got, name)
		}
	}
}
