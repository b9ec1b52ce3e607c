// Package packaging makes the manual pages and the completion of shells for postern and
// postern-bench. Its source is what the programs print about themselves: the help, and
// the settings as `postern config -json` prints them. Its tests compare the result with
// deploy/man and deploy/completion, and test the Debian package. No program contains it.
package packaging

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// Flag is one flag of a program or command.
type Flag struct {
	Name    string // without the hyphen
	Value   string // kind of value, such as duration; empty for a switch
	Meaning string // with the default
}

// Command is a subcommand of postern, or a program without subcommands.
type Command struct {
	Name    string
	Usage   string // how to call it, without the name of the program
	Summary string // one line
	Text    string // further help; indented lines are preformatted
	Flags   []Flag
}

// Setting is one setting of postern.
type Setting struct {
	Name    string `json:"name"`
	Default string `json:"default"`
	Accepts string `json:"accepts"`
	Meaning string `json:"meaning"`
	Live    bool   `json:"live"` // takes effect at a reload
}

// Help is all that the programs print about themselves.
type Help struct {
	Commands []Command // of postern
	Bench    Command   // postern-bench
	Settings []Setting
}

// ReadHelp runs the programs in a directory for their help.
func ReadHelp(dir string) (h Help, err error) {
	index, err := output(dir+"/postern", "-h")
	if err != nil {
		return h, err
	}
	_, list, _ := strings.Cut(index, "\ncommands:\n")
	for _, line := range regexp.MustCompile(`(?m)^  ([a-z]+) +(.*)$`).FindAllStringSubmatch(list, -1) {
		c := Command{Name: line[1], Usage: line[1], Summary: line[2]}
		if c.Name != "help" {
			text, err := output(dir+"/postern", c.Name, "-h")
			if err != nil {
				return h, err
			}
			c.parse(text)
		}
		h.Commands = append(h.Commands, c)
	}
	if len(h.Commands) < 2 {
		return h, fmt.Errorf("read the help of postern: got %q, want a list of commands", index)
	}
	text, err := output(dir+"/postern-bench", "-h")
	if err != nil {
		return h, err
	}
	h.Bench.Name = "postern-bench"
	h.Bench.parseProgram(text)
	h.Settings, err = readSettings(dir)
	return h, err
}

// output runs a program without settings and returns what it prints. An exit code that is
// not 0 is an error.
func output(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"POSTERN_STATE_DIR=off"}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", cmd, err)
	}
	return string(out), nil
}

// readSettings lists the settings. Without settings the command fails after it has
// printed them, because some are required.
func readSettings(dir string) (all []Setting, err error) {
	cmd := exec.Command(dir+"/postern", "config", "-json")
	cmd.Env = []string{"POSTERN_STATE_DIR=off"}
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("run %s: %w", cmd, err)
	}
	return all, nil
}

// parse reads the help of a command: the usage, a summary, further text and the flags, as
// package flag prints them.
func (c *Command) parse(help string) {
	usage, rest, _ := strings.Cut(help, "\n")
	c.Usage = strings.TrimPrefix(usage, "usage: postern ")
	_, rest, _ = strings.Cut(strings.TrimLeft(rest, "\n"), "\n")
	c.Text, c.Flags = splitFlags(rest)
	if len(c.Flags) == 0 {
		c.Usage = strings.TrimSuffix(c.Usage, " [flags]")
	}
}

// parseProgram reads the help of postern-bench: a summary, the usage, further text and
// the flags below a line that begins with "flags".
func (c *Command) parseProgram(help string) {
	summary, rest, _ := strings.Cut(help, "\n\nusage: ")
	usage, rest, _ := strings.Cut(rest, "\n")
	c.Summary = strings.TrimSuffix(strings.TrimPrefix(summary, c.Name+" "), ".")
	c.Usage = usage
	c.Text, c.Flags = splitFlags(rest)
}

// flagLine is the first line of a flag.
var flagLine = regexp.MustCompile(`^  -([a-z0-9-]+)(?: ([^\t]+))?(?:\t(.*))?$`)

// splitFlags separates the flags at the end of a help from the text before.
func splitFlags(help string) (text string, flags []Flag) {
	var before strings.Builder
	for lines := bufio.NewScanner(strings.NewReader(help)); lines.Scan(); {
		line := lines.Text()
		switch m := flagLine.FindStringSubmatch(line); {
		case m != nil:
			flags = append(flags, Flag{Name: m[1], Value: m[2], Meaning: m[3]})
		case len(flags) > 0:
			last := &flags[len(flags)-1]
			last.Meaning = strings.TrimSpace(last.Meaning + " " + strings.TrimSpace(line))
		default:
			before.WriteString(line + "\n")
		}
	}
	return strings.TrimSpace(strings.TrimPrefix(before.String(), "\n")), flags
}

// words are the fixed words that c takes as its first argument, such as the actions of
// incident: those in the usage, or if that ends with "..." those of the list in the text.
func (c Command) words() (all []string) {
	choice := regexp.MustCompile(`\[([a-z-]+(?:\|[a-z.-]+)+)\]`).FindStringSubmatch(c.Usage)
	if choice == nil {
		return nil
	}
	all = strings.Split(choice[1], "|")
	if all[len(all)-1] != "..." {
		return all
	}
	all = all[:0]
	for _, m := range regexp.MustCompile(`(?m)^ {0,2}([a-z-]+)(?: \S+)* {2,}\S`).FindAllStringSubmatch(c.Text, -1) {
		all = append(all, m[1])
	}
	return all
}

// takesFiles reports whether the arguments of c are files.
func (c Command) takesFiles() bool { return strings.Contains(c.Usage, "FILE") }

// takesSettings reports whether the arguments of c are names of settings.
func (c Command) takesSettings() bool { return strings.Contains(c.Usage, "[NAME...]") }

// isFile reports whether the value of f is a file.
func (f Flag) isFile() bool { return f.Value == "file" || f.Value == "path" }
