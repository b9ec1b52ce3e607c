package main

import (
	"context"
	"flag"

	"postern/cmd/postern/internal/demo"
)

// prepareDemo declares the flags of `postern demo`.
func prepareDemo(flags *flag.FlagSet) func(context.Context, process) error {
	attack := flags.Bool("attack", false, "play users, and then an attack, and print counts, the alerts and the public status")
	return func(ctx context.Context, p process) error {
		return demo.Run(ctx, demo.Options{Environ: p.environ, Stdout: p.stdout, Log: p.stderr, Attack: *attack})
	}
}
