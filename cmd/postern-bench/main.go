// Command postern-bench measures mail proxies under load: CPU time, memory and
// latency of programs that it starts side by side, or of a server that runs
// already. It is the command line of package bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"postern/bench"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "backend" {
		os.Exit(subprocess("stand-in mail server", bench.RunBackend(os.Args[2], os.Args[3], os.Stdin, os.Stdout)))
	}
	if len(os.Args) == 3 && os.Args[1] == "flood" {
		os.Exit(subprocess("clients of a flood", bench.RunFlood(os.Args[2], os.Stdin, os.Stdout)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// subprocess returns the exit code of a process that the bench has started for
// itself: the mail server behind the targets, or the clients of a flood.
func subprocess(name string, err error) int {
	if err != nil {
		fmt.Fprintf(os.Stderr, "postern-bench: %s: %v\n", name, err)
		return 1
	}
	return 0
}

// run measures what args say and returns the exit code: 0 for success, 1 for
// failure, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "postern-bench: %v; see postern-bench -help\n", err)
		return 2
	}
	if c.list {
		return list(c, stdout, stderr)
	}
	bar := newProgressBar(stderr)
	c.Progress = bar.progress
	report, err := bench.Run(ctx, c.Config)
	bar.clear()
	if err != nil {
		fmt.Fprintf(stderr, "postern-bench: %v\n", err)
		return 1
	}
	if err := c.show(report, stdout); err != nil {
		fmt.Fprintf(stderr, "postern-bench: %v\n", err)
		return 1
	}
	return 0
}

// show prints the table and writes the files that flags name.
func (c *cli) show(r *bench.Report, stdout io.Writer) error {
	if err := r.Table(stdout); err != nil {
		return err
	}
	for _, form := range []struct {
		path  string
		write func(io.Writer) error
	}{{c.json, r.JSON}, {c.html, r.Page}} {
		if form.path == "" {
			continue
		}
		if err := toFile(form.path, stdout, form.write); err != nil {
			return err
		}
	}
	if c.readme != "" {
		return r.IntoReadme(c.readme)
	}
	return nil
}

// toFile writes to a file, or to stdout for "-".
func toFile(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path == "-" {
		return write(stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// list prints the works of the scenarios, one on each line.
func list(c *cli, stdout, stderr io.Writer) int {
	works, err := c.Works()
	if err != nil {
		fmt.Fprintf(stderr, "postern-bench: %v\n", err)
		return 2
	}
	for _, w := range works {
		extra := ""
		if w.Extra {
			extra = "  (only with -work)"
		}
		fmt.Fprintln(stdout, w.Name+extra)
	}
	return 0
}

// usage prints the help.
func usage(w io.Writer) {
	fmt.Fprint(w, `postern-bench measures mail proxies under load: CPU time, memory and latency.

usage: postern-bench [flags] SCENARIO...

scenarios:
`)
	for _, s := range bench.Scenarios {
		fmt.Fprintf(w, "  %-9s %s\n", s.Name, s.About)
	}
	fmt.Fprintf(w, "  %-9s %s\n", "all", "all scenarios")
	g := bench.GatewayDefaults()
	fmt.Fprintf(w, `
Targets are started side by side on this machine, in front of a stand-in mail server:

  postern-bench -target postern,nginx,haproxy,dovecot,direct login

Or measure a server that runs already, with an account made for this:

  postern-bench -imaps 10.0.0.7:993 -user bench@example.org -password-file secret login

Or attack a gateway of your own. users.txt has lines NAME:PASSWORD. The sources of
clients are loopback addresses, or are sent in PROXY headers (-proxy), which the
gateway must accept from this machine (PROXY_FROM). The run ends with a conclusion:

  postern-bench -imaps 127.0.0.1:993 -users users.txt attack
  postern-bench -imaps 10.0.0.7:993 -proxy -users users.txt -html report.html incident
  postern-bench -imaps 127.0.0.1:993 -users users.txt -held 500 tarpit

flags (at a running server, defaults are -times %s, -most %g, -attack %v,
-hour %v and -held %d):
`, joinNumbers(g.Attack.Times), g.Attack.MaxRate, g.Attack.Duration, g.Attack.Hour, g.Held)
	flags, _ := newFlags(bench.Defaults())
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// splitList splits a comma-separated list.
func splitList(s string) (parts []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// progressBar shows the progress of a run on a terminal, and nothing elsewhere.
type progressBar struct {
	w io.Writer // nil if it is no terminal
	*progressbar.ProgressBar
}

// newProgressBar writes to w if that is a terminal.
func newProgressBar(w io.Writer) *progressBar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return &progressBar{}
	}
	return &progressBar{w: w}
}

// progress shows what is measured next.
func (b *progressBar) progress(done, total int, what string) {
	if b.w == nil {
		return
	}
	if b.ProgressBar == nil {
		b.ProgressBar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	b.Describe(what)
	_ = b.Set(done)
}

// clear removes the bar.
func (b *progressBar) clear() {
	if b.ProgressBar != nil {
		_ = b.Clear()
	}
}
