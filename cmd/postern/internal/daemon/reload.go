package daemon

import (
	"log/slog"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
)

// reload reads the settings again and applies them, and notifies the service
// manager. If they are wrong, nothing changes. It must not be called from two goroutines at
// once.
func (d *Daemon) reload(read func() (config.Config, error)) (done admin.Reloaded, err error) {
	d.manager.notify(notifyReloading())
	defer d.manager.notify(notifyReady)
	next, err := read()
	if err == nil {
		done, err = d.apply(next)
	}
	if err != nil {
		d.metrics.Reloaded(time.Now(), err)
		d.log.Error("settings not reloaded, keeping the previous ones", slog.String("event", "reload"), eventlog.Error(err))
	}
	return done, err
}

// apply applies the settings of next as far as that is possible without
// dropping a connection: limits, exemptions and the log level. It also reads the
// certificates again, from the files of the start.
func (d *Daemon) apply(next config.Config) (done admin.Reloaded, err error) {
	observed := d.deciding.observing(time.Now())
	if err := d.policy.set(next.Limits); err != nil {
		return done, err
	}
	d.metrics.Reloaded(time.Now(), nil)
	d.deciding.applySettings(time.Now(), observed)
	d.log.SetLevel(next.Log.SlogLevel())
	done.Changed, done.Restart = d.config.Update(next)
	d.log.Info("settings reloaded", slog.String("event", "reload"), slog.Any("changed", done.Changed))
	if len(done.Restart) > 0 {
		d.log.Warn("settings changed that need an upgrade or a restart", slog.String("event", "reload"), slog.Any("settings", done.Restart))
	}
	logWarnings(&next, d.log)
	if d.certs != nil {
		d.certs.reload()
	}
	return done, nil
}

// askReload does what SIGHUP does, and returns the result.
func (d *Daemon) askReload() (admin.Reloaded, error) {
	if d.program.isNew() {
		next, err := d.askUpgrade()
		return admin.Reloaded{Upgraded: &next}, err
	}
	return ask(d, d.reloads)
}

// logWarnings logs what is valid in c but may surprise.
func logWarnings(c *config.Config, log *eventlog.Log) {
	for _, line := range c.Warnings() {
		log.Warn(line, slog.String("event", "settings"))
	}
}
