package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/proxy"
)

// preloginGrace is how long clients that have not logged in may still do so in a process that has handed over. Mail programs
// log in at once.
const preloginGrace = 10 * time.Second

// countsEvery is how often a former generation compares what it has open with what it last sent, beside each time that
// changes.
const countsEvery = time.Second

// retired is a process that has handed over, until its last session ends.
type retired struct {
	*Daemon
	*handedOver
	ctx    context.Context
	cancel context.CancelFunc // closes all sessions now
	until  atomic.Int64       // when the last session is closed, in nanoseconds since 1970

	loginsOver bool          // no client is before login
	counts     []byte        // that were sent last
	rejoined   atomic.Bool   // the generation that accepts connections has not got them
	lost       chan struct{} // closed when the generation that accepts connections has ended
}

// retire serves the sessions of a process that has handed over, for as long as they may go on. It accepts no connections,
// and sends what it learns to the generation that has taken over. That takes the end of the link for the end of this
// process, so the caller closes the link last.
func (d *Daemon) retire(ctx context.Context, h *handedOver, signals <-chan os.Signal) {
	h.forwardSignal(signals, d.config.Timeouts.Drain)
	d.phase.Store(retiring)
	d.server.StopAccepting()
	d.generations.closeLinks()
	d.keeper.closeEngine()
	d.keeper.lock.Close()
	r := &retired{Daemon: d, handedOver: h, lost: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	r.until.Store(time.Now().Add(h.drain).UnixNano())
	go r.handleSignals(signals)
	var running sync.WaitGroup
	running.Go(r.retireAdmin)
	running.Go(r.read)
	ended := make(chan struct{})
	running.Go(func() { r.sendUpdates(ended) })
	running.Go(func() { every(r.ctx, reportEvery, func(time.Time) { r.log.ReportDropped() }) })
	running.Go(r.flushNotices)
	err := d.server.Shutdown(r.ctx, proxy.Grace{Prelogin: preloginGrace, Total: h.drain})
	_ = r.link.SetSendDeadline(time.Now().Add(closeTime)) // else a process that does not read would delay the end
	close(ended)
	r.cancel()
	running.Wait()
	d.log.Info("the last session of this process has ended", slog.String("event", "upgrade"), slog.Bool("closed_early", err != nil))
}

// retireAdmin answers the requests that have come already, such as that for the upgrade, and frees what only they need.
func (r *retired) retireAdmin() {
	r.admin.Retire()
	r.asked.Close() // the outcomes are reported to the next process
	r.incidents.Retire()
	r.recent.Clear()
}

// flushNotices delivers the login notices that were found here after the hand-over, once no
// client can log in any more.
func (r *retired) flushNotices() {
	if r.notices == nil {
		return
	}
	logins := time.NewTimer(preloginGrace)
	defer logins.Stop()
	select {
	case <-logins.C:
	case <-r.ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeTime)
	defer cancel()
	r.notices.Flush(ctx)
}

// endGateway ends all processes, because this one was asked to when it was the main one: this one within a time, and the
// next by a signal.
func (h *handedOver) endGateway(within time.Duration) {
	h.drain, h.signal = min(h.drain, within), syscall.SIGTERM
}

// forwardSignal sends the next process the signal that is for it. Those in signals came before that process was the main
// one.
func (h *handedOver) forwardSignal(signals <-chan os.Signal, within time.Duration) {
	for waiting := true; waiting; {
		select {
		case sig := <-signals:
			switch {
			case sig == syscall.SIGTERM || sig == syscall.SIGINT:
				h.endGateway(within)
			case sig == syscall.SIGHUP && h.signal == 0:
				h.signal = syscall.SIGHUP
			}
		default:
			waiting = false
		}
	}
	if h.signal != 0 {
		_ = syscall.Kill(h.next.PID, h.signal) // fails if it has ended; read notices that
	}
}

// sendUpdates sends what happens here to the generation that has taken over, until ended is closed. Then it ends read.
func (r *retired) sendUpdates(ended <-chan struct{}) {
	defer func() { _ = r.link.SetDeadline(time.Unix(1, 0)) }()
	tick := time.NewTicker(countsEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-r.events.Ready():
			err = sendEvents(r.link, r.events)
		case <-r.keeper.observations.ready:
			err = r.keeper.observations.send(r.link)
		case <-r.server.Changed():
			err = r.sendCounts()
		case <-tick.C:
			err = r.sendCounts()
		case <-r.lost:
			err = io.EOF
		case <-ended:
			_ = sendEvents(r.link, r.events) // no error matters any more
			_ = r.keeper.observations.send(r.link)
			return
		}
		if err != nil {
			r.detach(err)
			<-ended
			return
		}
	}
}

// detach stops counting with the generation that has taken over, which has ended or has not got all that was sent. It
// closes the link, so that that process no longer counts what is open here.
func (r *retired) detach(why error) {
	r.log.Warn("the process that has taken over has ended or cannot be reached: sessions of this one go on", slog.String("event", "upgrade"), slog.Int("process", r.next.PID), eventlog.Error(why))
	r.events.Close()
	r.incidents.Forward(func(incidents.Observation) {})
	r.policy.limiter.Forget(time.Now(), r.next.Number)
	r.server.CountElsewhere(proxy.Counts{})
	if errors.Is(why, errOverflowed) {
		r.link.Close()
	}
}

// sendCounts sends what this process has open, if that has changed.
func (r *retired) sendCounts() error {
	s := r.server.Stats()
	last := s.Prelogin == 0 && !r.loginsOver
	r.loginsOver = r.loginsOver || last
	own := r.generations.own
	own.Sessions, own.Prelogin, own.Until = s.Relay, s.Prelogin, time.Unix(0, r.until.Load())
	data, err := json.Marshal(countsMessage{r.server.Counts(), own, r.loginsOver})
	if err != nil {
		return err
	}
	if again := r.rejoined.Swap(false); again || !bytes.Equal(data, r.counts) {
		r.counts = data
		err = r.link.Send(msgCounts, data)
	}
	if last {
		r.endLogins()
		r.policy.limiter.Retire()
		debug.FreeOSMemory()
	}
	return err
}

// read handles what the generation that has taken over sends, until the link ends.
func (r *retired) read() {
	defer close(r.lost)
	for {
		m, err := r.link.Receive()
		if err != nil {
			return
		}
		switch m.Kind {
		case msgEvents:
			err = r.policy.limiter.Apply(time.Now(), r.next.Number, m.Payload)
		case msgCounts:
			var c countsMessage
			if err = json.Unmarshal(m.Payload, &c); err == nil {
				r.server.CountElsewhere(c.Counts)
			}
		case msgRejoin:
			r.rejoined.Store(true)
		case msgClose:
			err = r.closeFor(m.Payload)
		case msgEnd:
			var e endMessage
			if err = json.Unmarshal(m.Payload, &e); err == nil {
				r.end(e.Within)
			}
		}
		if err != nil {
			r.log.Error("cannot use a message of the process that has taken over", slog.String("event", "upgrade"), eventlog.Error(err))
		}
	}
}

// end ends all sessions within a time.
func (r *retired) end(within time.Duration) {
	if within <= 0 {
		r.cancel()
		return
	}
	r.log.Info("ending earlier", slog.String("event", "upgrade"), slog.String("drain", within.String()))
	r.until.Store(min(r.until.Load(), time.Now().Add(within).UnixNano()))
	go func() { _ = r.server.Shutdown(r.ctx, proxy.Grace{Total: within}) }()
}

// handleSignals ends within DRAIN at the first SIGTERM or SIGINT, and at once at the second.
func (r *retired) handleSignals(signals <-chan os.Signal) {
	within := r.config.Timeouts.Drain
	for {
		select {
		case <-r.ctx.Done():
			return
		case sig := <-signals:
			if sig == syscall.SIGHUP || sig == syscall.SIGUSR2 {
				r.log.Warn("signal ignored: another process has taken over", slog.String("event", "upgrade"), slog.String("signal", sig.String()), slog.Int("process", r.next.PID))
				continue
			}
			r.end(within)
			within = 0
		}
	}
}
