package main

import (
	"context"

	"postern/cmd/postern/internal/daemon"
)

// serve runs the proxy.
func serve(ctx context.Context, p process) error {
	return daemon.Run(ctx, daemon.Options{Environ: p.environ, Log: p.stderr})
}
