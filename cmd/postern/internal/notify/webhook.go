package notify

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"time"
)

// message is version 4 of what Alertmanager sends to webhooks.
type message struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []hooked          `json:"alerts"`
}

// hooked is one alert in a message.
type hooked struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Webhook tells the receiver at hook of a, as Alertmanager would with a route
// that groups by alertname.
func Webhook(ctx context.Context, hook *url.URL, a Alert) error {
	status := "firing"
	if !a.Ends.IsZero() {
		status = "resolved"
	}
	name := a.Labels["alertname"]
	return post(ctx, hook, message{
		Version: "4", GroupKey: fmt.Sprintf("{}:{alertname=%q}", name), Status: status, Receiver: "postern",
		GroupLabels: map[string]string{"alertname": name}, CommonLabels: a.Labels, CommonAnnotations: a.Annotations,
		Alerts: []hooked{{status, a.Labels, a.Annotations, a.Starts.UTC(), a.Ends.UTC(), "", fingerprint(a.Labels)}},
	})
}

// fingerprint tells alerts apart by their labels.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(h, "%q%q", name, labels[name])
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
