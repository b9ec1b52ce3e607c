package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
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
type serviceManager struct {
	environ []string // with the address of its socket
	log     *eventlog.Log
}

// present reports whether a service manager expects notifications.
func (m serviceManager) present() bool {
	return slices.ContainsFunc(m.environ, func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") && v != "NOTIFY_SOCKET=" })
}

// notify sends a state, and descriptors, to the service manager, if there is one that
// expects it.
func (m serviceManager) notify(state string, files ...*os.File) {
	if err := handover.Notify(m.environ, state, files...); err != nil {
		m.log.Warn("cannot notify the service manager", slog.String("event", "systemd"), eventlog.Error(err))
	}
}

// setMain makes another process the main process of the service, and ends a reload. The service manager ignores what this
// process sends afterwards.
func (m serviceManager) setMain(pid int) {
	m.notify(fmt.Sprintf("%s\nMAINPID=%d", notifyReady, pid))
}

// store stores a socket in the service manager, which passes it to the process that it starts
// after a crash. Meanwhile connections to a listening socket wait and are not refused.
func (m serviceManager) store(name string, f *os.File) {
	m.notify("FDSTORE=1\nFDNAME="+name, f)
}

// remove removes a socket that was stored.
func (m serviceManager) remove(name string) {
	m.notify("FDSTOREREMOVE=1\nFDNAME=" + name)
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
