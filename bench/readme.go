package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// The markers between which a report stands in a text.
const (
	beginFigures = "<!-- begin figures -->\n"
	endFigures   = "<!-- end figures -->"
)

// IntoReadme replaces what stands between the markers of a Markdown file.
func (r *Report) IntoReadme(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(beginFigures))
	_, after, ends := bytes.Cut(rest, []byte(endFigures))
	if !begins || !ends {
		return fmt.Errorf("%s: no lines %q and %q", path, beginFigures[:len(beginFigures)-1], endFigures)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(beginFigures)
	r.markdown(&b)
	b.WriteString(endFigures)
	b.Write(after)
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// markdown writes the report as tables.
func (r *Report) markdown(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "Measured on %s in %s, on %d cores (%s), %s, %s, %s, by `%s`.\n",
		r.Begun.Format("2 January 2006"), r.Took, m.Cores, m.CPU, m.Memory, m.System, m.Go, r.Command)
	others := r.Others()
	fmt.Fprintf(w, "Others used %.0f %% to %.0f %% of the machine meanwhile.\n", 100*others[0], 100*others[1])
	for _, t := range r.Targets {
		fmt.Fprintf(w, "\n- **%s** %s: %s", t.Name, t.Version, t.About)
	}
	fmt.Fprintln(w)
	if r.Interrupted != "" {
		fmt.Fprintf(w, "\n**This run is not complete**: %s.\n", r.Interrupted)
	}
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "\nNot measured: %s.\n", missing)
	}
	r.markdownGoals(w)
	fmt.Fprint(w, "\n### All figures\n\nMedian, ± the round that is furthest from it, and in brackets postern as a multiple of the peer. A tilde marks what others disturbed.\n")
	for i := range r.Groups {
		r.markdownGroup(w, &r.Groups[i])
	}
}

// markdownGoals writes how postern stands against its goals.
func (r *Report) markdownGoals(w io.Writer) {
	if len(r.Goals) == 0 {
		return
	}
	peers := r.JudgedPeers()
	fmt.Fprint(w, "\n### Against the goals\n\npostern as a multiple of each peer, and the most that was allowed before the work began.\n\n| figure | postern |")
	rule := "|---|---:|"
	for _, p := range peers {
		fmt.Fprintf(w, " × %s |", p)
		rule += "---:|"
	}
	fmt.Fprintf(w, " met |\n%s---|\n", rule)
	met := 0
	for _, g := range r.Goals {
		own := number(g.Own) + " " + g.Unit
		if g.Bound != "" {
			own += " (" + g.Bound + ")"
		}
		fmt.Fprintf(w, "| %s | %s |", g.Name, own)
		for _, p := range peers {
			fmt.Fprintf(w, " %s |", g.Peers[p])
		}
		if g.Met {
			met++
		}
		fmt.Fprintf(w, " %s |\n", map[bool]string{true: "yes", false: "**no**"}[g.Met])
	}
	fmt.Fprintf(w, "\n%d of %d goals are met.", met, len(r.Goals))
	if behind := r.behind(peers); len(behind) > 0 {
		fmt.Fprintf(w, " postern needs more than a peer does, by over 10 %%, for: %s.", strings.Join(behind, "; "))
	}
	fmt.Fprintln(w)
}

// behind says what postern needs more for than its peers do.
func (r *Report) behind(peers []string) (said []string) {
	for _, g := range r.Goals {
		for _, p := range peers {
			if ratio := g.Peers[p].Ratio; ratio > 1.1 {
				said = append(said, fmt.Sprintf("%s (%.2f × %s)", g.Name, ratio, p))
			}
		}
	}
	return said
}

// String is the ratio and what was allowed, in bold if it is missed.
func (p GoalPeer) String() string {
	switch {
	case p.Most == 0:
		return "–"
	case p.Met:
		return fmt.Sprintf("%.2f (≤ %.2f)", p.Ratio, p.Most)
	}
	return fmt.Sprintf("**%.2f** (≤ %.2f)", p.Ratio, p.Most)
}

// markdownGroup writes the figures of one work.
func (r *Report) markdownGroup(w io.Writer, g *Group) {
	fmt.Fprintf(w, "\n**%s**\n\n| |", g.Work)
	rule := "|---|"
	for _, t := range r.Targets {
		fmt.Fprintf(w, " %s%s |", t.Name, g.mark(t.Name))
		rule += "---:|"
	}
	fmt.Fprintf(w, "\n%s\n", rule)
	for _, row := range g.Telling() {
		fmt.Fprintf(w, "| %s |", row.label())
		for i, t := range r.Targets {
			fmt.Fprintf(w, " %s |", row.text(t.Name, r.Targets[0].Name, i > 0))
		}
		fmt.Fprintln(w)
	}
	for _, note := range g.notes(r.Targets) {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}
