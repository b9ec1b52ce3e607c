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
)

// screen prints what happens during an attack, with the time since the start.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	begun time.Time
}

// print prints one line.
func (s *screen) print(what, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := time.Since(s.begun).Truncate(time.Second)
	fmt.Fprintf(s.w, "%d:%02d  %-6s  %s\n", int(passed.Minutes()), int(passed.Seconds())%60, what, text)
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

// follow prints when the attack begins and ends, and each change of the public
// status in the file summary, until ctx ends.
func (s *screen) follow(ctx context.Context, start time.Time, summary string) {
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
