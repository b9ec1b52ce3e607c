package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter"
	"postern/proxy"
)

// maxGenerations is how many processes a gateway may have. An upgrade that starts one more ends the oldest.
const maxGenerations = 4

// generations are the processes of this gateway, as the one that accepts connections knows them: itself and the former ones,
// whose sessions go on. All count together: what a former one has open, and what its clients are denied, counts here.
type generations struct {
	log       *eventlog.Log
	limiter   *limiter.Limiter
	server    *proxy.Server
	incidents *incidents.Manager

	mu      sync.Mutex
	own     monitor.Generation
	formers []*former // the oldest first
	paused  bool      // nothing is read from the formers
	running sync.WaitGroup
}

// former is a generation that accepts no connections any more. Its fields are guarded by the mu of generations, but for
// Number, which does not change.
type former struct {
	monitor.Generation
	link       *handover.Link
	counts     proxy.Counts
	ending     bool          // it was asked to end
	loginsOver chan struct{} // closed once none of its clients is before login
	ended      chan struct{} // closed when it has ended
}

// newFormer returns the former generation at the other end of a link.
func newFormer(g monitor.Generation, link *handover.Link) *former {
	return &former{Generation: g, link: link, loginsOver: make(chan struct{}), ended: make(chan struct{})}
}

// areLoginsOver reports whether f has no client before login.
func (f *former) areLoginsOver() bool {
	select {
	case <-f.loginsOver:
		return true
	default:
		return false
	}
}

// add adds a former generation: what it has open counts from now on.
func (g *generations) add(f *former) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.formers = append(g.formers, f)
	g.count()
}

// rejoin adds the formers of a process that has crashed. The service manager has kept the links to them. They send what they
// have open.
func (g *generations) rejoin(formers []*former) {
	for _, f := range formers {
		g.mu.Lock()
		g.own.Number = max(g.own.Number, f.Number+1)
		g.mu.Unlock()
		if err := f.link.Send(msgRejoin, nil); err != nil {
			f.link.Close()
			continue
		}
		g.add(f)
	}
	g.start(nil)
}

// start reads what the formers send. One that has clients before login is sent events, those of the limiter, until it has
// none.
func (g *generations) start(events *limiter.Feed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers {
		g.running.Go(func() { g.read(f) })
		if !f.areLoginsOver() {
			g.running.Go(func() { g.sendUpdates(f, events) })
		}
	}
	if events != nil && g.withLogins() == nil {
		events.Close()
	}
}

// sendUpdates sends f the events and the counts of this process, until f has no client before login or has ended.
func (g *generations) sendUpdates(f *former, events *limiter.Feed) {
	defer events.Close()
	var err error
	for err == nil {
		select {
		case <-f.loginsOver:
			return
		case <-f.ended:
			return
		case <-events.Ready():
			err = sendEvents(f.link, events)
		case <-g.server.Changed():
			err = send(f.link, msgCounts, countsMessage{Counts: g.countsFor(f)})
		}
	}
	g.log.Debug("cannot send to a former generation", slog.String("event", "upgrade"), slog.Int("generation", f.Number), eventlog.Error(err))
}

// countsFor returns what all but f have open.
func (g *generations) countsFor(f *former) proxy.Counts {
	counts := g.server.Counts()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range g.formers {
		if other != f {
			counts.Add(other.counts)
		}
	}
	return counts
}

// eventsMax bounds the events in one message, so that it is one packet: see generations.pause.
const eventsMax = 32 << 10

// errOverflowed is the error for events that were lost.
var errOverflowed = errors.New("the other process has not taken its events in time")

// sendEvents sends all events there are.
func sendEvents(l *handover.Link, events *limiter.Feed) error {
	for {
		data := events.Take(eventsMax)
		switch {
		case events.Overflowed():
			return errOverflowed
		case data == nil:
			return nil
		}
		if err := l.Send(msgEvents, data); err != nil {
			return err
		}
	}
}

// read handles what f sends until it ends, or until pause.
func (g *generations) read(f *former) {
	for {
		m, err := f.link.Receive()
		if err == nil {
			err = g.handle(f, m)
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && g.isPaused():
			return
		default:
			g.remove(f, err)
			return
		}
	}
}

// handle handles one message of f.
func (g *generations) handle(f *former, m handover.Message) error {
	now := time.Now()
	switch m.Kind {
	case msgEvents:
		return g.limiter.Apply(now, f.Number, m.Payload)
	case msgObservations:
		return eachObservation(m.Payload, func(o incidents.Observation) { g.incidents.Observe(now, o) })
	case msgCounts:
		var c countsMessage
		if err := json.Unmarshal(m.Payload, &c); err != nil {
			return err
		}
		g.update(f, c)
	}
	return nil
}

// update notes what f has open.
func (g *generations) update(f *former, c countsMessage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.counts = c.Counts
	n := c.Generation
	f.PID, f.Version, f.Since, f.Sessions, f.Prelogin, f.Until = n.PID, n.Version, n.Since, n.Sessions, n.Prelogin, n.Until
	if c.LoginsOver && !f.areLoginsOver() {
		close(f.loginsOver)
	}
	g.count()
}

// count has the server count what all formers have open. g.mu must be held.
func (g *generations) count() {
	sum := proxy.Counts{Slots: map[string]proxy.SlotCounts{}}
	for _, f := range g.formers {
		sum.Add(f.counts)
	}
	g.server.CountElsewhere(sum)
}

// remove removes f, which has ended, or which err makes useless.
func (g *generations) remove(f *former, err error) {
	f.link.Close()
	g.mu.Lock()
	g.formers = slices.DeleteFunc(g.formers, func(one *former) bool { return one == f })
	g.count()
	g.mu.Unlock()
	g.limiter.Forget(time.Now(), f.Number)
	close(f.ended)
	if isEnd(err) {
		err = nil
	}
	g.log.Info("former generation ended", slog.String("event", "upgrade"), slog.Int("generation", f.Number), slog.Int("process", f.PID), eventlog.Error(err))
}

// list returns all generations, this one first and the oldest last.
func (g *generations) list() []monitor.Generation {
	s := g.server.Stats()
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.own
	own.Sessions, own.Prelogin = s.Relay, s.Prelogin
	all := []monitor.Generation{own}
	for _, f := range slices.Backward(g.formers) {
		all = append(all, f.Generation)
	}
	return all
}

// end asks the formers to end within a time; those sessions that last longer are closed.
func (g *generations) end(within time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers {
		g.endFormer(f, within)
	}
}

// sendTime is how long a former process that does not read can delay this one.
const sendTime = time.Second

// endFormer asks f to end. g.mu must be held.
func (g *generations) endFormer(f *former, within time.Duration) {
	f.ending = true
	_ = f.link.SetSendDeadline(time.Now().Add(sendTime))
	err := send(f.link, msgEnd, endMessage{within})
	_ = f.link.SetSendDeadline(time.Time{})
	if err != nil {
		g.log.Warn("cannot end a former generation", slog.String("event", "upgrade"), slog.Int("generation", f.Number), eventlog.Error(err))
	}
}

// endOldest asks the oldest formers to end if there are more generations than there may be: within a time, and those that
// were asked before at once.
func (g *generations) endOldest(within time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers[:max(0, len(g.formers)+1-maxGenerations)] {
		if f.ending {
			g.endFormer(f, 0)
		} else {
			g.endFormer(f, within)
		}
	}
}

// withLogins returns a former that has clients before login, or nil. g.mu must be held.
func (g *generations) withLogins() *former {
	for _, f := range g.formers {
		if !f.areLoginsOver() {
			return f
		}
	}
	return nil
}

// awaitLogins waits until no client of a former generation is before login.
func (g *generations) awaitLogins(ctx context.Context) error {
	for {
		g.mu.Lock()
		f := g.withLogins()
		g.mu.Unlock()
		if f == nil {
			return nil
		}
		select {
		case <-f.loginsOver:
		case <-f.ended:
		case <-ctx.Done():
			return fmt.Errorf("generation %d still has clients that have not logged in: try again later", f.Number)
		}
	}
}

// wait returns when all formers have ended, or ctx has.
func (g *generations) wait(ctx context.Context) {
	g.mu.Lock()
	all := slices.Clone(g.formers)
	g.mu.Unlock()
	for _, f := range all {
		select {
		case <-f.ended:
		case <-ctx.Done():
			return
		}
	}
}

func (g *generations) isPaused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paused
}

// pause stops reading from the formers, so that the links to them can be passed on. Messages between them and this process
// are single packets, so none is read in part.
func (g *generations) pause() {
	g.mu.Lock()
	g.paused = true
	for _, f := range g.formers {
		_ = f.link.SetDeadline(time.Unix(1, 0))
	}
	g.mu.Unlock()
	g.running.Wait()
}

// resume reads again after pause.
func (g *generations) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = false
	for _, f := range g.formers {
		_ = f.link.SetDeadline(time.Time{})
		g.running.Go(func() { g.read(f) })
	}
}

// links returns the former generations, and duplicates of the links to them, which the caller closes.
func (g *generations) links() (all []formerState, files []*os.File, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers {
		file, err := f.link.File()
		if err != nil {
			return all, files, err
		}
		all, files = append(all, formerState{f.Generation, f.counts, f.ending}), append(files, file)
	}
	return all, files, nil
}

// closeLinks closes the links here: another process has them now.
func (g *generations) closeLinks() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.formers {
		f.link.Close()
	}
	g.formers = nil
}
