package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
	"postern/proxy"
)

// reportEvery is how often dropped log lines are reported.
const reportEvery = 10 * time.Second

// closeTime is how long former generations may take to close their sessions.
const closeTime = 5 * time.Second

// joinWait is how long a gateway waits at its start for what the other gateways of its site know. The engine over which they
// share may have failed.
const joinWait = 5 * time.Second

// Options is what a daemon needs from its process.
type Options struct {
	Args    []string  // what an upgrade starts: the program and its arguments; none if it cannot be upgraded
	Environ []string  // as os.Environ returns it, with the settings
	Log     io.Writer // where the log goes
	// Ready, if set, is called once connections are accepted.
	Ready func(*Daemon)
}

// Run runs a gateway until SIGTERM, SIGINT or the end of ctx, and then until its
// sessions have ended, or DRAIN has. SIGHUP reloads the settings, SIGUSR2 starts the next
// generation, which takes over; then Run returns when the last session has ended.
func Run(ctx context.Context, o Options) error {
	setGC(o.Environ)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	in, err := inherit(o.Environ)
	if err != nil {
		return err
	}
	d, err := startDaemon(o, &in)
	if err != nil {
		in.fail(err)
		return err
	}
	var h *handedOver
	defer func() {
		if h != nil {
			h.link.Close()
		}
	}()
	defer d.close()
	if o.Ready != nil {
		o.Ready(d)
	}
	h, err = d.serveUntilEnd(ctx, signals, func() (config.Config, error) { return config.Load(in.environ) })
	switch {
	case h != nil:
		d.retire(ctx, h, signals)
		return nil
	case err != nil:
		return err
	}
	d.drain(signals)
	return nil
}

// startDaemon reads the settings, makes a Daemon with what was passed to this process, and serves.
func startDaemon(o Options, in *inherited) (*Daemon, error) {
	c, err := config.Load(in.environ)
	if err != nil {
		return nil, err
	}
	log := eventlog.New(o.Log, string(c.Log.Format), c.Log.SlogLevel())
	logWarnings(&c, log)
	build := ThisBuild()
	if err := in.takeResources(&c, build, serviceManager{in.environ, log}); err != nil {
		return nil, err
	}
	d, err := open(c, log, build, *in)
	if err != nil {
		return nil, err
	}
	d.program = newProgram(o.Args, in.environ)
	if in.takeover == nil {
		d.start()
		d.generations.rejoin(in.formers)
		d.manager.notify(notifyReady)
	} else if err := d.takeOver(in.takeover); err != nil {
		d.close()
		return nil, err
	}
	d.logStart(build)
	d.storeDescriptors()
	return d, nil
}

// start serves once this gateway knows what the others of its site know. Before, a user whose account is attacked would be a
// stranger here, and could be refused.
func (d *Daemon) start() {
	d.keeper.start()
	if s := d.keeper.sharing; s != nil {
		wait, cancel := context.WithTimeout(d.shutdown, joinWait)
		defer cancel()
		s.AwaitJoined(wait)
	}
	d.serve()
}

// logStart logs the listeners and the backends.
func (d *Daemon) logStart(b Build) {
	var addrs []string
	for _, l := range d.listeners {
		addrs = append(addrs, l.kind.Name+" "+l.listener.Addr().String())
	}
	d.log.Info("ready",
		slog.String("event", "start"),
		slog.String("version", b.Version),
		slog.Any("listeners", addrs),
		slog.Any("imap_backends", d.config.Backend.IMAP),
		slog.Any("pop3_backends", d.config.Backend.POP3),
		slog.Any("sieve_backends", d.config.Backend.Sieve),
		slog.Int("max_connections", d.config.Limits.MaxConnections),
	)
}

// serveUntilEnd handles signals until it is time to end. It returns the result of an upgrade,
// nil if the daemon is to shut down, or what failed.
func (d *Daemon) serveUntilEnd(ctx context.Context, signals <-chan os.Signal, read func() (config.Config, error)) (*handedOver, error) {
	var upgrades sync.WaitGroup
	h, err := d.handleSignals(ctx, signals, read, &upgrades)
	d.endUpgrade()
	upgrades.Wait()
	select {
	case late := <-d.handedOver: // it was complete when the signal came
		if err == nil {
			late.endGateway(d.config.Timeouts.Drain)
		}
		return late, err
	default:
		return h, err
	}
}

// handleSignals reloads on SIGHUP, with the settings that read returns, and starts the next
// generation on SIGUSR2, or if SIGHUP finds another program on disk than the one that runs.
// It returns when it is time to shut down or an upgrade is complete, or with what failed.
func (d *Daemon) handleSignals(ctx context.Context, signals <-chan os.Signal, read func() (config.Config, error), upgrades *sync.WaitGroup) (*handedOver, error) {
	report := time.NewTicker(reportEvery)
	defer report.Stop()
	watchdog := make(<-chan time.Time)
	if every := d.manager.watchdogInterval(); every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		watchdog = t.C
	}
	reloaded := false // during an upgrade
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-d.failed:
			return nil, err
		case h := <-d.handedOver:
			if reloaded { // it may have read the settings before
				h.signal = syscall.SIGHUP
			}
			return h, nil
		case r := <-d.reloads:
			reloaded = reloaded || d.phase.Load() == upgrading
			done, err := d.reload(read)
			r.done <- result[admin.Reloaded]{done, err}
		case r := <-d.upgrades:
			upgrades.Go(func() {
				next, err := d.upgrade()
				r.done <- result[monitor.Generation]{next, err}
			})
		case <-report.C:
			d.log.ReportDropped()
		case <-watchdog:
			d.proveAlive()
		case sig := <-signals:
			switch {
			case sig == syscall.SIGUSR2, sig == syscall.SIGHUP && d.program.isNew():
				upgrades.Go(func() { _, _ = d.upgrade() }) // it logs why it fails
			case sig == syscall.SIGHUP:
				reloaded = reloaded || d.phase.Load() == upgrading
				_, _ = d.reload(read) // it logs why it fails
			default:
				return nil, nil
			}
		}
	}
}

// A request of the admin API asks the goroutine that handles signals for something.
type request[T any] struct{ done chan<- result[T] }

type result[T any] struct {
	value T
	err   error
}

// ask sends a request, and returns the result.
func ask[T any](d *Daemon, requests chan<- request[T]) (T, error) {
	done := make(chan result[T], 1)
	select {
	case requests <- request[T]{done}:
	case <-d.shutdown.Done():
		var none T
		return none, errBusy
	}
	r := <-done
	return r.value, r.err
}

// proveAlive notifies the watchdog, after it has taken the locks that every
// connection needs.
func (d *Daemon) proveAlive() {
	d.server.Stats()
	d.policy.limiter.Stats(time.Now())
	d.manager.notify(notifyAlive)
}

// drain stops accepting, ends the connections that have not logged in, and waits
// for the others. A second signal, or the end of DRAIN, closes them.
func (d *Daemon) drain(signals <-chan os.Signal) {
	d.manager.notify(notifyStopping)
	wait := d.config.Timeouts.Drain
	d.log.Info("shutting down", slog.String("event", "stop"), slog.String("drain", wait.String()))
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				if sig != syscall.SIGHUP && sig != syscall.SIGUSR2 {
					cancel()
				}
			}
		}
	}()
	d.phase.Store(draining)
	d.generations.end(wait)
	err := d.server.Shutdown(ctx, proxy.Grace{Total: wait})
	d.generations.wait(ctx)
	if ctx.Err() != nil {
		d.generations.end(0)
		now, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		d.generations.wait(now)
	}
	d.log.Info("shutdown complete", slog.String("event", "stop"), slog.Bool("closed_early", err != nil))
}
