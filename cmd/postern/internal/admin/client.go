package admin

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

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

// answerMax is the most that is read of an answer, in octets.
const answerMax = 16 << 20

// Client asks the postern that runs with the same settings.
type Client struct {
	addr  string
	http  *http.Client
	token string
}

// NewClient returns a client without a token for the address in c, which has
// timeout to answer. configErr is the error of config.Load: a mistake elsewhere
// in the settings does not matter to a postern that runs already, but it may be
// why there is no address.
func NewClient(c config.Config, configErr error, timeout time.Duration) (*Client, error) {
	if c.Admin.Listen == "" {
		if configErr == nil {
			configErr = config.Errorf("ADMIN_LISTEN", "got off, want an address: the admin API is disabled")
		}
		return nil, configErr
	}
	addr := string(c.Admin.Listen)
	network, target := "tcp", addr
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		network, target = "unix", path
	}
	return &Client{addr: addr, http: &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, target)
		},
	}}}, nil
}

// NewOperatorClient is NewClient with the admin token, where one is needed. If the user
// may not read that, it has the read-only token.
func NewOperatorClient(c config.Config, configErr error, timeout time.Duration) (*Client, error) {
	client, err := NewClient(c, configErr, timeout)
	if err != nil {
		return nil, err
	}
	if client.token, err = clientToken(&c); err != nil {
		return nil, err
	}
	return client, nil
}

// Ready returns the answer to whether the gateway is ready; an error if it is
// not.
func (c *Client) Ready(ctx context.Context) (string, error) {
	answer, err := c.Get(ctx, readyPath)
	return strings.TrimSpace(eventlog.StripControl(string(answer))), err
}

// Get returns what is at path. A refusal is a *Problem, or a decisions.NeedsForceError;
// that holds for all methods.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

// GetJSON reads what is at path into v.
func (c *Client) GetJSON(ctx context.Context, path string, v any) error {
	body, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	return c.decode(path, body, v)
}

// PostJSON sends request to path and reads the answer into v.
func (c *Client) PostJSON(ctx context.Context, path string, request, v any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	answer, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	return c.decode(path, answer, v)
}

// Delete deletes what is at path and reads the answer into v.
func (c *Client) Delete(ctx context.Context, path string, v any) error {
	answer, err := c.do(ctx, http.MethodDelete, path, nil)
	if err != nil {
		return err
	}
	return c.decode(path, answer, v)
}

// decode reads an answer into v.
func (c *Client) decode(path string, answer []byte, v any) error {
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.addr, path, err)
	}
	return nil
}

// do sends a request and returns the body of its answer.
func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.addr, eventlog.WithoutAddr(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.addr, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, readProblem(resp.StatusCode, resp.Header.Get("Content-Type"), answer)
	}
	return answer, nil
}
