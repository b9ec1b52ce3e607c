package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The columns of WriteTable and its width, in characters.
const (
	tableWidth  = 100
	nameColumn  = 29
	valueColumn = 30
)

// WriteTable writes all settings, two or three lines each and at most 100
// columns wide: name, value and default, and below them the meaning. A star
// marks values that are not the default. Text that is too long is cut; Describe
// shows it in full.
func (c *Config) WriteTable(w io.Writer) error {
	var b strings.Builder
	row := func(mark, name, value, fallback string) {
		line := fmt.Sprintf("%s %-*s  %-*s  %s", mark, nameColumn, name, valueColumn, cut(value, valueColumn), cut(fallback, tableWidth-nameColumn-valueColumn-6))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row(" ", "SETTING", "VALUE", "DEFAULT")
	for _, s := range settings() {
		mark := " "
		if c.changed(s) {
			mark = "*"
		}
		row(mark, Prefix+s.Name, orDash(s.Show(c.value(s.Name))), orDash(s.defaultText()))
		b.WriteString(wrap(s.Meaning, "      "))
	}
	b.WriteString("\n* is not the default. `postern config NAME` describes one setting in full.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// described is a setting with its value, as Describe and WriteJSON give it.
type described struct {
	Name    string `json:"name"`
	Value   string `json:"value"`   // empty if there is none, "(hidden)" for a secret
	Default string `json:"default"` // or a description of it
	Changed bool   `json:"changed"` // Value is not the default
	Accepts string `json:"accepts"`
	Meaning string `json:"meaning"`
	Live    bool   `json:"live"` // takes effect at SIGHUP
}

// named returns the settings with these names, which may be with or without the
// prefix. The error for one that is unknown names the nearest.
func named(names []string) (rows []setting, err error) {
	for _, name := range names {
		name = strings.TrimPrefix(strings.ToUpper(name), Prefix)
		s, ok := find(name)
		if !ok {
			return nil, unknown(name)
		}
		rows = append(rows, s)
	}
	return rows, nil
}

// CheckNames returns an error for the first name that Describe and WriteJSON do
// not know.
func CheckNames(names []string) error {
	_, err := named(names)
	return err
}

// describe returns the named settings, all of them without names.
func (c *Config) describe(names []string) (all []described, err error) {
	rows, err := named(names)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		rows = settings()
	}
	for _, s := range rows {
		all = append(all, described{
			Name: Prefix + s.Name, Value: s.Show(c.value(s.Name)), Default: s.defaultText(), Changed: c.changed(s),
			Accepts: s.Want(), Meaning: s.Meaning, Live: s.Live,
		})
	}
	return all, nil
}

// WriteJSON writes the named settings as a JSON array, all of them without
// names.
func (c *Config) WriteJSON(w io.Writer, names []string) error {
	all, err := c.describe(names)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(all)
}

// Describe writes all there is to say about the named settings.
func (c *Config) Describe(w io.Writer, names []string) error {
	all, err := c.describe(names)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, s := range all {
		effect := "after a restart"
		if s.Live {
			effect = "at SIGHUP"
		}
		fmt.Fprintf(&b, "%s\n%s", s.Name, wrap(s.Meaning, "  "))
		fmt.Fprintf(&b, "  value    %s\n  default  %s\n  accepts  %s\n  changes  %s\n", orDash(s.Value), orDash(s.Default), s.Accepts, effect)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// value is the text of the setting name, or what was derived in its place.
func (c *Config) value(name string) string {
	text := c.values[name]
	switch {
	case text != "":
	case name == "MAX_CONNECTIONS" && c.Limits.MaxConnections > 0:
		return strconv.Itoa(c.Limits.MaxConnections)
	case name == "STATE_DIR":
		return string(c.State.Dir)
	case name == "GATEWAY":
		return string(c.Share.Gateway)
	}
	return text
}

// changed reports whether s was set to something that is not its default.
func (c *Config) changed(s setting) bool { return c.values[s.Name] != s.Default }

// defaultText is the default as written, or a description of it.
func (s setting) defaultText() string {
	if s.Default == "" {
		return s.About
	}
	return s.Default
}

// orDash stands in for an empty column.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// cut shortens s to width characters.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-3]) + "..."
	}
	return s
}

// wrap breaks text into lines of at most tableWidth characters that begin with
// indent.
func wrap(text, indent string) string {
	var b strings.Builder
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > tableWidth {
			b.WriteString(indent + line + "\n")
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return b.String() + indent + line + "\n"
}

// Markdown is a table of settings for the reference: those that most sites set,
// or the rest.
func Markdown(common bool) string {
	var b strings.Builder
	b.WriteString("| variable | default | accepts | meaning |\n|---|---|---|---|\n")
	for _, s := range settings() {
		if s.Common != common {
			continue
		}
		fallback := s.About
		if s.Default != "" {
			fallback = "`" + s.Default + "`"
		}
		meaning := s.Meaning
		if s.Live {
			meaning += " ⟳"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", Prefix, s.Name, fallback, s.Want(), meaning)
	}
	return b.String()
}
