package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// answerMax is the most that a running gate answers, in octets.
const answerMax = 16 << 20

// adminClient asks the postern that runs with the same settings.
type adminClient struct {
	addr  httpAddr
	http  *http.Client
	token string // that is shown, if there is one
}

// adminClient finds the running postern. Settings that are wrong by now are the
// business of the next start: only its address counts here.
func (s surroundings) adminClient(timeout time.Duration) (*adminClient, error) {
	c, err := s.settings()
	if c.Admin.Listen == "" {
		if err == nil {
			err = wrong("ADMIN_LISTEN", "off: there is nobody to ask")
		}
		return nil, err
	}
	return newAdminClient(c.Admin.Listen, timeout), nil
}

// newAdminClient asks the postern at addr, which has timeout to answer.
func newAdminClient(addr httpAddr, timeout time.Duration) *adminClient {
	network, target := "tcp", string(addr)
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		network, target = "unix", path
	}
	return &adminClient{addr: addr, http: &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, target)
		},
	}}}
}

// get returns what is at path. An answer that is not 200 is an error with its
// text.
func (a *adminClient) get(ctx context.Context, path string) ([]byte, error) {
	return a.do(ctx, http.MethodGet, path, nil)
}

// getJSON reads what is at path into v.
func (a *adminClient) getJSON(ctx context.Context, path string, v any) error {
	body, err := a.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("ask %s for %s: %w", a.addr, path, err)
	}
	return nil
}

// do sends a request and returns the body of its answer.
func (a *adminClient) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", a.addr, reasonOf(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", a.addr, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%.*s", errorMax, harmless(strings.TrimSpace(string(answer))))
	}
	return answer, nil
}
