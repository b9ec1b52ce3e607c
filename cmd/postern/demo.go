package main

import (
	"context"
	"flag"
	"fmt"

	"postern/cmd/postern/internal/demo"
)

// prepareDemo declares the flags of `postern demo`.
func prepareDemo(flags *flag.FlagSet) func(context.Context, process) error {
	attack := flags.Bool("attack", false, "play users, and then an attack, and print counts, the alerts and the public status")
	gateways := flags.Int("gateways", 1, fmt.Sprintf("how many `gateways` run, at most %d; more than one share over valkey-server or redis-server, which must be installed", demo.GatewaysMax))
	return func(ctx context.Context, p process) error {
		if *gateways < 1 || *gateways > demo.GatewaysMax {
			return wrongUsage("got -gateways %d, want 1 to %d", *gateways, demo.GatewaysMax)
		}
		return demo.Run(ctx, demo.Options{Environ: p.environ, Stdout: p.stdout, Log: p.stderr, Attack: *attack, Gateways: *gateways})
	}
}
