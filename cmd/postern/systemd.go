package main

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellSystemd passes state on to the service manager, if there is one that
// wants to know.
func (g *gate) tellSystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		g.journal.Warn("service manager not told", slog.String("event", "systemd"), reason(err))
	}
}

// reloadingState is what the service manager must hear before and after a
// reload of Type=notify-reload.
func reloadingState() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// watchdogInterval is how often the service manager wants a sign of life; zero
// if it does not.
func (g *gate) watchdogInterval() time.Duration {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		g.journal.Warn("watchdog of the service manager not understood", slog.String("event", "systemd"), reason(err))
	}
	return limit / 2
}
