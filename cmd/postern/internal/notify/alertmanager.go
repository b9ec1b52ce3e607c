package notify

import (
	"context"
	"net/url"
	"time"
)

// postable is an alert as POST /api/v2/alerts takes it.
type postable struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Starts      time.Time         `json:"startsAt"`
	Ends        time.Time         `json:"endsAt"`
}

// Alertmanager tells the Alertmanager at base of a at time t. While a goes on
// this is to be repeated every minute: each time moves the end of the alert
// forward, so that it resolves by itself if postern falls silent.
func Alertmanager(ctx context.Context, base *url.URL, t time.Time, a Alert) error {
	ends := a.Ends
	if ends.IsZero() {
		ends = t.Add(outlives)
	}
	return post(ctx, base.JoinPath("api/v2/alerts"), []postable{{a.Labels, a.Annotations, a.Starts.UTC(), ends.UTC()}})
}
