package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// prepareConfig declares the flags of `postern config`. Without -markdown it
// prints the values of now and fails with the first thing that is wrong with
// them.
func prepareConfig(flags *flag.FlagSet) func(context.Context, surroundings) error {
	markdown := flags.Bool("markdown", false, "print the table of README.md instead, without the values of now")
	return func(_ context.Context, s surroundings) error {
		if *markdown {
			return writeMarkdown(s.stdout)
		}
		c, wrong := s.settings()
		if err := writeSettings(s.stdout, c); err != nil {
			return err
		}
		return wrong
	}
}

// writeSettings writes a table of all settings. A star marks the values that
// are not the default.
func writeSettings(w io.Writer, c Config) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, " \tSETTING\tNOW\tDEFAULT\tMEANING")
	for _, s := range settings() {
		mark := " "
		if c.values[s.Name] != s.Default {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%s%s\t%s\t%s\t%s\n", mark, prefix, s.Name, orDash(s.Show(c.now(s.Name))), orDash(s.defaultText()), s.Meaning)
	}
	return t.Flush()
}

// now is the text of the setting name, or what was derived in place of one.
func (c *Config) now(name string) string {
	if text := c.values[name]; text != "" || name != "MAX_CONNECTIONS" || c.Limits.MaxConnections == 0 {
		return text
	}
	return strconv.Itoa(c.Limits.MaxConnections)
}

// orDash stands in for an empty column.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// defaultText is the default as written, or a description of it.
func (s setting) defaultText() string {
	if s.Default == "" {
		return s.About
	}
	return s.Default
}

// writeMarkdown writes the settings table of README.md.
func writeMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | takes | meaning |\n|---|---|---|---|\n")
	for _, s := range settings() {
		fallback := s.About
		if s.Default != "" {
			fallback = "`" + s.Default + "`"
		}
		meaning := s.Meaning
		if s.Live {
			meaning += " ⟳"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", prefix, s.Name, fallback, s.Takes(), meaning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
