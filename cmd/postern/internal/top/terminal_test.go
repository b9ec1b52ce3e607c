package top

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	tea "charm.land/bubbletea/v2"

	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
)

// build builds the command once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-top")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "postern")
	if text, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "postern/cmd/postern").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return program, nil
})

// program returns `postern top` with arguments, for a fake gateway.
func program(t *testing.T, f *fake, args ...string) *exec.Cmd {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"top", "-interval", "1s"}, args...)...)
	cmd.Env = append(testbed.Environ(), "POSTERN_ADMIN_LISTEN="+string(f.c.Admin.Listen), "POSTERN_ADMIN_TOKEN_FILE="+string(f.c.Admin.TokenFile),
		"POSTERN_ADMIN_READ_TOKEN_FILE="+string(f.c.Admin.ReadTokenFile), "TERM=xterm-256color", "LANG=C.UTF-8", "TZ=UTC", "LOGNAME=anna")
	return cmd
}

// running is a command on a terminal.
type running struct {
	*terminal
	*exec.Cmd
}

// startTop starts the command on a terminal.
func startTop(t *testing.T, f *fake, environ ...string) running {
	t.Helper()
	r := running{newTerminal(t), program(t, f)}
	r.Env = append(r.Env, environ...)
	r.start(t)
	return r
}

// start starts the command on the terminal.
func (r running) start(t *testing.T) {
	t.Helper()
	r.Stdin, r.Stdout, r.Stderr = r.slave, r.slave, r.slave
	r.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Process.Kill() }) // has ended unless the test has failed
}

// ends waits for the end of the command, with a code, and checks the terminal.
func (r running) ends(t *testing.T, code int) {
	t.Helper()
	if err := r.Wait(); r.ProcessState == nil || r.ProcessState.ExitCode() != code {
		t.Errorf("got %v, want exit code %d\n%s", err, code, r.screen())
	}
	r.checkRestored(t)
}

// TestTerminal works with the built command as a user would.
func TestTerminal(t *testing.T) {
	f := newFake(t)
	r := startTop(t, f)
	r.shows(t, "WARNING attack since 14:07 UTC", "[1 sources]", "203.0.113.7", "b:block", "?:help")
	if !r.isAltScreen() {
		t.Error("the alternate screen is not used")
	}
	r.press(t, ">")
	r.shows(t, "SOURCE↑")
	r.press(t, "/repeat\r")
	r.shows(t, "/repeat: 1 of 3", "198.51.100.99")
	r.await(t, "the filter", func(s string) bool { return !strings.Contains(s, "203.0.113.7") })
	r.resize(t, 130, 40)
	r.shows(t, "imap 10.0.0.9:143: 120 open, 30/min (PROXY)", "FIRST")
	r.resize(t, 80, 24)
	r.await(t, "80 columns", func(s string) bool { return !strings.Contains(s, "FIRST") && strings.Contains(s, "198.51.100.99") })
	r.press(t, "b")
	r.shows(t, "block 198.51.100.99 for 1h? [y/n]")
	f.mu.Lock()
	f.refuse = errNeedsForce
	f.mu.Unlock()
	r.press(t, "y")
	r.shows(t, "7 known users logged in from there; block 198.51.100.99 all the same? [y/n]")
	r.press(t, "y")
	r.shows(t, "block 198.51.100.99 until", "2 known users")
	r.press(t, "e")
	r.shows(t, "198.51.100.99 (source)", "is limited by the rule source.")
	r.press(t, "\x1b[6~\x1b[6~") // page down
	r.shows(t, "7Qx2")
	r.press(t, "q")
	r.shows(t, "/repeat: 1 of 3")
	f.change(func(v *view.View) { v.Text = "something else" })
	r.shows(t, "something else") // at the next interval
	r.press(t, "q")
	r.ends(t, 0)
	if got := strings.Join(f.requests(), "; "); got != "block 198.51.100.99 for 1h by anna force false; block 198.51.100.99 for 1h by anna force true; explain 198.51.100.99" {
		t.Errorf("got %q", got)
	}
}

// TestTerminalEnds cleanly, whatever ends it.
func TestTerminalEnds(t *testing.T) {
	for name, end := range map[string]func(r running){
		"Ctrl-C":  func(r running) { r.press(t, "\x03") },
		"SIGTERM": func(r running) { _ = r.Process.Signal(syscall.SIGTERM) },
		"SIGINT":  func(r running) { _ = r.Process.Signal(syscall.SIGINT) },
		"SIGHUP":  func(r running) { _ = r.Process.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startTop(t, newFake(t))
			r.shows(t, "[1 sources]")
			end(r)
			r.ends(t, 0)
		})
	}
}

// TestTerminalOutlivesGateway: an upgrade or a restart of the gateway does not end it.
func TestTerminalOutlivesGateway(t *testing.T) {
	f := newFake(t)
	r := startTop(t, f)
	r.shows(t, "[1 sources]")
	f.stop(t)
	r.shows(t, "NO CONNECTION: data are ", "203.0.113.7")
	f.start(t)
	r.await(t, "connection again", func(s string) bool { return !strings.Contains(s, "NO CONNECTION") && strings.Contains(s, "WARNING") })
	r.press(t, "q")
	r.ends(t, 0)
}

// TestTerminalTypes shows only what the terminal can.
func TestTerminalTypes(t *testing.T) {
	for environ, ok := range map[string]func(output string) bool{
		"TERM=xterm":      func(s string) bool { return strings.Contains(s, "█") && hasColour(s) },
		"TERM=screen":     func(s string) bool { return strings.Contains(s, "█") && hasColour(s) },
		"TERM=linux":      func(s string) bool { return !strings.ContainsFunc(s, notASCII) && hasColour(s) },
		"NO_COLOR=1":      func(s string) bool { return strings.Contains(s, "█") && !hasColour(s) },
		"LANG=C":          func(s string) bool { return !strings.ContainsFunc(s, notASCII) },
		"LC_ALL=POSIX":    func(s string) bool { return !strings.ContainsFunc(s, notASCII) },
		"LC_CTYPE=C.utf8": func(s string) bool { return strings.Contains(s, "█") },
	} {
		t.Run(environ, func(t *testing.T) {
			f := newFake(t)
			r := startTop(t, f, environ)
			r.shows(t, "[1 sources]", "203.0.113.7", "?:help")
			r.press(t, "q")
			r.ends(t, 0)
			if output := r.written(); !ok(output) {
				t.Errorf("got %q", output)
			}
		})
	}
}

// hasColour reports whether output has a colour of the 16: yellow.
func hasColour(output string) bool { return yellow.MatchString(output) }

// yellow is the sequence of that colour, with or without others.
var yellow = regexp.MustCompile(`\x1b\[([0-9;]*;)?33[;m]`)

// notASCII reports whether r is outside ASCII.
func notASCII(r rune) bool { return r > 0x7e }

// TestTerminalWithHostileNames shows texts that try to steer it.
func TestTerminalWithHostileNames(t *testing.T) {
	f := newFake(t)
	f.view = hostile()
	r := startTop(t, f)
	for _, key := range "123456" {
		r.press(t, string(key))
		r.shows(t, "["+string(key)+" "+tables[key-'1'].name+"]")
	}
	r.press(t, "q")
	r.ends(t, 0)
	if output := r.written(); strings.Contains(output, "\x1b]0;") || strings.ContainsAny(output, "\x07\u009b\u202e\u2066\u200b\u2028") {
		t.Errorf("got %q", output)
	}
}

// TestTerminalRestoredAfterPanic in each part of the program.
func TestTerminalRestoredAfterPanic(t *testing.T) {
	for _, part := range []string{"update", "view", "cmd"} {
		t.Run(part, func(t *testing.T) {
			r := running{newTerminal(t), exec.CommandContext(t.Context(), os.Args[0])}
			r.Env = []string{bePanicking + "=" + part, "TERM=xterm"}
			r.start(t)
			r.shows(t, "postern top")
			r.press(t, "!")
			r.ends(t, 1)
			// A panic in a command is in a goroutine of its own, which may end with the program before it has printed it.
			if output := r.written(); part != "cmd" && !strings.Contains(output, "panic in "+part) {
				t.Errorf("got %q", output)
			}
		})
	}
}

// bePanicking in the environment makes this program show a model with a mistake in that part.
const bePanicking = "BE_PANICKING"

// showPanicking shows it, and returns the exit code.
func showPanicking(part string) int {
	m := newModel(context.Background(), Options{Environ: os.Environ()})
	if err := run(context.Background(), os.Stdin, os.Stdout, os.Environ(), panicking{m, part, false}); errors.Is(err, tea.ErrProgramPanic) {
		return 1
	}
	return 0
}

// panicking is a model with a mistake that a key reveals.
type panicking struct {
	tea.Model
	part    string
	pressed bool
}

func (p panicking) Init() tea.Cmd { return nil }

func (p panicking) fail(part string) {
	if p.pressed && p.part == part {
		panic("panic in " + part)
	}
}

func (p panicking) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tea.KeyPressMsg); ok {
		p.pressed = true
		p.fail("update")
		return p, func() tea.Msg {
			p.fail("cmd")
			return nil
		}
	}
	m, _ := p.Model.Update(msg)
	p.Model = m
	return p, nil
}

func (p panicking) View() tea.View {
	p.fail("view")
	return p.Model.View()
}

// TestUsage: mistakes have one clear line, and the way for scripts works without a terminal.
func TestUsage(t *testing.T) {
	f := newFake(t)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":               {1, "postern: top: got no terminal as standard input and output; -once prints one screen of text\n"},
		"-json":          {2, "postern top: got -json without -once, want both\n"},
		"-interval 10ms": {2, "postern top: -interval: got 10ms, want at least 1s\n"},
		"-interval x":    {2, `postern top: invalid value "x" for flag -interval: parse error` + "\n"},
		"-x":             {2, "postern top: flag provided but not defined: -x\n"},
		"now":            {2, `postern top: got the argument "now", want none` + "\n"},
		"-once":          {0, "postern mx1.example  WARNING attack since 14:07 UTC, known users 99.6 … 14:30:05\n"},
		"-once -json":    {0, "{\n  \"time\": \"2026-11-27T14:30:05Z\",\n"},
	} {
		cmd := program(t, f, strings.Fields(args)...)
		text, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want.code || !strings.HasPrefix(string(text), want.text) {
			t.Errorf("%s: got %v\n%s", args, err, text)
		}
	}
	f.stop(t)
	cmd := program(t, f, "-once")
	if text, err := cmd.CombinedOutput(); err == nil || string(text) != "postern: top: ask "+string(f.c.Admin.Listen)+": connect: connection refused\n" {
		t.Errorf("got %v, %s", err, text)
	}
}

// TestDumbTerminal names the other way.
func TestDumbTerminal(t *testing.T) {
	s := newTerminal(t)
	o := newFake(t).options(t, "TERM=dumb")
	if err := Run(t.Context(), s.slave, s.slave, o); err == nil || err.Error() != "got TERM=dumb, want a terminal with a cursor; -once prints one screen of text" {
		t.Errorf("got %v", err)
	}
}
