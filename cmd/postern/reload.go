package main

import (
	"log/slog"
	"time"
)

// reload puts the settings of next in force as far as they can be without
// dropping a connection: limits, exemptions and the log level. It also reads
// the certificates again, from the files of the start. It must not be called
// from two goroutines at once.
func (g *gate) reload(next Config) error {
	err := g.enforce(next.Limits)
	g.metrics.reloaded(time.Now(), err)
	if err != nil {
		return err
	}
	g.observe(next.Limits.Mode)
	g.exempt.Store(&next.Limits.Exempt)
	g.journal.level.Set(slog.Level(next.Log.Level))
	live, restart := g.adopt(next.values)
	g.journal.Info("settings reloaded", slog.String("event", "reload"), slog.Any("changed", live))
	if len(restart) > 0 {
		g.journal.Warn("settings changed that need a restart", slog.String("event", "reload"), slog.Any("settings", restart))
	}
	for _, line := range next.warnings() {
		g.journal.Warn(line, slog.String("event", "settings"))
	}
	if g.certs != nil {
		g.certsChanged(g.certs.Reload())
	}
	return nil
}

// adopt names the settings whose text differs from the one in force, apart by
// whether they can change now, and remembers those that can.
func (g *gate) adopt(values map[string]string) (live, restart []string) {
	live, restart = []string{}, []string{}
	for _, s := range settings() {
		switch {
		case values[s.Name] == g.config.values[s.Name]:
		case s.Live:
			live = append(live, prefix+s.Name)
			g.config.values[s.Name] = values[s.Name]
		default:
			restart = append(restart, prefix+s.Name)
		}
	}
	return live, restart
}

// certsChanged tells what a look at the certificate files brought.
func (g *gate) certsChanged(changed bool, err error) {
	g.metrics.certsLoaded(err)
	switch {
	case err != nil:
		g.journal.Error("certificates not reloaded, the old ones stay in force", slog.String("event", "certificates"), reason(err))
	case changed:
		g.journal.Info("certificates reloaded", slog.String("event", "certificates"), slog.Time("not_after", g.certs.NotAfter()))
	}
}
