package main

import (
	"context"
	"fmt"

	"postern/cmd/postern/internal/daemon"
)

// version prints what this program was built from.
func version(_ context.Context, p process) error {
	_, err := fmt.Fprintln(p.stdout, daemon.ThisBuild())
	return err
}
