package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthTimeout is how long the running gate may take to answer.
const healthTimeout = 5 * time.Second

// health asks the postern that serves with the same settings whether it is
// ready, and prints its answer if it is.
func health(ctx context.Context, s surroundings) error {
	// Settings that are wrong by now are the business of the next start: only
	// the address counts here.
	c, err := s.settings()
	if c.Admin.Listen == "" {
		if err == nil {
			err = wrong("ADMIN_LISTEN", "off: there is nobody to ask")
		}
		return fmt.Errorf("health: %w", err)
	}
	answer, err := askReady(ctx, c.Admin.Listen)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	fmt.Fprintln(s.stdout, answer)
	return nil
}

// askReady returns the answer of /readyz at addr, as an error if it is not that
// the gate is ready.
func askReady(ctx context.Context, addr httpAddr) (string, error) {
	network, target := "tcp", string(addr)
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		network, target = "unix", path
	}
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, target)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", addr, reasonOf(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", addr, err)
	}
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(printable(answer, errorMax))
	}
	return answer, nil
}
