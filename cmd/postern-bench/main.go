// Command postern-bench puts mail gateways under load and says what they cost:
// servers of its own making side by side, or one that runs already. Package
// bench does the work; this is its command line.
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

	"postern/bench"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "backend" {
		os.Exit(part("stand-in mail server", bench.RunBackend(os.Args[2], os.Args[3], os.Stdin, os.Stdout)))
	}
	if len(os.Args) == 3 && os.Args[1] == "flood" {
		os.Exit(part("callers", bench.RunFlood(os.Args[2], os.Stdin, os.Stdout)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// part returns the exit code of a process that the bench has started to be a
// part of it: the mail server behind the targets, or the callers of a flood.
func part(name string, err error) int {
	if err != nil {
		fmt.Fprintf(os.Stderr, "postern-bench: %s: %v\n", name, err)
		return 1
	}
	return 0
}

// run measures what args ask for and returns the exit code: 0 for success, 1
// for failure, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "postern-bench: %v\nSee postern-bench -help.\n", err)
		return 2
	}
	if c.list {
		return list(c, stdout, stderr)
	}
	bar := newBar(stderr)
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

// show writes the report in every form that was asked for.
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

// toFile writes to a file, or for "-" to stdout.
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

// list prints the works of the scenarios, one a line.
func list(c *cli, stdout, stderr io.Writer) int {
	works, err := c.Works()
	if err != nil {
		fmt.Fprintf(stderr, "postern-bench: %v\n", err)
		return 2
	}
	for _, w := range works {
		extra := ""
		if w.Extra {
			extra = "  (only if named by -work)"
		}
		fmt.Fprintln(stdout, w.Name+extra)
	}
	return 0
}

// usage prints how to call the bench.
func usage(w io.Writer) {
	fmt.Fprint(w, `postern-bench puts mail gateways under load and says what they cost.

usage: postern-bench [flags] SCENARIO...

scenarios:
`)
	for _, s := range bench.Scenarios {
		fmt.Fprintf(w, "  %-9s %s\n", s.Name, s.About)
	}
	fmt.Fprintf(w, "  %-9s %s\n", "all", "all of them")
	fmt.Fprint(w, `
targets, started side by side on this machine in front of a mail server of the bench's own:

  postern-bench -target postern,nginx,haproxy,dovecot,direct login

or a server that runs already, with an account made for this:

  postern-bench -imaps 10.0.0.7:993 -user bench@example.org -password-file secret login

flags:
`)
	flags, _ := newFlags()
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// splitList cuts a comma list.
func splitList(s string) (parts []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
