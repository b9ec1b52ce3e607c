package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// housekeeping is how often the journal tells what it left out.
const housekeeping = 10 * time.Second

// serve runs the gate until SIGTERM, SIGINT or the end of ctx, and then until
// its connections have ended.
func serve(ctx context.Context, s surroundings) error {
	return s.runGate(ctx, func(*gate) {})
}

// runGate is serve; opened is called once clients are let in.
func (s surroundings) runGate(ctx context.Context, opened func(*gate)) error {
	defer s.tendHeap()()
	defer s.tendProcessors()()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	c, err := s.settings()
	if err != nil {
		return err
	}
	j := newJournal(s.stderr, c.Log)
	for _, line := range c.warnings() {
		j.Warn(line, slog.String("event", "settings"))
	}
	g, err := open(c, j, thisBuild())
	if err != nil {
		return err
	}
	defer g.close()
	g.serve()
	g.announce(thisBuild())
	g.tellSystemd(daemon.SdNotifyReady)
	opened(g)
	if err := g.attendSignals(ctx, signals, s.settings); err != nil {
		return err
	}
	return g.leave(signals)
}

// announce logs what is served and what stands behind it.
func (g *gate) announce(b build) {
	var doors []string
	for _, e := range g.entrances {
		doors = append(doors, e.door.Name+" "+e.listener.Addr().String())
	}
	g.journal.Info("postern serves",
		slog.String("event", "start"),
		slog.String("version", b.Version),
		slog.Any("doors", doors),
		slog.Any("imap_backends", g.config.Backend.IMAP),
		slog.Any("pop3_backends", g.config.Backend.POP3),
		slog.Int("max_connections", g.config.Limits.MaxConnections),
	)
}

// attendSignals reloads on SIGHUP, with the settings that read finds, and
// returns when it is time to leave: nil when that was asked for, else what
// broke.
func (g *gate) attendSignals(ctx context.Context, signals <-chan os.Signal, read func() (Config, error)) error {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	watchdog := make(<-chan time.Time)
	if every := g.watchdogInterval(); every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		watchdog = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-g.failed:
			return err
		case <-tick.C:
			g.journal.missed()
		case <-watchdog:
			g.proveAlive()
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return nil
			}
			g.reread(read)
		}
	}
}

// proveAlive feeds the watchdog, after it has been through the locks that every
// connection needs.
func (g *gate) proveAlive() {
	g.server.Stats()
	g.limiter.Stats(time.Now())
	g.tellSystemd(daemon.SdNotifyWatchdog)
}

// reread reads the settings again and puts them in force. If they are wrong,
// nothing changes.
func (g *gate) reread(read func() (Config, error)) {
	g.tellSystemd(reloadingState())
	defer g.tellSystemd(daemon.SdNotifyReady)
	next, err := read()
	if err == nil {
		err = g.reload(next)
	}
	if err != nil {
		g.metrics.reloaded(time.Now(), err)
		g.journal.Error("settings not reloaded, the old ones stay in force", slog.String("event", "reload"), reason(err))
	}
}

// leave drains the gate. A second signal to stop, or the end of DRAIN, closes
// what is left.
func (g *gate) leave(signals <-chan os.Signal) error {
	g.tellSystemd(daemon.SdNotifyStopping)
	wait := g.config.Timeouts.Drain
	g.journal.Info("shutting down", slog.String("event", "stop"), slog.String("drain", wait.String()))
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
	if err := g.drain(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("shut down: %w", err)
	}
	g.journal.Info("postern has left", slog.String("event", "stop"), slog.Bool("closed_early", ctx.Err() != nil))
	return nil
}
