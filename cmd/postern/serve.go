package main

import (
	"context"
	"os"

	"postern/cmd/postern/internal/daemon"
)

// serve runs the proxy.
func serve(ctx context.Context, p process) error {
	return daemon.Run(ctx, daemon.Options{Args: os.Args, Environ: p.environ, Log: p.stderr})
}
