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
