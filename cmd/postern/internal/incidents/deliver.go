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

// resend is how often Alertmanager hears of an incident that goes on.
const resend = time.Minute

// retries are the shortest and longest pause after a delivery that failed.
const retryMin, retryMax = 10 * time.Second, 5 * time.Minute

// target is one receiver of alerts. Only its own goroutine uses it.
type target struct {
	name    string // in what was told and in the log; no secret
	channel string // one of Channels
	url     *url.URL
	news    chan struct{}

	pause time.Duration // after the last failure, zero if there was none
	next  time.Time     // no delivery before
	sent  map[sentKey]time.Time
}

// sentKey tells apart what Alertmanager was sent.
type sentKey struct {
	incident string
	class    watch.Class
}

// targets are the receivers that c names. A webhook's address is told apart
// from others on the same host by a hash, for the rest of it may be a secret.
func targets(c Config) (all []*target) {
	add := func(name, channel string, to *url.URL) {
		all = append(all, &target{name: name, channel: channel, url: to, news: make(chan struct{}, 1), sent: map[sentKey]time.Time{}})
	}
	if c.Alertmanager != nil {
		add("alertmanager "+c.Alertmanager.Host, "alertmanager", c.Alertmanager)
	}
	for _, hook := range c.Webhooks {
		h := fnv.New32a()
		fmt.Fprint(h, hook)
		add(fmt.Sprintf("webhook %s %08x", hook.Host, h.Sum32()), "webhook", hook)
	}
	return all
}

// deliver tells one receiver what it is to be told at time t. After a failure
// it waits, longer each time.
func (l *Lookout) deliver(ctx context.Context, t time.Time, to *target) {
	if t.Before(to.next) {
		return
	}
	tell := l.tellHook
	if to.channel == "alertmanager" {
		tell = l.tellAlertmanager
	}
	tried, err := tell(ctx, t, to)
	switch {
	case err != nil:
		to.pause = min(max(2*to.pause, retryMin), retryMax)
		to.next = t.Add(to.pause)
	case tried:
		to.pause = 0
	}
	if tried {
		l.note(t, to.name, err)
	} else {
		l.forget(to.name)
	}
}

// tellHook sends a webhook what is pending, in order, and keeps that it did. It
// stops at the first failure.
func (l *Lookout) tellHook(ctx context.Context, t time.Time, to *target) (tried bool, err error) {
	state := l.State()
	for _, i := range l.incidents.All() {
		for _, m := range pending(t, i, l.toldTo(to.name, i.ID)) {
			a := l.alertOf(i, m.class, state)
			if m.over && a.Ends.IsZero() {
				a.Ends = t
			}
			if !m.over {
				a.Ends = time.Time{}
			}
			err := notify.Webhook(ctx, to.url, a)
			l.delivered(to.channel, err)
			if err != nil {
				return true, err
			}
			l.record(t, told{Time: t, Incident: i.ID, To: to.name, Class: m.class, Over: m.over})
			tried = true
		}
	}
	return tried, nil
}

// tellAlertmanager sends what goes on each minute, and what has ended or become
// something else once more. It keeps nothing: Alertmanager knows what it has
// told whom, and an alert that it hears no more of ends by itself.
func (l *Lookout) tellAlertmanager(ctx context.Context, t time.Time, to *target) (tried bool, err error) {
	state := l.State()
	for _, i := range l.incidents.All() {
		for _, m := range l.due(t, i, to) {
			a := l.alertOf(i, m.class, state)
			if m.over && a.Ends.IsZero() {
				a.Ends = t
			}
			err := notify.Alertmanager(ctx, to.url, t, a)
			l.delivered(to.channel, err)
			if err != nil {
				return true, err
			}
			tried = true
			key := sentKey{i.ID, m.class}
			to.sent[key] = t
			if m.over {
				delete(to.sent, key)
			}
		}
	}
	return tried, nil
}

// due is what Alertmanager is to be sent of an incident at time t.
func (l *Lookout) due(t time.Time, i incident.Incident, to *target) (messages []message) {
	for key := range to.sent {
		if key.incident == i.ID && (key.class != i.Class || !i.Phase.Alarming()) {
			messages = append(messages, message{key.class, true})
		}
	}
	last, sent := to.sent[sentKey{i.ID, i.Class}]
	if i.Phase.Alarming() && (!sent || t.Sub(last) >= resend) {
		messages = append(messages, message{i.Class, false})
	}
	return messages
}

// delivered counts one delivery.
func (l *Lookout) delivered(channel string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stats.Sent == nil {
		l.stats.Sent = map[string]Deliveries{}
	}
	d := l.stats.Sent[channel]
	d.count(err)
	l.stats.Sent[channel] = d
}

// count counts one more.
func (d *Deliveries) count(err error) {
	if err == nil {
		d.OK++
	} else {
		d.Failed++
	}
}
