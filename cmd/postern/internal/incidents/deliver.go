package incidents

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"time"

	"postern/cmd/postern/internal/notify"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// The kinds of receivers.
const (
	channelAlertmanager = "alertmanager"
	channelWebhook      = "webhook"
)

// Shortest and longest pause after a failed delivery.
const retryMin, retryMax = 10 * time.Second, 5 * time.Minute

// receiver is one receiver of alerts. Only its own goroutine uses it.
type receiver struct {
	name    string // in notifications and the log; contains no secret
	channel string // one of Channels
	url     *url.URL
	changed chan struct{} // wakes its goroutine

	backoff time.Duration // pause after the last failure; zero after a success
	retryAt time.Time     // no delivery before

	sent map[alertKey]time.Time // alerts that Alertmanager was sent and that are not resolved
}

// alertKey identifies an alert at Alertmanager.
type alertKey struct {
	incident string
	class    watch.Class
}

// newReceivers returns the receivers that c names. The path of a webhook's URL
// may be a secret, so a hash distinguishes webhooks on the same host.
func newReceivers(c Config) (all []*receiver) {
	add := func(name, channel string, to *url.URL) {
		all = append(all, &receiver{name: name, channel: channel, url: to, changed: make(chan struct{}, 1), sent: map[alertKey]time.Time{}})
	}
	if c.Alertmanager != nil {
		add("alertmanager "+c.Alertmanager.Host, channelAlertmanager, c.Alertmanager)
	}
	for _, hook := range c.Webhooks {
		h := fnv.New32a()
		fmt.Fprint(h, hook)
		add(fmt.Sprintf("webhook %s %08x", hook.Host, h.Sum32()), channelWebhook, hook)
	}
	return all
}

// deliver sends a receiver what is pending at time t. After a failure it pauses,
// longer each time. Once ctx has ended it begins no more deliveries, and one that
// was cut off is not a failure.
func (m *Manager) deliver(ctx context.Context, t time.Time, to *receiver) {
	if !m.Leads() {
		to.backoff, to.retryAt = 0, time.Time{}
		clear(to.sent) // the leader sends what is open
		m.clearFailure(to.name)
		return
	}
	if t.Before(to.retryAt) {
		return
	}
	send := m.sendWebhook
	if to.channel == channelAlertmanager {
		send = m.sendAlertmanager
	}
	tried, err := send(ctx, t, to)
	switch {
	case ctx.Err() != nil && (err != nil || !tried):
		return
	case err != nil:
		to.backoff = min(max(2*to.backoff, retryMin), retryMax)
		to.retryAt = t.Add(to.backoff)
	case tried:
		to.backoff = 0
	}
	if tried {
		m.setResult(t, to.name, err)
	} else {
		m.clearFailure(to.name)
	}
}

// handOverGrace is how long a delivery that is under way may go on at a hand-over.
// If it is cut off, the next process repeats it.
const handOverGrace = 2 * time.Second

// deliveryContext returns the context of one delivery. It ends with ctx, or some
// time later if that ends for a hand-over. Call cancel after the delivery.
func deliveryContext(ctx context.Context) (delivery context.Context, cancel func()) {
	delivery, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		defer end()
		if handingOver(ctx) {
			grace := time.NewTimer(handOverGrace)
			defer grace.Stop()
			select {
			case <-grace.C:
			case <-delivery.Done():
			}
		}
	})
	return delivery, func() {
		stop()
		end()
	}
}

// post delivers one alert within ctx, and counts the result.
func (m *Manager) post(ctx context.Context, t time.Time, to *receiver, a notify.Alert) error {
	delivery, cancel := deliveryContext(ctx)
	defer cancel()
	var err error
	if to.channel == channelAlertmanager {
		err = notify.Alertmanager(delivery, to.url, t, a)
	} else {
		err = notify.Webhook(delivery, to.url, a)
	}
	m.countDelivery(to.channel, err)
	return err
}

// sendWebhook sends a webhook what is pending, in order, and records each
// success. It stops at the first failure.
func (m *Manager) sendWebhook(ctx context.Context, t time.Time, to *receiver) (tried bool, err error) {
	for _, d := range m.dueToWebhook(t, to) {
		if ctx.Err() != nil || !m.Leads() {
			return tried, nil
		}
		if err := m.post(ctx, t, to, m.alertOf(t, d.about, d.alert)); err != nil {
			return true, err
		}
		m.recordNotification(t, notification{Time: t, Incident: d.about.ID, To: to.name, Class: d.alert.class, Resolved: d.alert.resolved})
		tried = true
	}
	return tried, nil
}

// dueAlert is an alert that a receiver is to be sent, and the incident it is about.
type dueAlert struct {
	about incident.Incident
	alert pendingAlert
}

// dueToWebhook returns what a webhook is to be sent at time t. It waits until what
// another gateway has shared is added as a whole.
func (m *Manager) dueToWebhook(t time.Time, to *receiver) (due []dueAlert) {
	m.writing.Lock()
	defer m.writing.Unlock()
	for _, i := range m.incidents.All() {
		for _, p := range pendingWebhook(t, i, m.notificationsTo(to.name, i.ID)) {
			due = append(due, dueAlert{i, p})
		}
	}
	return due
}

// sendAlertmanager sends Alertmanager what is pending. Nothing is saved:
// Alertmanager knows whom it has notified, and resolves alerts that are not sent
// again.
func (m *Manager) sendAlertmanager(ctx context.Context, t time.Time, to *receiver) (tried bool, err error) {
	for _, i := range m.incidents.All() {
		for _, p := range pendingAlertmanager(t, i, to.sent) {
			if ctx.Err() != nil {
				return tried, nil
			}
			if err := m.post(ctx, t, to, m.alertOf(t, i, p)); err != nil {
				return true, err
			}
			tried = true
			key := alertKey{i.ID, p.class}
			to.sent[key] = t
			if p.resolved {
				delete(to.sent, key)
			}
		}
	}
	return tried, nil
}
