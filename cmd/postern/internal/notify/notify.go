// Package notify delivers by HTTP what people must know. An alert goes to
// Alertmanager through the API that Prometheus uses, or to a webhook in the format
// of Alertmanager's webhooks, so that the same receiver works with and without
// Alertmanager. Notices about logins go to a webhook in a format of their own.
//
// The package neither retries nor decides what is sent when; the caller does.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Alert is one alert. Its labels identify it and must not change while it fires;
// its annotations describe the current situation.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	Starts      time.Time
	Ends        time.Time // zero while it fires
}

// timeout bounds one delivery.
const timeout = 10 * time.Second

// resolveAfter is when Alertmanager resolves an alert that is not sent again. An
// alert that fires is sent every minute; Prometheus also allows four minutes.
const resolveAfter = 4 * time.Minute

// errBodyMax is how much of an error response is quoted, in octets.
const errBodyMax = 200

// client follows no redirect: what is posted to one address is not for another.
var client = &http.Client{
	Timeout:       timeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// alertmanagerAlert is an alert in a request to POST /api/v2/alerts.
type alertmanagerAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Starts      time.Time         `json:"startsAt"`
	Ends        time.Time         `json:"endsAt"`
}

// Alertmanager sends a to the Alertmanager at base at time t. While a fires, the
// caller must repeat this every minute: each call moves the end of the alert
// forward, so that it resolves by itself if postern stops sending.
func Alertmanager(ctx context.Context, base *url.URL, t time.Time, a Alert) error {
	ends := a.Ends
	if ends.IsZero() {
		ends = t.Add(resolveAfter)
	}
	return post(ctx, base.JoinPath("api/v2/alerts"), []alertmanagerAlert{{a.Labels, a.Annotations, a.Starts.UTC(), ends.UTC()}})
}

// webhookMessage is version 4 of what Alertmanager sends to webhooks.
type webhookMessage struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []webhookAlert    `json:"alerts"`
}

// webhookAlert is one alert in a webhookMessage.
type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Webhook sends a to the webhook at hook, as Alertmanager would with a route that
// groups by alertname.
func Webhook(ctx context.Context, hook *url.URL, a Alert) error {
	status := "firing"
	if !a.Ends.IsZero() {
		status = "resolved"
	}
	name := a.Labels["alertname"]
	return post(ctx, hook, webhookMessage{
		Version: "4", GroupKey: fmt.Sprintf("{}:{alertname=%q}", name), Status: status, Receiver: "postern",
		GroupLabels: map[string]string{"alertname": name}, CommonLabels: a.Labels, CommonAnnotations: a.Annotations,
		Alerts: []webhookAlert{{status, a.Labels, a.Annotations, a.Starts.UTC(), a.Ends.UTC(), "", fingerprint(a.Labels)}},
	})
}

// fingerprint identifies an alert by its labels.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(h, "%q%q", name, labels[name])
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// post sends body as JSON. Errors contain only the host of the URL: the path of a
// webhook is often a secret.
func post(ctx context.Context, to *url.URL, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("notify %s: %w", to.Host, err)
	}
	return postText(ctx, to, http.Header{}, text)
}

// postText is post for a body that is encoded already, with further header fields. It
// changes header.
func postText(ctx context.Context, to *url.URL, header http.Header, text []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("notify %s: %w", to.Host, err)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "postern")
	resp, err := client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return fmt.Errorf("notify %s: %w", to.Host, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, errBodyMax))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("notify %s: got %s, want 2xx: %s", to.Host, resp.Status, bytes.TrimSpace(answer))
	}
	return err
}
