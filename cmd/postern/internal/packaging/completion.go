package packaging

import (
	"fmt"
	"strings"
)

// generated is the first line of every file for a shell.
const generated = "# Generated from the help: go test ./cmd/postern/internal/packaging -run Reference -update\n"

// Completions returns the files with completion rules of shells by their names.
func (h Help) Completions() map[string]string {
	return map[string]string{
		"postern.bash":       h.bash(),
		"postern-bench.bash": h.benchBash(),
		"_postern":           h.zsh(),
		"postern.fish":       h.fish(),
	}
}

// names lists the commands.
func (h Help) names() (all []string) {
	for _, c := range h.Commands {
		all = append(all, c.Name)
	}
	return all
}

// settingNames lists the settings.
func (h Help) settingNames() (all []string) {
	for _, s := range h.Settings {
		all = append(all, s.Name)
	}
	return all
}

// arguments are the words that the first argument of c may be.
func (h Help) arguments(c Command) []string {
	if c.takesSettings() {
		return h.settingNames()
	}
	return c.words()
}

// bashFunction is a completion function: %[2]s are cases that set flags, words and files
// for a command.
const bashFunction = `%[1]s() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= flags= words= files= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case $command in
%[2]s    esac
    COMPREPLY=()
    if [[ " $files " = *" $previous "* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
    elif [[ $words = FILES ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -F %[1]s %[3]s
`

// bashCase sets what a command takes.
func bashCase(pattern string, flags []Flag, words string) string {
	var names, files []string
	for _, f := range flags {
		names = append(names, "-"+f.Name)
		if f.isFile() {
			files = append(files, "-"+f.Name)
		}
	}
	return fmt.Sprintf("        %s)\n            flags=%q words=%q files=%q\n            ;;\n", pattern, strings.Join(names, " "), words, strings.Join(files, " "))
}

// bash completes commands, flags and arguments of postern.
func (h Help) bash() string {
	cases := bashCase("''", nil, strings.Join(h.names(), " "))
	for _, c := range h.Commands {
		words := strings.Join(h.arguments(c), " ")
		if c.takesFiles() {
			words = "FILES"
		}
		if len(c.Flags) > 0 || words != "" {
			cases += bashCase(c.Name, c.Flags, words)
		}
	}
	return generated + fmt.Sprintf(bashFunction, "_postern", cases, "postern")
}

// benchBash completes flags and scenarios of postern-bench.
func (h Help) benchBash() string {
	var scenarios []string
	_, list, _ := strings.Cut(h.Bench.Text, "scenarios:\n")
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		scenarios = append(scenarios, strings.Fields(line)[0])
	}
	cases := bashCase("*", h.Bench.Flags, strings.Join(scenarios, " "))
	return generated + fmt.Sprintf(bashFunction, "_postern_bench", cases, "postern-bench")
}

// zsh completes commands, flags and arguments of postern.
func (h Help) zsh() string {
	var b strings.Builder
	b.WriteString("#compdef postern\n" + generated + "local -a commands\ncommands=(\n")
	for _, c := range h.Commands {
		fmt.Fprintf(&b, "    %s\n", quote(c.Name+":"+c.Summary))
	}
	b.WriteString(")\nif (( CURRENT == 2 )); then\n    _describe command commands\n    return\nfi\ncase $words[2] in\n")
	for _, c := range h.Commands {
		var specs []string
		for _, f := range c.Flags {
			spec := "-" + f.Name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", " -").Replace(f.Meaning) + "]"
			if f.isFile() {
				spec += ":" + f.Value + ":_files"
			} else if f.Value != "" {
				spec += ":" + f.Value + ": "
			}
			specs = append(specs, quote(spec))
		}
		if words := h.arguments(c); len(words) > 0 {
			specs = append(specs, quote("*:argument:("+strings.Join(words, " ")+")"))
		} else if c.takesFiles() {
			specs = append(specs, quote("*:file:_files"))
		}
		if len(specs) > 0 {
			fmt.Fprintf(&b, "    %s)\n        shift words\n        (( CURRENT-- ))\n        _arguments \\\n            %s\n        ;;\n", c.Name, strings.Join(specs, " \\\n            "))
		}
	}
	b.WriteString("esac\n")
	return b.String()
}

// fish completes commands, flags and arguments of postern and postern-bench.
func (h Help) fish() string {
	var b strings.Builder
	b.WriteString(generated + "complete -c postern -f\n")
	for _, c := range h.Commands {
		fmt.Fprintf(&b, "complete -c postern -n __fish_use_subcommand -a %s -d %s\n", c.Name, quote(c.Summary))
	}
	for _, c := range h.Commands {
		when := "complete -c postern -n '__fish_seen_subcommand_from " + c.Name + "'"
		if words := h.arguments(c); len(words) > 0 {
			fmt.Fprintf(&b, "%s -a %s\n", when, quote(strings.Join(words, " ")))
		} else if c.takesFiles() {
			fmt.Fprintf(&b, "%s -F\n", when)
		}
		for _, f := range c.Flags {
			fmt.Fprintf(&b, "%s %s\n", when, fishFlag(f))
		}
	}
	for _, f := range h.Bench.Flags {
		fmt.Fprintf(&b, "complete -c postern-bench %s\n", fishFlag(f))
	}
	return b.String()
}

// fishFlag declares a flag.
func fishFlag(f Flag) string {
	value := ""
	if f.isFile() {
		value = " -r -F"
	} else if f.Value != "" {
		value = " -x"
	}
	return fmt.Sprintf("-o %s%s -d %s", f.Name, value, quote(f.Meaning))
}

// quote quotes text for zsh and fish, in single quotes. An apostrophe is left out, because
// the two escape it in different ways.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, "", `'`, "’").Replace(text) + "'"
}
