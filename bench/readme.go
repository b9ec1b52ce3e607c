package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// The markers around a report in a Markdown file.
const (
	beginFigures = "<!-- begin figures -->\n"
	endFigures   = "<!-- end figures -->"
)

// IntoReadme replaces the text between the markers of a Markdown file.
func (r *Report) IntoReadme(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(beginFigures))
	_, after, ends := bytes.Cut(rest, []byte(endFigures))
	if !begins || !ends {
		return fmt.Errorf("%s: want lines %q and %q", path, beginFigures[:len(beginFigures)-1], endFigures)
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
		r.Start.Format("2 January 2006"), r.Took, m.Cores, m.CPU, m.Memory, m.System, m.Go, r.Command)
	others := r.Others()
	fmt.Fprintf(w, "Other programs used %.0f %% to %.0f %% of the machine meanwhile.\n", 100*others[0], 100*others[1])
	for _, t := range r.Targets {
		fmt.Fprintf(w, "\n- **%s** %s: %s", t.Name, t.Version, t.About)
	}
	fmt.Fprintln(w)
	if r.Interrupted != "" {
		fmt.Fprintf(w, "\n**This run is incomplete**: %s.\n", r.Interrupted)
	}
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "\nNot measured: %s.\n", missing)
	}
	r.markdownGoals(w)
	fmt.Fprint(w, "\n### All figures\n\nMedian, ± the distance of the round furthest from it, and in brackets postern as a multiple of the peer. A tilde marks a target that other programs disturbed.\n")
	for i := range r.Groups {
		r.markdownGroup(w, &r.Groups[i])
	}
}

// markdownGoals writes postern's goals and whether they are met.
func (r *Report) markdownGoals(w io.Writer) {
	if len(r.Goals) == 0 {
		return
	}
	peers := r.ComparedPeers()
	fmt.Fprint(w, "\n### Goals\n\npostern as a multiple of each peer; in brackets the highest ratio that the goal allows.\n\n| figure | postern |")
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
		fmt.Fprintf(w, " postern needs over 10 %% more than a peer for: %s.", strings.Join(behind, "; "))
	}
	fmt.Fprintln(w)
}

// behind lists the goals in which postern needs over 10 % more than a peer.
func (r *Report) behind(peers []string) (list []string) {
	for _, g := range r.Goals {
		for _, p := range peers {
			if ratio := g.Peers[p].Ratio; ratio > 1.1 {
				list = append(list, fmt.Sprintf("%s (%.2f × %s)", g.Name, ratio, p))
			}
		}
	}
	return list
}

// String is the ratio and the highest allowed one, in bold if it is exceeded.
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
		fmt.Fprintf(w, " %s%s |", t.Name, g.suffix(t.Name))
		rule += "---:|"
	}
	fmt.Fprintf(w, "\n%s\n", rule)
	for _, row := range g.Informative() {
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
