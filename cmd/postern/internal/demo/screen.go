package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// How often the counts are printed.
const (
	redrawEvery = time.Second     // on a terminal, in place
	printEvery  = 5 * time.Second // elsewhere, a line each
)

// rateSeconds is over how many seconds the rate of logins is averaged.
const rateSeconds = 5

// screen prints what happens during an attack, with the time since the start. On a
// terminal the last line has the counts, and is redrawn.
type screen struct {
	results  *results
	terminal bool // w is one

	mu    sync.Mutex
	w     io.Writer
	begun time.Time
	live  string // the line with the counts, empty unless it is on the terminal
}

// clearLine moves the cursor of a terminal to the start of the line, and clears it.
const clearLine = "\r\x1b[K"

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// passed is the time since the start, as 1:05.
func (s *screen) passed() string {
	passed := time.Since(s.begun).Truncate(time.Second)
	return fmt.Sprintf("%d:%02d", int(passed.Minutes()), int(passed.Seconds())%60)
}

// print prints one line, above the counts.
func (s *screen) print(what, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%s  %-6s  %s\n", s.passed(), what, text)
	if s.live != "" {
		line = clearLine + line + s.live
	}
	fmt.Fprint(s.w, line)
}

// count prints the counts: in place on a terminal, else as a line.
func (s *screen) count(c counts, perSecond float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	served := "-"
	if c.known > 0 {
		served = fmt.Sprintf("%.1f %%", 100*float64(c.served)/float64(c.known))
	}
	line := fmt.Sprintf("%s  %.0f logins/s, known served %s of %d, denied %d, refused %d", s.passed(), perSecond, served, c.known, c.denied, c.refused)
	if !s.terminal {
		fmt.Fprintln(s.w, line)
		return
	}
	s.live = line
	fmt.Fprint(s.w, clearLine+line)
}

// end leaves the terminal with the cursor on a new line.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != "" {
		s.live = ""
		fmt.Fprintln(s.w)
	}
}

// follow prints the counts from time to time, until ctx ends.
func (s *screen) follow(ctx context.Context) {
	defer s.end()
	every := printEvery
	if s.terminal {
		every = redrawEvery
	}
	var before []int // logins that were over after each of the last seconds
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for seconds := time.Second; ; seconds += time.Second {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.results.now()
		if before = append(before, now.all()); len(before) > rateSeconds+1 {
			before = before[1:]
		}
		if seconds%every == 0 && len(before) > 1 {
			s.count(now, float64(now.all()-before[0])/float64(len(before)-1))
		}
	}
}

// alert is a receiver of webhooks, such as a chat.
func (s *screen) alert(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Status            string
		CommonAnnotations map[string]string
	}
	if json.NewDecoder(r.Body).Decode(&m) == nil {
		s.print("ALERT", m.Status+": "+m.CommonAnnotations["summary"])
	}
}

// announce prints when the attack begins and ends, and each change of the public
// status in the file summary, until ctx ends.
func (s *screen) announce(ctx context.Context, start time.Time, summary string) {
	events := []struct {
		after time.Duration
		text  string
	}{{0, "users log in"}, {attackAfter, "the attack begins, each login from a network of its own"}, {attackAfter + attackTime, "the attack ends"}}
	public := ""
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for len(events) > 0 && time.Since(start) >= events[0].after {
			s.print("", events[0].text)
			events = events[1:]
		}
		if now := latestUpdate(summary); now != public {
			public = now
			s.print("PUBLIC", public)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// latestUpdate is the latest public status in summary.json, empty if it cannot be
// read.
func latestUpdate(path string) string {
	var s struct {
		Status    struct{ Description string }
		Incidents []struct {
			Updates []struct{ Status, Body string } `json:"incident_updates"`
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return ""
	}
	if len(s.Incidents) == 0 {
		return s.Status.Description
	}
	latest := s.Incidents[0].Updates[0]
	return s.Status.Description + " (" + latest.Status + "): " + latest.Body
}
