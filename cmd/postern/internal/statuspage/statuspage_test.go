package statuspage

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// attackPage is a page with an open incident and a resolved one.
func attackPage() Page {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	return Page{
		Name: "Example Mail", Checked: at(31), Zone: time.FixedZone("CEST", 2*3600),
		Components: []Component{{"IMAP", Degraded}, {"POP3", Operational}},
		Incidents: []Incident{
			{ID: "i2", Title: "Many automated logins", Impact: ImpactMinor, Started: at(0), NextUpdate: at(60), Updates: []Update{
				{ID: "2", Stage: Identified, Body: "Protection is active.", Time: at(30)},
				{ID: "1", Stage: Investigating, Body: "We see <many> logins & look.", Time: at(10)},
			}},
			{ID: "i1", Title: "Trouble", Impact: ImpactMajor, Started: at(-900), Updates: []Update{
				{ID: "3", Stage: Resolved, Body: "Over.", Time: at(-700)},
				{ID: "2", Stage: Monitoring, Body: "Better.", Time: at(-800)},
				{ID: "1", Stage: Investigating, Body: "Bad.", Time: at(-899)},
			}},
		},
	}
}

// written writes p and returns the content of each file.
func written(t *testing.T, p Page) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "status")
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	if len(files) != 4 {
		t.Fatalf("got %d files, want 4", len(files))
	}
	return files
}

// TestMachineReadableFiles compares feed and JSON with testdata.
func TestMachineReadableFiles(t *testing.T) {
	withURL := attackPage()
	withURL.URL = "https://status.example"
	for name, got := range map[string]string{
		"summary.json":   written(t, attackPage())["summary.json"],
		"incidents.json": written(t, withURL)["incidents.json"],
		"feed.atom":      written(t, withURL)["feed.atom"],
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s", name, got)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(got)) {
			t.Errorf("%s is not JSON", name)
		}
	}
}

// TestFeed: each update has one entry with a stable ID, and the time of the feed is
// that of the latest update.
func TestFeed(t *testing.T) {
	type feed struct {
		ID      string `xml:"id"`
		Updated string `xml:"updated"`
		Entries []struct {
			ID      string `xml:"id"`
			Title   string `xml:"title"`
			Updated string `xml:"updated"`
			Content string `xml:"content"`
			Link    struct {
				Href string `xml:"href,attr"`
			} `xml:"link"`
		} `xml:"entry"`
	}
	read := func(p Page) (f feed) {
		t.Helper()
		if err := xml.Unmarshal([]byte(written(t, p)["feed.atom"]), &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	before := attackPage()
	before.Incidents = before.Incidents[1:]
	old, now := read(before), read(attackPage())
	if len(old.Entries) != 3 || len(now.Entries) != 5 || old.ID != now.ID || old.Entries[0].ID != now.Entries[2].ID {
		t.Errorf("got %+v, then %+v", old, now)
	}
	first := now.Entries[0]
	if now.Updated != "2026-03-29T12:30:00Z" || first.Updated != now.Updated || first.Title != "Many automated logins: identified" || first.Link.Href != "index.html#i2" {
		t.Errorf("got %+v", now)
	}
	if now.Entries[1].Content != "We see <many> logins & look." {
		t.Errorf("got %q", now.Entries[1].Content)
	}
	ids := map[string]bool{}
	for _, e := range now.Entries {
		if !strings.HasPrefix(e.ID, "urn:uuid:") || ids[e.ID] {
			t.Errorf("ID %s is not a URN or not unique", e.ID)
		}
		ids[e.ID] = true
	}
}

// TestIndexHTML shows local time and escapes texts.
func TestIndexHTML(t *testing.T) {
	text := written(t, attackPage())["index.html"]
	for _, want := range []string{
		"Mail works, with delays for some", "29 March 2026, 14:31 CEST", "Next update by", "15:00 CEST", `id="i2"`, `id="i1"`,
		"We see &lt;many&gt; logins &amp; look.", "degraded performance", `href="feed.atom"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	empty := written(t, Page{Name: "Example Mail", Checked: noon, Zone: time.UTC})["index.html"]
	if !strings.Contains(empty, "Mail works as usual") || !strings.Contains(empty, "No incidents to report") || strings.Contains(empty, "<h2>Current incidents</h2>") {
		t.Errorf("got\n%s", empty)
	}
}

func TestHeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		component Health
		impact    Impact
		open      bool
		want      Impact
		headline  string
	}{
		"no incident":                {Operational, ImpactNone, false, ImpactNone, "Mail works as usual"},
		"an incident without impact": {Operational, ImpactNone, true, ImpactNone, "Mail works; we are monitoring a problem"},
		"minor impact":               {Operational, ImpactMinor, true, ImpactMinor, "Mail works, with delays for some"},
		"partial outage":             {Partial, ImpactMinor, true, ImpactMajor, "Some users currently cannot reach their mail"},
		"outage without an incident": {Major, ImpactNone, false, ImpactCritical, "Mail is currently unavailable"},
	} {
		p := Page{Components: []Component{{"IMAP", tt.component}}}
		if tt.open {
			p.Incidents = []Incident{{Impact: tt.impact, Updates: []Update{{Stage: Investigating}}}}
		}
		if p.indicator() != tt.want || p.headline() != tt.headline {
			t.Errorf("%s: got %s, %q", name, p.indicator(), p.headline())
		}
	}
}

// TestWriteChangedFilesOnly: files are readable by a web server, and replaced only
// if their content changes.
func TestWriteChangedFilesOnly(t *testing.T) {
	dir := t.TempDir()
	p := attackPage()
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	stat := func(name string) os.FileInfo {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	feed, summary := stat("feed.atom"), stat("summary.json")
	if summary.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", summary.Mode())
	}
	p.Checked = p.Checked.Add(time.Minute)
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(feed, stat("feed.atom")) || os.SameFile(summary, stat("summary.json")) {
		t.Error("the feed was replaced, or the summary was not")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
	if err := p.Write(filepath.Join(dir, "feed.atom")); err == nil || !strings.Contains(err.Error(), "write status page") {
		t.Errorf("into a file: %v", err)
	}
}
