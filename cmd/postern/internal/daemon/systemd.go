package daemon

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"postern/cmd/postern/internal/eventlog"
)

// The states of sd_notify(3) that do not depend on the time.
const (
	notifyReady    = daemon.SdNotifyReady
	notifyStopping = daemon.SdNotifyStopping
	notifyAlive    = daemon.SdNotifyWatchdog
)

// notifyReloading is the state at the begin of a reload of Type=notify-reload.
// notifyReady ends it.
func notifyReloading() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// serviceManager is systemd, if it started this process.
type serviceManager struct{ log *eventlog.Log }

// notify sends a state to the service manager, if there is one that expects it.
func (m serviceManager) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("cannot notify the service manager", slog.String("event", "systemd"), eventlog.Error(err))
	}
}

// watchdogInterval is how often to send notifyAlive: twice as often as the
// service manager demands, zero if it does not.
func (m serviceManager) watchdogInterval() time.Duration {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("cannot read the watchdog interval of the service manager", slog.String("event", "systemd"), eventlog.Error(err))
	}
	return limit / 2
}
