package admin

import (
	"time"

	"postern/cmd/postern/internal/monitor"
)

// LearnPath is where the server takes what `postern learn` has learned from logs, a Learned in JSON. It answers with a
// Knowledge.
const LearnPath = "/v1/learn"

// learnMax is the largest request to LearnPath that is accepted, in octets: as much as a million accounts need.
const learnMax = 128 << 20

// learnTime is how long such a request may take to arrive.
const learnTime = time.Minute

// Learned is what was learned from logs.
type Learned struct {
	Known []byte `json:"known"` // snapshot of a limiter with the key of this installation
	Watch []byte `json:"watch"` // snapshot of a watch
}

// Knowledge is what a gateway knows.
type Knowledge struct {
	Accounts int     `json:"accounts"` // that are known
	Reserve  bool    `json:"reserve"`  // capacity is reserved for them
	Week     float64 `json:"week"`     // share of the week for which the detector knows what is usual
}

// learn merges what was learned from logs with what the gateway knows.
func (s *Server) learn(q *query, l Learned) (Knowledge, error) {
	q.describe("learn", "")
	return s.gateway.Learn(q.time, l)
}

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
