package main

import (
	"context"
	"flag"
	"io"

	"postern/cmd/postern/internal/config"
)

// prepareConfig declares the flags of `postern config`. But for -markdown it
// prints the settings even if they are wrong, and fails then with the first
// mistake.
func prepareConfig(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	markdown := flags.Bool("markdown", false, "print the tables of the reference instead, without values")
	return func(_ context.Context, p process) error {
		if *markdown {
			_, err := io.WriteString(p.stdout, config.Markdown(true)+"\n"+config.Markdown(false))
			return err
		}
		if err := config.CheckNames(p.args); err != nil {
			return usageError{err}
		}
		c, wrong := config.Load(p.environ)
		var err error
		switch {
		case *asJSON:
			err = c.WriteJSON(p.stdout, p.args)
		case len(p.args) > 0:
			err = c.Describe(p.stdout, p.args)
		default:
			err = c.WriteTable(p.stdout)
		}
		if err != nil {
			return err
		}
		return wrong
	}
}
