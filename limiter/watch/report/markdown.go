package report

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
)

// Markdown renders the report as GitHub's Markdown. Text from clients is in code spans, without control characters.
func (r *Report) Markdown() []byte {
	m := &markdown{}
	m.head(r)
	m.timeline(r)
	m.volume(r)
	m.users(r)
	m.checks(r)
	m.sources(r)
	m.resets(r)
	m.abused(r)
	m.toDo(r)
	return []byte(m.String())
}

// markdown is a report being written.
type markdown struct{ strings.Builder }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// table begins a table.
func (m *markdown) table(columns ...string) {
	m.line("\n| %s |\n|%s", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// row writes a row of the table.
func (m *markdown) row(cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(m, "| %v ", c)
	}
	m.line("|")
}

// head writes a summary and a table of times.
func (m *markdown) head(r *Report) {
	m.line("# Report on incident %s\n", r.ID)
	what := classText(r.Class)
	if what == "" {
		what = "an incident"
	}
	m.line("From %s on, %s saw %s.", stamp(r.Times.Since), plain(r.Service), what)
	if !r.Times.Since.Equal(r.Times.Started) {
		m.line("Other trouble, or an earlier part of it, began at %s.", stamp(r.Times.Started))
	}
	switch {
	case r.False:
		m.line("It turned out to be a false alarm.")
	case r.StillOn:
		m.line("It was closed at %s, but was not over yet at %s.", stamp(r.Times.Ended), stamp(r.Generated))
	case r.Times.Ended.IsZero():
		m.line("It has not ended; this report is of %s.", stamp(r.Generated))
	default:
		m.line("It ended at %s, after %s.", stamp(r.Times.Ended), span(r.Times.Lasted))
	}
	if r.Form != Public {
		m.line("Phase: %s. Class: %s.", r.Phase, r.Class)
	}
	m.line("In this time %s of our users' logins were served.", percent(r.Users.Ratio))
	end := "ended"
	if r.StillOn {
		end = "closed"
	}
	m.table("", "time", "after the start")
	for _, row := range []struct {
		name  string
		t     time.Time
		after int
	}{
		{"started", r.Times.Started, -1},
		{"detected", r.Times.Detected, r.Times.ToDetect},
		{"users informed", r.Times.Published, r.Times.ToInform},
		{"users served again", r.Times.Mitigated, int(r.Times.Mitigated.Sub(r.Times.Started).Seconds())},
		{end, r.Times.Ended, r.Times.Lasted},
	} {
		switch {
		case row.t.IsZero():
			m.row(row.name, "–", "–")
		case row.after < 0:
			m.row(row.name, stamp(row.t), "")
		default:
			m.row(row.name, stamp(row.t), span(row.after))
		}
	}
}

// timeline writes the timeline.
func (m *markdown) timeline(r *Report) {
	m.line("\n## Timeline")
	if r.Form == Public {
		m.table("time", "event")
	} else {
		m.table("time", "by", "event")
	}
	for _, l := range r.Timeline {
		if r.Form == Public {
			m.row(stamp(l.Time), plain(l.Text))
		} else {
			m.row(stamp(l.Time), plain(l.By), plain(l.Text))
		}
	}
}

// volume writes the hourly table.
func (m *markdown) volume(r *Report) {
	m.line("\n## Logins by the hour")
	m.table("hour", "logins", "expected", "above", "failed", "blocked", "users served", "greeted within")
	for _, h := range r.Volume {
		expected, above := "–", "–"
		if h.Above != nil {
			expected, above = fmt.Sprint(h.Expected), fmt.Sprintf("%+.0f %%", 100**h.Above)
		}
		served, greeting := "–", "–"
		if h.Known > 0 {
			served = percent(h.Served)
		}
		if h.Greeting > 0 {
			greeting = fmt.Sprintf("%.2f s", h.Greeting)
		}
		m.row(stamp(h.Start), h.Logins, expected, above, fmt.Sprintf("%.0f %%", 100*h.Failed), h.Blocked, served, greeting)
	}
	m.line("\nLogins are attempts. Blocked: refused by postern. Users: known users; 95 %% of them were greeted within the time given.")
}

// users writes how the known were served.
func (m *markdown) users(r *Report) {
	u := r.Users
	m.line("\n## Our users\n")
	m.line("In this time known users asked for %d logins; %d were served, which is %s. We promise %s. %d were refused by mistake, "+
		"%d failed because of a server. 95 %% were greeted within %.2f s.",
		u.Asked, u.Served, percent(u.Ratio), percent(u.Promised), u.Limited, u.Fault, u.Greeting)
}

// checks writes what postern did.
func (m *markdown) checks(r *Report) {
	c := r.Checks
	m.line("\n## What was done\n")
	m.line("Strangers had to wait %d times and were refused %d times. By mistake %d logins of strangers with the right password had "+
		"to wait, and %d of known users; %d of known users were refused.",
		c.Waited, c.Refused, c.WelcomeWaited, c.KnownWaited, c.KnownRefused)
	if len(c.Rules) == 0 {
		return
	}
	m.table("rule", "from", "to", "strangers waited", "refused", "longest", "right password, waited", "known waited", "known refused")
	for _, rule := range c.Rules {
		m.row(code(rule.Rule), stamp(rule.First), stamp(rule.Last), rule.StrangerWaited, rule.StrangerRefused,
			fmt.Sprintf("%.1f s", rule.Longest.Seconds()), rule.AcceptedWaited, rule.KnownWaited, rule.KnownRefused)
	}
	m.line("\nThe counts of rules are of the whole hours that overlap the incident.")
}

// sources writes where suspects came from and which accounts they tried.
func (m *markdown) sources(r *Report) {
	s := r.Sources
	m.line("\n## Where it came from\n")
	m.line("Strangers were denied %d times, from about %d networks, with about %d accounts.", s.Denials, s.DistinctNetworks, s.DistinctAccounts)
	if r.Form == Public {
		return
	}
	m.line("They had about %d addresses. The ten most frequent networks had %s of all denials.", s.DistinctSources, percent(s.TopShare))
	if len(s.Systems) > 0 {
		m.table("AS", "name", "share of networks")
		for _, row := range s.Systems {
			m.row(fmt.Sprintf("AS%d", row.System), plain(row.Owner), fmt.Sprintf("about %.0f %%", 100*row.Share))
		}
	}
	m.targets("network", "accounts tried", s.Networks)
	m.targets("source", "accounts tried", s.Sources)
	m.fingerprints(s.JA4)
	m.line("\n## Accounts tried")
	m.targets("account", "from networks", s.Accounts)
}

// fingerprints writes the TLS fingerprints that were denied most often.
func (m *markdown) fingerprints(rows []ja4Row) {
	if len(rows) == 0 {
		return
	}
	m.line("\n## TLS fingerprints\n")
	m.line("%s of denials carry one fingerprint, %s, that %s of the accepted have. It names the TLS library and its settings, not "+
		"the program. Attempts in clear text do not count.", percent(rows[0].Denied), code(rows[0].JA4), percent(rows[0].Accepted))
	m.table("JA4", "denials", "share of denials", "share of accepted", "from networks")
	for _, row := range rows {
		m.row(code(row.JA4), row.Denials, percent(row.Denied), percent(row.Accepted), fmt.Sprintf("about %d", row.Networks))
	}
}

// targets writes a table of the most frequent.
func (m *markdown) targets(name, others string, rows []targetRow) {
	if len(rows) == 0 {
		m.line("\nNo %s had more than one denial.", name)
		return
	}
	m.table(name, "denials", others, "first", "last", "AS")
	for _, t := range rows {
		system := "–"
		if t.System != 0 {
			system = fmt.Sprintf("AS%d %s", t.System, plain(t.Owner))
		}
		m.row(code(t.Name), t.Denials, fmt.Sprintf("about %d", t.Others), stamp(t.First), stamp(t.Last), system)
	}
}

// resets writes the passwords to reset.
func (m *markdown) resets(r *Report) {
	m.line("\n## Passwords to reset\n")
	m.line("%d accounts were accepted from a network that attacked other accounts and that they had not been accepted from before.", r.Resets.Count)
	if r.Resets.Missed > 0 {
		m.line("%d more such logins are not listed; the log has them.", r.Resets.Missed)
	}
	if r.Form == Public || len(r.Resets.Accounts) == 0 {
		return
	}
	m.table("account", "from", "network", "first")
	for _, a := range r.Resets.Accounts {
		m.row(code(a.Account), code(a.Source.String()), code(a.Network.String()), stamp(a.Time))
	}
}

// toDo writes what people must add.
func (m *markdown) toDo(r *Report) {
	m.line("\n## To be written by people\n")
	for _, item := range r.ToDo {
		m.line("- TODO: %s", item)
	}
}

// stamp returns a time as text.
func stamp(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// span returns a duration as text.
func span(seconds int) string {
	d := time.Duration(seconds) * time.Second
	if d < time.Hour {
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// percent returns a share as text, rounded down: a share below the promised one must not look like it.
func percent(share float64) string {
	return fmt.Sprintf("%.1f %%", math.Floor(1000*share+1e-6)/10)
}

// printable returns text in one line, without control characters and other characters that are not printable.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, text)
}

// plain returns text with the special characters of Markdown escaped.
func plain(text string) string {
	var b strings.Builder
	for _, r := range printable(text) {
		if strings.ContainsRune("\\`*_[]<>|&~#!", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// code returns a name in a code span.
func code(name string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "\\|").Replace(printable(name)) + "`"
}
