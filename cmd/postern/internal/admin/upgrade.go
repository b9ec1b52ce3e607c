package admin

import (
	"log/slog"
	"net/http"
	"time"

	"postern/cmd/postern/internal/eventlog"
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

// serveUpgrade starts the next generation.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	serveChange(s, w, r, "upgrade", s.gateway.Upgrade)
}

// serveReload reads the settings again.
func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	serveChange(s, w, r, "reload", s.gateway.Reload)
}

// serveChange does what an operator asks for, which may take long, and answers with its result.
func serveChange[T any](s *Server, w http.ResponseWriter, r *http.Request, action string, do func() (T, error)) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(UpgradeTime)) // else the timeout of the server remains
	result, err := do()
	s.gateway.Log.Info("operator command", slog.String("event", "admin"), slog.String("rip", r.RemoteAddr), slog.String("action", action), eventlog.Error(err))
	if err != nil {
		http.Error(w, eventlog.StripControl(err.Error()), http.StatusConflict)
		return
	}
	writeJSON(w, result)
}
