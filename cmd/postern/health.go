package main

import (
	"context"
	"fmt"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
)

// healthTimeout is how long the running postern may take to answer.
const healthTimeout = 5 * time.Second

// health asks the postern that runs with the same settings whether it is ready,
// and prints its answer if it is.
func health(ctx context.Context, p process) error {
	c, err := config.Load(p.environ)
	client, err := admin.NewClient(c, err, healthTimeout)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	answer, err := client.Ready(ctx)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	fmt.Fprintln(p.stdout, answer)
	return nil
}
