package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// healthTimeout is how long the running gate may take to answer.
const healthTimeout = 5 * time.Second

// health asks the postern that serves with the same settings whether it is
// ready, and prints its answer if it is.
func health(ctx context.Context, s surroundings) error {
	admin, err := s.adminClient(healthTimeout)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	answer, err := admin.get(ctx, "/readyz")
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	fmt.Fprintln(s.stdout, strings.TrimSpace(harmless(string(answer))))
	return nil
}
