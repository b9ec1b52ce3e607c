package top

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// The styles use the 16 colours that every terminal has, and attributes that remain if
// NO_COLOR is set.
var (
	bold     = lipgloss.NewStyle().Bold(true)
	faint    = lipgloss.NewStyle().Faint(true)
	selected = lipgloss.NewStyle().Reverse(true)
	good     = lipgloss.NewStyle().Foreground(lipgloss.Green).Bold(true)
	warning  = lipgloss.NewStyle().Foreground(lipgloss.Yellow).Bold(true)
	critical = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true).Reverse(true)
)

// glyphs are the characters that a terminal can show.
type glyphs struct {
	ascii    bool   // no others than ASCII
	bars     []rune // of charts, the lowest first
	ellipsis string // ends a text that was cut
	down, up string // how a column is sorted
}

// glyphsFor chooses the characters by TERM and the locale. The font of the Linux console
// lacks most bars.
func glyphsFor(environ []string) glyphs {
	locale := ""
	for _, name := range []string{"LANG", "LC_CTYPE", "LC_ALL"} { // the last one wins
		if v := getenv(environ, name); v != "" {
			locale = strings.ToLower(v)
		}
	}
	utf8 := strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
	if !utf8 || getenv(environ, "TERM") == "linux" {
		return glyphs{ascii: true, bars: []rune(" .:-=+*#"), ellipsis: "~", down: "v", up: "^"}
	}
	return glyphs{bars: []rune(" ▁▂▃▄▅▆▇█"), ellipsis: "…", down: "↓", up: "↑"}
}

// getenv returns the last value of a variable.
func getenv(environ []string, name string) string {
	for _, v := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// textMax is the most runes of a text that are looked at. It bounds combining characters,
// which have no width, too.
const textMax = 2000

// plain returns s in one line with a \u escape for every character that is not printed:
// controls, and those that change the direction of the text or cannot be seen.
func (g glyphs) plain(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s { // an octet that is not UTF-8 becomes U+FFFD
		if n++; n > textMax {
			b.WriteString(g.ellipsis)
			break
		}
		switch {
		case !unicode.IsPrint(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case !unicode.IsPrint(r), g.ascii && r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cut shortens a text to a display width.
func (g glyphs) cut(s string, width int) string { return ansi.Truncate(s, max(width, 0), g.ellipsis) }

// fit cuts a text to a display width and fills it with spaces, at its left side if right is set.
func (g glyphs) fit(s string, width int, right bool) string {
	s = g.cut(s, width)
	space := strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
	if right {
		return space + s
	}
	return s + space
}

// wrapped returns a text as lines of a display width.
func wrapped(s string, width int) []string {
	return strings.Split(ansi.Wrap(s, max(width, 1), ""), "\n")
}

// bar draws values as one character each. The highest one has the highest bar.
func (g glyphs) bar(values []float64) string {
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		level := 0
		if v > 0 {
			level = max(int(math.Round(v/highest*float64(len(g.bars)-1))), 1)
		}
		out[i] = g.bars[level]
	}
	return string(out)
}

// short writes a number in at most four characters.
func short(n float64) string {
	switch {
	case n <= 0:
		return "0"
	case n < 9.95:
		return fmt.Sprintf("%.1f", n)
	case n < 9999.5:
		return fmt.Sprintf("%.0f", n)
	case n < 999.5e3:
		return fmt.Sprintf("%.0fk", n/1e3)
	}
	return fmt.Sprintf("%.0fM", n/1e6)
}

// age writes a duration in at most four characters, such as 12s, 3m, 5h or 20d.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", min(int(d.Hours())/24, 999))
}

// clock writes a time in the zone of the reader, with the date if it is not near now, or
// a dash for none.
func clock(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case t.Sub(now).Abs() < 12*time.Hour:
		return t.Local().Format("15:04")
	}
	return t.Local().Format("2006-01-02 15:04")
}
