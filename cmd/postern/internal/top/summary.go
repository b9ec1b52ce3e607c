package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// labelWidth is the width of the labels at the left of the summary.
const labelWidth = 10

// tallScreen is the height from which lists of the summary may have three lines.
const tallScreen = 36

// summary returns at most limit lines above the table, the most important ones first.
func (m *model) summary(limit int) []string {
	v, few := m.view, 1
	if m.height >= tallScreen {
		few = 3
	}
	lines := []string{m.headline(v)}
	lines = append(lines, m.items("Attack", attackTexts(v), 2)...)
	lines = append(lines, m.items("Known", usersTexts(v.State.Known), 1)...)
	lines = append(lines, m.items("Doing", doingTexts(v), 2)...)
	lines = append(lines, m.charts(v)...)
	lines = append(lines, m.items("Lanes", lanesTexts(v.Lanes), few)...)
	lines = append(lines, m.items("Tables", tableTexts(v), few)...)
	lines = append(lines, m.items("Backends", backendTexts(v), few)...)
	if v.State.Sharing != nil {
		lines = append(lines, m.items("Gateways", gatewayTexts(v.State.Sharing), few)...)
	}
	lines = append(lines, m.items("Processes", processTexts(v), few)...)
	lines = append(lines, m.items("Listeners", listenerTexts(v.Listeners), few)...)
	return lines[:min(len(lines), max(limit, 1))]
}

// headline says whether it is all right.
func (m *model) headline(v *view.View) string {
	style := critical
	switch v.Level {
	case monitor.OK.String():
		style = good
	case monitor.Warning.String():
		style = warning
	}
	const levelMax = 8
	at := v.Time.Local().Format(time.TimeOnly)
	start, level := m.cut(m.plain("postern "+v.Host), m.width/3), m.cut(m.plain(v.Level), levelMax)
	left := m.width - ansi.StringWidth(start) - ansi.StringWidth(level) - 4
	text := m.fit(m.plain(v.Text), left, false)
	if space := left - len(at); space > 0 {
		text = m.fit(m.plain(v.Text), space, false) + " " + at
	}
	return m.cut(bold.Render(start)+"  "+style.Render(level)+" "+text, m.width)
}

// items returns a labelled list on at most that many lines. What has no place is counted.
func (m *model) items(label string, items []string, linesMax int) []string {
	width := m.width - labelWidth
	lines := []string{""}
	for i, item := range items {
		item = m.plain(item)
		last := &lines[len(lines)-1]
		more := "" // what must fit behind the item
		if left := len(items) - i - 1; left > 0 && len(lines) == linesMax {
			more = fmt.Sprintf("; +%d", left)
		}
		if *last == "" {
			*last = m.cut(item, width-len(more))
			continue
		}
		if ansi.StringWidth(*last)+len("; ")+ansi.StringWidth(item)+len(more) <= width {
			*last += "; " + item
			continue
		}
		if len(lines) == linesMax {
			*last += fmt.Sprintf("; +%d", len(items)-i)
			break
		}
		lines = append(lines, m.cut(item, width))
	}
	if len(items) == 0 {
		lines[0] = "none"
	}
	for i, line := range lines {
		lines[i] = bold.Render(m.fit(label, labelWidth, false)) + m.cut(line, width)
		label = ""
	}
	return lines
}

// attacks are the classes that are attacks.
var attacks = []string{string(watch.ClassAttack), string(watch.ClassSlowSpray), string(watch.ClassAccountAbuse)}

// attackTexts say whether there is an attack, and since when.
func attackTexts(v *view.View) []string {
	s := v.State
	since := fmt.Sprintf("since %s (%s)", clock(s.Since, v.Time), age(v.Time.Sub(s.Since)))
	var texts []string
	switch {
	case slices.Contains(attacks, s.Verdict):
		texts = append(texts, strings.ReplaceAll(s.Verdict, "_", " ")+" "+since)
	case s.Verdict == string(watch.ClassLearning):
		texts = append(texts, "none seen", fmt.Sprintf("the detector has learned %.0f %%", 100*s.Learned))
	default:
		texts = append(texts, "none", strings.ReplaceAll(s.Verdict, "_", " ")+" "+since)
	}
	if i := s.Incident; i != nil {
		text := fmt.Sprintf("incident %s %s", i.ID, i.Stage)
		if i.Class != s.Verdict {
			text += fmt.Sprintf(" (%s since %s)", strings.ReplaceAll(i.Class, "_", " "), clock(i.Since, v.Time))
		}
		texts = append(texts, text)
		if !i.Acknowledged {
			texts = append(texts, "not acknowledged")
		}
	}
	return texts
}

// overWindow names the time that counts of logins are over.
var overWindow = incident.Over(monitor.Window)

// usersTexts say how the known users are served.
func usersTexts(k monitor.Known) []string {
	all := k.Good + k.Slow + k.Limited + k.Failed
	if all == 0 {
		return []string{"no logins by known users " + overWindow}
	}
	return []string{
		fmt.Sprintf("%.1f %% of %d served, %d slow, %d limited, %d failed (%s)", 100*float64(k.Good+k.Slow)/float64(all), all, k.Slow, k.Limited, k.Failed, overWindow),
		fmt.Sprintf("95 %% greeted within %s", k.Greeted.Round(time.Millisecond)),
	}
}

// doingTexts say what postern does against strangers.
func doingTexts(v *view.View) []string {
	mode := "enforcing"
	if v.Mode.Observe {
		mode = "only observing: verdicts are not enforced"
	}
	if v.Mode.Observe != v.Mode.Setting {
		mode += fmt.Sprintf(" until %s (%s)", clock(v.Mode.Until, v.Time), v.Mode.By)
	}
	texts := []string{mode}
	if v.Tight {
		texts = append(texts, "limits for strangers tightened")
	}
	if rate := refused.rate(v); rate > 0 {
		texts = append(texts, short(rate)+"/s refused")
	}
	if v.Tarpit.Now > 0 {
		texts = append(texts, fmt.Sprintf("%d delayed", v.Tarpit.Now))
	}
	if rate := repeat.rate(v); rate > 0 {
		texts = append(texts, short(rate)+"/s repeats answered")
	}
	if v.Detail == nil {
		return texts
	}
	networks := map[decisions.Kind]int{}
	for _, d := range v.Detail.Decisions {
		networks[d.Kind]++
	}
	texts = append(texts, eventlog.Count(networks[decisions.Block], "network")+" blocked", fmt.Sprintf("%d allowed", networks[decisions.Allow]))
	if n := v.Detail.Listed; n > 0 {
		texts = append(texts, eventlog.Count(n, "source")+" listed for firewalls")
	}
	return texts
}

// lanesTexts say how much is left for logins, and what waits for it.
func lanesTexts(l view.Lanes) []string {
	texts := []string{"the rule global is off"}
	if l.Size > 0 {
		texts = []string{fmt.Sprintf("%.0f/%d tokens left", l.Left, l.Size), fmt.Sprintf("%d for the known", l.Reserved)}
	}
	return append(texts, fmt.Sprintf("waiting: %d known, %d strangers", l.KnownWait, l.StrangersWait))
}

// tableTexts show what is bounded.
func tableTexts(v *view.View) []string {
	return []string{
		"tarpit " + place(v.Tarpit), "buckets " + place(view.Place{Now: v.Tables.Buckets, Max: v.Tables.Max}),
		fmt.Sprintf("known %d", v.Tables.Known), "open " + place(view.Place{Now: v.State.Connections, Max: v.State.MaxConnections}),
	}
}

// backendTexts describe each backend, those that are down first, and what waits for a slot.
func backendTexts(v *view.View) []string {
	var down, up []string
	for _, b := range v.Backends {
		if !b.Up {
			down = append(down, fmt.Sprintf("%s %s DOWN: %s", b.Protocol, b.Addr, b.Error))
			continue
		}
		up = append(up, fmt.Sprintf("%s %s up: %s logins, %s", b.Protocol, b.Addr, place(b.Logins), eventlog.Count(b.Sessions, "session")))
	}
	if known, strangers := v.Lanes.KnownSlots, v.Lanes.StrangerSlots; known+strangers > 0 {
		down = append(down, fmt.Sprintf("waiting for a slot: %d known, %d strangers", known, strangers))
	}
	return append(down, up...)
}

// processTexts describe each generation.
func processTexts(v *view.View) []string {
	texts := make([]string, len(v.State.Generations))
	for i, g := range v.State.Generations {
		texts[i] = fmt.Sprintf("#%d %s for %s: %s, %d before login", g.Number, g.Version, age(v.Time.Sub(g.Since)), eventlog.Count(g.Sessions, "session"), g.Prelogin)
		if !g.Until.IsZero() {
			texts[i] += ", ends in " + age(g.Until.Sub(v.Time))
		}
	}
	return texts
}

// gatewayTexts say how the gateway counts together with others, and describe each of those.
func gatewayTexts(s *monitor.Sharing) []string {
	first := fmt.Sprintf("%s, %.0f %% of LIMIT_GLOBAL", s.Mode, 100*s.GlobalPart)
	if s.ReceiptAge > 0 {
		first += ", receipt " + age(seconds(s.ReceiptAge)) + " ago"
	}
	texts := []string{first}
	for _, member := range s.Members {
		text := fmt.Sprintf("%s %s", member.Name, member.Version)
		if member.Own {
			text += " (this one)"
		} else {
			text += fmt.Sprintf(" %s, seen %s ago", member.Mode, age(seconds(member.SeenAgo)))
		}
		if member.Leads {
			text += ", alerts people"
		}
		texts = append(texts, text)
	}
	return texts
}

// seconds is s as a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// listenerTexts describe each listener.
func listenerTexts(all []view.Listener) []string {
	texts := make([]string, len(all))
	for i, l := range all {
		texts[i] = fmt.Sprintf("%s %s: %d open, %d/min", l.Name, l.Addr, l.Open, l.Rate)
		if l.Proxy {
			texts[i] += " (PROXY)"
		}
	}
	return texts
}

// place writes a bounded number.
func place(p view.Place) string {
	if p.Max == 0 {
		return fmt.Sprint(p.Now)
	}
	return fmt.Sprintf("%d/%d", p.Now, p.Max)
}
