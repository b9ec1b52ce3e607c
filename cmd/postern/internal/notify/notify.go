// Package notify tells people's tools of one incident: Alertmanager by the API
// that Prometheus uses, and any receiver of Alertmanager's webhooks directly,
// so that the same receiver works with Alertmanager between and without.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Alert is one thing to be told. Its labels say what it is and must not change
// while it goes on; its annotations say how things are.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	Starts      time.Time
	Ends        time.Time // zero while it goes on
}

// Timeout bounds one delivery.
const Timeout = 10 * time.Second

// outlives is how long Alertmanager believes in an alert that it does not hear
// of again. It is told every minute; Prometheus allows as many misses.
const outlives = 4 * time.Minute

// errAnswer is how much of a refusal is quoted, in octets.
const errAnswer = 200

// client follows no redirect: what is posted to one address is not for another.
var client = &http.Client{
	Timeout:       Timeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends body as JSON. The error names the host alone: the rest of a
// webhook's address is often its password.
func post(ctx context.Context, to *url.URL, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("tell %s: %w", to.Host, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("tell %s: %w", to.Host, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "postern")
	resp, err := client.Do(req)
	if err != nil {
		var full *url.Error
		if errors.As(err, &full) {
			err = full.Err
		}
		return fmt.Errorf("tell %s: %w", to.Host, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, errAnswer))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("tell %s: it answers %s: %s", to.Host, resp.Status, bytes.TrimSpace(answer))
	}
	return err
}
