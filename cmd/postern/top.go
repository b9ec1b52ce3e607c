package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/top"
)

// topHelp says what `postern top` shows.
const topHelp = `show what happens now, live in a terminal:

whether all is right, logins by outcome, queues, backends and sessions; the sources,
networks and accounts with most refusals, incidents and decisions. Keys explain, block,
allow and release what is selected; ? lists them. Addresses and accounts need the admin
token or the Unix socket.`

// topTimeout is how long the running postern may take to answer.
const topTimeout = 10 * time.Second

// prepareTop declares the flags of `postern top`.
func prepareTop(flags *flag.FlagSet) func(context.Context, process) error {
	once := flags.Bool("once", false, "print one screen of text and exit, for scripts")
	asJSON := flags.Bool("json", false, "with -once: print JSON")
	interval := flags.Duration("interval", 2*time.Second, "`time` between updates")
	return func(ctx context.Context, p process) error {
		switch {
		case *asJSON && !*once:
			return wrongUsage("got -json without -once, want both")
		case *interval < top.MinInterval:
			return wrongUsage("-interval: got %s, want at least %s", *interval, top.MinInterval)
		}
		if err := p.top(ctx, *once, *asJSON, *interval); err != nil {
			return fmt.Errorf("top: %w", err)
		}
		return nil
	}
}

// top runs `postern top`.
func (p process) top(ctx context.Context, once, asJSON bool, interval time.Duration) error {
	o, err := p.topOptions(interval)
	if err != nil {
		return err
	}
	if once {
		return top.Once(ctx, p.stdout, o, asJSON)
	}
	out, ok := p.stdout.(*os.File)
	if !ok {
		return top.ErrNoTerminal
	}
	return top.Run(ctx, os.Stdin, out, o)
}

// topOptions connects with the admin token. Without it the state is shown all the same,
// with neither addresses nor accounts.
func (p process) topOptions(interval time.Duration) (o top.Options, err error) {
	o = top.Options{Act: true, By: operatorName(p.environ), Environ: p.environ, Interval: interval}
	c, loadErr := config.Load(p.environ)
	o.Client, err = admin.NewOperatorClient(c, loadErr, topTimeout)
	if err != nil {
		o.Act, o.Note = false, err.Error()
		o.Client, err = admin.NewClient(c, loadErr, topTimeout)
	}
	return o, err
}
