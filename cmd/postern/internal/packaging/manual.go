package packaging

import (
	"fmt"
	"strings"
)

// Pages returns the manual pages by their file names.
func (h Help) Pages() map[string]string {
	return map[string]string{
		"postern.8":       h.posternPage(),
		"postern-bench.1": h.benchPage(),
		"postern.env.5":   h.settingsPage(),
	}
}

// page is a manual page in the language of roff.
type page struct{ strings.Builder }

// newPage begins a page.
func newPage(name, section, summary string) *page {
	p := &page{}
	fmt.Fprintf(p, ".\\\" Generated from the help: go test ./cmd/postern/internal/packaging -run Reference -update\n")
	fmt.Fprintf(p, ".TH %s %s \"\" postern \"postern manual\"\n", strings.ToUpper(name), section)
	p.section("name")
	fmt.Fprintf(p, "%s \\- %s\n", escape(name), escape(summary))
	return p
}

// section begins a section.
func (p *page) section(title string) { fmt.Fprintf(p, ".SH %s\n", strings.ToUpper(title)) }

// item writes a term and its explanation, which is plain text.
func (p *page) item(term, meaning string) {
	fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n", escape(term))
	p.paragraph(meaning)
}

// flags writes a list of flags.
func (p *page) flags(all []Flag) {
	for _, f := range all {
		value := ""
		if f.Value != "" {
			value = " \\fI" + escape(f.Value) + "\\fR"
		}
		fmt.Fprintf(p, ".TP\n\\fB\\-%s\\fR%s\n", escape(f.Name), value)
		p.paragraph(f.Meaning)
	}
}

// paragraph writes plain text that is filled.
func (p *page) paragraph(text string) { p.WriteString(escape(text) + "\n") }

// prose writes text whose indented lines are preformatted.
func (p *page) prose(text string) {
	formatted, empty := false, true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, "  "); line != "" && indented != formatted {
			p.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n.PP\n"}[indented])
			formatted, empty = indented, false
		}
		switch {
		case line == "" && !empty && !formatted:
			p.WriteString(".PP\n")
			empty = true
		case line != "":
			p.paragraph(line)
			empty = false
		}
	}
	if formatted {
		p.WriteString(".fi\n")
	}
}

// escape writes text so that roff prints it as it is.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "`", `\(ga`, `'`, `\(aq`, `"`, `\(dq`, `^`, `\(ha`, `~`, `\(ti`, "⟳", "(live)").Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// posternPage is postern(8).
func (h Help) posternPage() string {
	p := newPage("postern", "8", "front proxy for IMAP and POP3 that limits login attempts")
	p.section("synopsis")
	p.WriteString(".B postern\n[\\fIcommand\\fR] [\\fIflags\\fR]\n")
	p.section("description")
	p.prose(description)
	p.section("commands")
	for _, c := range h.Commands {
		fmt.Fprintf(p, ".SS \"postern %s\"\n", escape(c.Usage))
		p.paragraph(c.Summary + ".")
		if c.Text != "" {
			p.WriteString(".PP\n")
			p.prose(c.Text)
		}
		p.flags(c.Flags)
	}
	p.section("signals")
	for _, s := range signals {
		p.item(s[0], s[1])
	}
	p.section("exit status")
	p.paragraph("0 for success, 1 for failure, 2 for wrong usage. The commands check and doctor have codes of their own: 0 for OK, 1 for a warning, 2 for a problem, 3 if they could not run.")
	p.section("files")
	for _, f := range files {
		p.item(f[0], f[1])
	}
	p.section("see also")
	p.WriteString(".BR postern.env (5),\n.BR postern\\-bench (1),\n.BR doveconf (1)\n")
	return p.String()
}

// benchPage is postern-bench(1).
func (h Help) benchPage() string {
	p := newPage(h.Bench.Name, "1", h.Bench.Summary)
	p.section("synopsis")
	p.WriteString(".B postern\\-bench\n" + escape(strings.TrimPrefix(h.Bench.Usage, h.Bench.Name+" ")) + "\n")
	p.section("description")
	p.prose(h.Bench.Text)
	p.flags(h.Bench.Flags)
	p.section("see also")
	p.WriteString(".BR postern (8)\n")
	return p.String()
}

// settingsPage is postern.env(5).
func (h Help) settingsPage() string {
	p := newPage("postern.env", "5", "settings of postern")
	p.section("description")
	p.prose(settingsFile)
	p.section("settings")
	for _, s := range h.Settings {
		live := ""
		if s.Live {
			live = " Takes effect at a reload."
		}
		fallback := s.Default
		if fallback == "" {
			fallback = "none"
		}
		p.item(s.Name, fmt.Sprintf("%s. Accepts %s. Default: %s.%s", s.Meaning, s.Accepts, fallback, live))
	}
	p.section("see also")
	p.WriteString(".BR postern (8)\n")
	return p.String()
}
