package daemon

import (
	"log/slog"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

// reload reads the settings again and applies them, and notifies the service
// manager. If they are wrong, nothing changes.
func (d *Daemon) reload(read func() (config.Config, error)) {
	d.manager.notify(notifyReloading())
	defer d.manager.notify(notifyReady)
	next, err := read()
	if err == nil {
		err = d.apply(next)
	}
	if err != nil {
		d.metrics.Reloaded(time.Now(), err)
		d.log.Error("settings not reloaded, keeping the previous ones", slog.String("event", "reload"), eventlog.Error(err))
	}
}

// apply applies the settings of next as far as that is possible without
// dropping a connection: limits, exemptions and the log level. It also reads the
// certificates again, from the files of the start. It must not be called from two
// goroutines at once.
func (d *Daemon) apply(next config.Config) error {
	if err := d.policy.set(next.Limits); err != nil {
		return err
	}
	d.metrics.Reloaded(time.Now(), nil)
	d.observe(next.Limits.Observe())
	d.log.SetLevel(next.Log.SlogLevel())
	live, restart := d.config.Update(next)
	d.log.Info("settings reloaded", slog.String("event", "reload"), slog.Any("changed", live))
	if len(restart) > 0 {
		d.log.Warn("settings changed that need a restart", slog.String("event", "reload"), slog.Any("settings", restart))
	}
	logWarnings(&next, d.log)
	if d.certs != nil {
		d.certs.reload()
	}
	return nil
}

// logWarnings logs what is valid in c but may surprise.
func logWarnings(c *config.Config, log *eventlog.Log) {
	for _, line := range c.Warnings() {
		log.Warn(line, slog.String("event", "settings"))
	}
}
