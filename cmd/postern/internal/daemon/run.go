package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/proxy"
)

// reportEvery is how often dropped log lines are reported.
const reportEvery = 10 * time.Second

// Options is what a daemon needs from its process.
type Options struct {
	Environ []string  // as os.Environ returns it, with the settings
	Log     io.Writer // where the log goes
	// Ready, if set, is called once connections are accepted.
	Ready func(*Daemon)
}

// Run runs a gateway until SIGTERM, SIGINT or the end of ctx, and then until its
// sessions have ended, or DRAIN has. SIGHUP reloads the settings.
func Run(ctx context.Context, o Options) error {
	setGC(o.Environ)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	read := func() (config.Config, error) { return config.Load(o.Environ) }
	c, err := read()
	if err != nil {
		return err
	}
	log := eventlog.New(o.Log, string(c.Log.Format), c.Log.SlogLevel())
	logWarnings(&c, log)
	build := ThisBuild()
	d, err := open(c, log, build)
	if err != nil {
		return err
	}
	defer d.close()
	d.serve()
	d.logStart(build)
	d.manager.notify(notifyReady)
	if o.Ready != nil {
		o.Ready(d)
	}
	if err := d.handleSignals(ctx, signals, read); err != nil {
		return err
	}
	return d.drain(signals)
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
		slog.Int("max_connections", d.config.Limits.MaxConnections),
	)
}

// handleSignals reloads on SIGHUP, with the settings that read returns, until it
// is time to shut down. It returns nil if that was asked for, else what failed.
func (d *Daemon) handleSignals(ctx context.Context, signals <-chan os.Signal, read func() (config.Config, error)) error {
	report := time.NewTicker(reportEvery)
	defer report.Stop()
	watchdog := make(<-chan time.Time)
	if every := d.manager.watchdogInterval(); every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		watchdog = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.failed:
			return err
		case <-report.C:
			d.log.ReportDropped()
		case <-watchdog:
			d.proveAlive()
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return nil
			}
			d.reload(read)
		}
	}
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
func (d *Daemon) drain(signals <-chan os.Signal) error {
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
				if sig != syscall.SIGHUP {
					cancel()
				}
			}
		}
	}()
	d.phase.Store(draining)
	if err := d.server.Shutdown(ctx, proxy.Ending{Total: wait}); err != nil && ctx.Err() == nil {
		return fmt.Errorf("shut down: %w", err)
	}
	d.log.Info("shutdown complete", slog.String("event", "stop"), slog.Bool("closed_early", ctx.Err() != nil))
	return nil
}
