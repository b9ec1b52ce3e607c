package admin

import (
	"time"

	"postern/cmd/postern/internal/monitor"
)

// UpgradePath is where the server takes a request to start the next generation. It answers with that, as a
// monitor.Generation in JSON, once it serves.
const UpgradePath = "/v1/upgrade"

// ReloadPath is where the server takes a request to read the settings again. It answers with a Reloaded in JSON.
const ReloadPath = "/v1/reload"

// Reloaded is the result of a reload.
type Reloaded struct {
	Changed  []string            `json:"changed"`            // settings that have another value now
	Restart  []string            `json:"restart"`            // those that will only have it after an upgrade or a restart
	Upgraded *monitor.Generation `json:"upgraded,omitempty"` // the next generation, if another program was installed
}

// UpgradeTime is the longest time that an upgrade may take.
const UpgradeTime = 2 * time.Minute

// upgrade starts the next generation.
func (s *Server) upgrade(q *query, _ nothing) (monitor.Generation, error) {
	q.describe("upgrade", "")
	return s.gateway.Upgrade()
}

// reload reads the settings again.
func (s *Server) reload(q *query, _ nothing) (Reloaded, error) {
	q.describe("reload", "")
	done, err := s.gateway.Reload()
	done.Changed, done.Restart = list(done.Changed), list(done.Restart)
	return done, err
}
