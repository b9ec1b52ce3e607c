package incidents

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

const (
	// pulse is how often the watch is asked, which takes stock each 10 s.
	pulse = time.Second
	// look is how often the page and the receivers are seen to without news.
	look = 5 * time.Second
	// keepEvery is how often what was learned is kept.
	keepEvery = 5 * time.Minute
)

// Run keeps the watch until ctx ends, and then keeps what it knows. What it
// writes and sends has goroutines of its own: a receiver that is slow holds up
// neither the watch nor the page.
func (l *Lookout) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { every(ctx, pulse, nil, l.tick) })
	all.Go(func() { every(ctx, look, l.news, l.publish) })
	for _, to := range l.targets {
		all.Go(func() { every(ctx, look, to.news, func(t time.Time) { l.deliver(ctx, t, to) }) })
	}
	all.Wait()
	l.leave(time.Now())
}

// every calls do now and then, and when there is news, until ctx ends.
func every(ctx context.Context, pause time.Duration, news <-chan struct{}, do func(time.Time)) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	do(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-news:
		}
		do(time.Now())
	}
}

// stir lets everybody know that there is news.
func (l *Lookout) stir() {
	knock(l.news)
	for _, to := range l.targets {
		knock(to.news)
	}
}

// knock leaves word for one who may be busy.
func knock(news chan<- struct{}) {
	select {
	case news <- struct{}{}:
	default:
	}
}

// tick asks the watch what it sees at time t.
func (l *Lookout) tick(t time.Time) {
	r := l.watch.Tick(t)
	l.remember(t, r.Minutes, r.Hours)
	if !r.Ticked {
		return
	}
	l.mu.Lock()
	l.state = r.State
	due := t.Sub(l.minute) >= keepEvery
	if due {
		l.minute = t
	}
	l.mu.Unlock()
	if l.config.Tighten != nil {
		l.config.Tighten(r.State.Tighten)
	}
	l.writing.Lock()
	l.happened(t, l.incidents.Observe(r.State))
	l.writing.Unlock()
	if due {
		l.note(t, "keeping what was learned", l.keep.replace(LearnedFile, l.watch.Snapshot(t)))
		l.keep.expire(t)
	}
}

// remember adds what is over to the history.
func (l *Lookout) remember(t time.Time, minutes []watch.Minute, hours []watch.Hour) {
	var lines []past
	for _, m := range minutes {
		l.history.AddMinute(m)
		lines = append(lines, past{Minute: &m})
	}
	for _, h := range hours {
		l.history.AddHour(h)
		lines = append(lines, past{Hour: &h})
	}
	if len(lines) > 0 {
		l.note(t, "keeping the history", add(l.keep, day(t), false, lines...))
	}
}

// happened writes events down, then tells the log. The caller holds writing.
func (l *Lookout) happened(t time.Time, events []incident.Event) {
	if len(events) == 0 {
		return
	}
	l.note(t, "keeping incidents", add(l.keep, incidentsFile, true, events...))
	for _, e := range events {
		l.logEvent(e)
	}
	l.stir()
}

// logEvent writes one line about an event: a warning when an incident becomes
// one to tell people of.
func (l *Lookout) logEvent(e incident.Event) {
	level, text := slog.LevelInfo, "incident "+string(e.Kind)
	if i, found := l.incidents.Find(e.Incident); found && e.To == incident.Detected {
		level, text = slog.LevelWarn, l.summary(i, i.Class, l.State())
		l.mu.Lock()
		if l.stats.Incidents == nil {
			l.stats.Incidents = map[watch.Class]uint64{}
		}
		l.stats.Incidents[i.Class]++
		l.mu.Unlock()
	}
	l.config.Log.Log(context.Background(), level, text,
		slog.String("event", "incident"), slog.String("incident", e.Incident), slog.String("kind", string(e.Kind)),
		slog.String("phase", string(e.To)), slog.String("class", string(e.Class)), slog.String("by", e.By), slog.String("note", e.Text))
}

// Do carries out what an operator asks for at time t and keeps it. The error
// says why it cannot be done.
func (l *Lookout) Do(t time.Time, c incident.Command) ([]incident.Event, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	events, err := l.incidents.Do(t, c)
	if err != nil {
		return nil, err
	}
	l.happened(t, events)
	if c.Action == incident.ActFalseAlarm {
		l.watch.Relearn(t)
	}
	return events, nil
}

// leave keeps what has not been kept yet.
func (l *Lookout) leave(t time.Time) {
	m, h := l.watch.Partial(t)
	l.remember(t, []watch.Minute{m}, []watch.Hour{h})
	l.note(t, "keeping what was learned", l.keep.replace(LearnedFile, l.watch.Snapshot(t)))
}
