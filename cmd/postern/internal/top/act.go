package top

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/limiter"
)

// action is what the user asks for.
type action struct {
	verb    verb
	subject string // an address, a network, or of a release an account
	id      string // of the decision to end
	by      string
	force   bool // although it may lock users out
}

// verb is a kind of action.
type verb string

// The verbs.
const (
	block   verb = "block"
	allow   verb = "allow"
	release verb = "release"
	end     verb = "end" // a decision
)

// lasts says for how long a decision is made.
var lasts = map[verb]string{block: "1h", allow: "8h"}

// comment is that of decisions.
const comment = "made in postern top"

// question asks whether to do it. why is the reason to ask again.
func (a action) question(why string) string {
	switch {
	case a.force:
		return fmt.Sprintf("%s; %s %s all the same? [y/n]", why, a.verb, a.subject)
	case a.verb == release:
		return fmt.Sprintf("release %s: forget its denials and end blocks of it? [y/n]", a.subject)
	case a.verb == end:
		return fmt.Sprintf("end decision %s: %s? [y/n]", a.id, a.subject)
	}
	return fmt.Sprintf("%s %s for %s? [y/n]", a.verb, a.subject, lasts[a.verb])
}

// prompt is a question that waits for y or n.
type prompt struct {
	action   action
	question string
}

// doneMsg is the end of an action.
type doneMsg struct {
	action action
	text   string // what was done
	err    error
}

// do does an action and reports it.
func (a action) do(ctx context.Context, c *admin.Client) tea.Cmd {
	return func() tea.Msg {
		switch a.verb {
		case release:
			var done decisions.Released
			err := c.PostJSON(ctx, decisions.ReleasePath, decisions.Release{Of: a.subject, By: a.by}, &done)
			return doneMsg{a, releasedText(a, done), err}
		case end:
			var done decisions.Decision
			err := c.Delete(ctx, decisions.Path+"/"+url.PathEscape(a.id)+"?"+url.Values{"by": {a.by}}.Encode(), &done)
			return doneMsg{a, "ended: " + a.subject, err}
		}
		var done decisions.Result
		err := c.PostJSON(ctx, decisions.Path, decisions.Request{
			Kind: decisions.Kind(a.verb), Network: a.subject, For: lasts[a.verb], By: a.by, Comment: comment, Force: a.force,
		}, &done)
		return doneMsg{a, decidedText(done), err}
	}
}

// decidedText says what a decision has done.
func decidedText(r decisions.Result) string {
	text := decisionText(r.Decision, r.Decision.Made)
	if r.Decision.Kind == decisions.Block {
		text += fmt.Sprintf(": %s closed, %s from there in the last day", eventlog.Count(r.Closed, "connection"), eventlog.Count(r.Users, "known user"))
	}
	if r.Warning != "" {
		text += "; " + r.Warning
	}
	return text
}

// decisionText describes a decision.
func decisionText(d decisions.Decision, now time.Time) string {
	text := string(d.Kind)
	if d.Network.IsValid() {
		text += " " + limiter.BlockName(d.Network)
	}
	if d.Until.IsZero() {
		return text + " until it is ended"
	}
	return text + " until " + clock(d.Until, now)
}

// releasedText says what a release has done.
func releasedText(a action, r decisions.Released) string {
	text := fmt.Sprintf("released %s: %s with denials, %s ended", a.subject, eventlog.Count(r.Buckets, "bucket"), eventlog.Count(len(r.Ended), "decision"))
	for _, d := range r.Blocked {
		text += "; still blocked by " + limiter.BlockName(d.Network)
	}
	return text
}

// done shows the end of an action, or asks again if it may lock users out.
func (m *model) done(msg doneMsg) tea.Cmd {
	m.acting = false
	var needsForce decisions.NeedsForceError
	switch {
	case errors.As(msg.err, &needsForce) && !msg.action.force:
		a := msg.action
		a.force = true
		m.prompt = &prompt{a, a.question(msg.err.Error())}
		return nil
	case msg.err != nil:
		m.notice = fmt.Sprintf("%s %s: %v", msg.action.verb, msg.action.subject, msg.err)
		return nil
	}
	m.notice = msg.text
	return m.ask() // shows it at once
}

// explainedMsg is an answer about a row.
type explainedMsg struct {
	about string
	e     explain.Explanation
	err   error
}

// explain asks about something.
func (m *model) explain(about string) tea.Cmd {
	m.notice = "asking about " + about + m.ellipsis
	ctx, c := m.ctx, m.client
	return func() tea.Msg {
		msg := explainedMsg{about: about}
		msg.err = c.GetJSON(ctx, explain.Path+"?"+url.Values{"about": {about}}.Encode(), &msg.e)
		return msg
	}
}

// explanationText is an answer as lines.
func explanationText(e explain.Explanation) []string {
	lines := []string{e.Summary}
	heading := ""
	for _, f := range e.Facts {
		if f.Heading != heading {
			heading = f.Heading
			lines = append(lines, "", heading)
		}
		lines = append(lines, "  "+f.Text)
	}
	if len(e.Advice) > 0 {
		lines = append(lines, "", "What to do")
	}
	for _, a := range e.Advice {
		lines = append(lines, "  "+a.Text)
		if a.Command != "" {
			lines = append(lines, "    $ "+a.Command)
		}
	}
	if len(e.Decisions) > 0 {
		lines = append(lines, "", "Decisions")
	}
	for _, d := range e.Decisions {
		lines = append(lines, fmt.Sprintf("  %s, by %s: %s", decisionText(d, e.Time), d.Who(), d.Comment))
	}
	if len(e.Events) > 0 {
		lines = append(lines, "", "Latest events")
	}
	for _, v := range e.Events {
		parts := []string{"  " + v.Time.Local().Format(time.TimeOnly), v.Session, v.Listener, v.Addr.String(), v.Account, v.Action, v.Rule, v.Result, v.Why}
		lines = append(lines, strings.Join(deleteEmpty(parts), "  "))
	}
	return lines
}

// deleteEmpty returns the texts that are not empty.
func deleteEmpty(texts []string) (out []string) {
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
