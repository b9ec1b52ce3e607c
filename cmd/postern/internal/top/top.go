// Package top shows a running postern in a terminal: `postern top`. It shows the View of
// the admin API, which has the same content as the page, and sends the operator's actions
// to the admin API.
//
// The package makes no decision and stores nothing. What it shows of clients comes from
// strangers: every text is escaped and cut to the width of its place.
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/view"
)

// MinInterval is the shortest time between two requests for a View. The gateway makes a
// new one each second.
const MinInterval = time.Second

// framesPerSecond is how often the library compares the screen with what is to be shown.
// More would cost CPU time while nothing happens.
const framesPerSecond = 10

// Options say what is shown, where, and what the user may do.
type Options struct {
	Client   *admin.Client
	Act      bool   // the client may block, allow and release
	Note     string // why the client has no token or may not act; empty if it may
	By       string // the name of the user, for decisions
	Environ  []string
	Interval time.Duration // between requests
}

// ErrNoTerminal is the error of Run where there is no terminal.
var ErrNoTerminal = errors.New("got no terminal as standard input and output; -once prints one screen of text")

// Run shows the state on the terminal, until the user quits, ctx ends or the process gets
// SIGINT, SIGTERM or SIGHUP. The terminal is as before when it returns, also after a
// panic. A gateway that does not answer is no error: Run reports it on the screen and asks
// again.
func Run(ctx context.Context, in, out *os.File, o Options) error {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return ErrNoTerminal
	}
	if name := getenv(o.Environ, "TERM"); name == "" || name == "dumb" {
		return fmt.Errorf("got TERM=%s, want a terminal with a cursor; -once prints one screen of text", name)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	return run(ctx, in, out, o.Environ, newModel(ctx, o))
}

// run shows m on a terminal.
func run(ctx context.Context, in, out *os.File, environ []string, m tea.Model) error {
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out),
		tea.WithEnvironment(environ), tea.WithFPS(framesPerSecond)).Run()
	switch {
	case errors.Is(err, tea.ErrProgramPanic):
		return err
	case ctx.Err() != nil, errors.Is(err, tea.ErrInterrupted):
		return nil
	}
	return err
}

// Once prints one screen of text, without escape sequences, or the View as JSON.
func Once(ctx context.Context, w io.Writer, o Options, asJSON bool) error {
	var v view.View
	if err := o.Client.GetJSON(ctx, view.Path, &v); err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	m := newModel(ctx, o)
	m.once, m.width, m.height = true, lineCount(o.Environ, "COLUMNS", 80), lineCount(o.Environ, "LINES", 24)
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 1 {
			m.width, m.height = width, height-1 // the last line is for the prompt of the shell
		}
	}
	m.received(viewMsg{at: v.Time, view: &v})
	for line := range strings.SplitSeq(m.screen(), "\n") {
		if _, err := fmt.Fprintln(w, strings.TrimRight(ansi.Strip(line), " ")); err != nil {
			return err
		}
	}
	return nil
}

// lineCount returns a variable that is a number of lines or columns, or the default.
func lineCount(environ []string, name string, otherwise int) int {
	if n, err := strconv.Atoi(getenv(environ, name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
