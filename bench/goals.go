package bench

import (
	"slices"
	"time"
)

// goal is a limit for a figure of postern: a highest ratio to each peer, or a
// bound.
type goal struct {
	Name            string
	Work, Figure    string // where it is measured
	MaxRatios       ratios
	AtLeast, AtMost float64 // 0: none
}

// ratios holds a ratio for each peer.
type ratios map[string]float64

// goals were set before the work began, those of overload, capacity, viewers, sharing
// and informed later; see README.md.
var goals = append([]goal{
	{Name: "CPU per login, TLS, saturation", Work: "login, TLS, saturation", Figure: "CPU per login", MaxRatios: ratios{"nginx": 0.70, "haproxy": 0.65, "dovecot": 0.45}},
	{Name: "CPU per login, plain, saturation", Work: "login, plain, saturation", Figure: "CPU per login", MaxRatios: ratios{"nginx": 0.95, "haproxy": 1.40, "dovecot": 0.50}},
	{Name: "CPU per login, TLS, 500/s open loop", Work: "login, TLS, 500/s", Figure: "CPU per login", MaxRatios: ratios{"nginx": 1.05, "haproxy": 1.00, "dovecot": 0.65}},
	{Name: "idle memory, TLS", Work: "idle, TLS", Figure: "memory per session", MaxRatios: ratios{"nginx": 0.35, "haproxy": 0.45, "dovecot": 0.13}},
	{Name: "idle memory, TLS, after fetching 256 KB", Work: "idle, TLS", Figure: "after fetching 256 KB", MaxRatios: ratios{"nginx": 0.35, "haproxy": 0.45, "dovecot": 0.13}},
	{Name: "idle memory, TLS, after sending 256 KB", Work: "idle, TLS", Figure: "after sending 256 KB", MaxRatios: ratios{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.20}},
	{Name: "idle memory, plain", Work: "idle, plain", Figure: "memory per session", MaxRatios: ratios{"nginx": 0.30, "haproxy": 0.85, "dovecot": 0.11}},
	{Name: "descriptors per session", Work: "idle, TLS", Figure: "descriptors per session", MaxRatios: ratios{"nginx": 1, "haproxy": 1, "dovecot": 1}},
	{Name: "relay CPU, TLS, download", Work: "relay, TLS", Figure: "download, CPU per GB", MaxRatios: ratios{"nginx": 0.70, "haproxy": 0.85, "dovecot": 0.35}},
	{Name: "relay CPU, TLS, upload", Work: "relay, TLS", Figure: "upload, CPU per GB", MaxRatios: ratios{"nginx": 0.70, "haproxy": 0.85, "dovecot": 0.35}},
	{Name: "relay CPU, plain, download", Work: "relay, plain", Figure: "download, CPU per GB", MaxRatios: ratios{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.50}},
	{Name: "relay CPU, plain, upload", Work: "relay, plain", Figure: "upload, CPU per GB", MaxRatios: ratios{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.50}},
	{Name: "tarpitted attempt, TLS, memory", Work: "tarpit, TLS", Figure: "memory per attacker", MaxRatios: ratios{"haproxy": 0.50, "dovecot": 0.16}},
	{Name: "tarpitted attempt, TLS, descriptors", Work: "tarpit, TLS", Figure: "descriptors per attacker", AtMost: 1},
	{Name: "logins of the known accepted, attack at 4.27×", Work: "attack, wide, 4.27×", Figure: "known, accepted", AtLeast: 99.9},
	{Name: "their 99 %, attack at 4.27×, against before", Work: "attack, wide, 4.27×", Figure: "known, 99 %, against before", AtMost: 2},
	{Name: "logins of the known accepted, attack at 10×", Work: "attack, wide, 10×", Figure: "known, accepted", AtLeast: 99.9},
	{Name: "their 99 %, attack at 10×, against before", Work: "attack, wide, 10×", Figure: "known, 99 %, against before", AtMost: 2},
	{Name: "logins of the known accepted, attack at 100×", Work: "attack, wide, 100×", Figure: "known, accepted", AtLeast: 99.9},
	{Name: "their 99 %, attack at 100×, against before", Work: "attack, wide, 100×", Figure: "known, 99 %, against before", AtMost: 2},
	{Name: "wake-up, 99 %, at twice the logins", Work: "overload, logins", Figure: "wake-up, 99 %", AtMost: 100},
	{Name: "wake-up, 99 %, beside unfinished handshakes", Work: "overload, unfinished handshakes", Figure: "wake-up, 99 %", AtMost: 100},
	{Name: "logins accepted, beside unfinished handshakes", Work: "overload, unfinished handshakes", Figure: "logins accepted, of the full rate", AtLeast: 90},
	{Name: "sessions alive in a full process", Work: "capacity, TLS", Figure: "sessions that are alive", AtLeast: 100},
	{Name: "CPU per login with page and top open, against without", Work: viewersWork, Figure: viewersRatio, AtMost: 1.03},
}, append(sharingGoals(), informedGoals()...)...)

// informedGoals are those of the scenario informed.
func informedGoals() (all []goal) {
	for _, row := range informedRows {
		work := "informed, " + row.name
		if !row.empty {
			all = append(all,
				goal{Name: "logins of the known accepted, " + row.name, Work: work, Figure: knownAccepted, AtLeast: 99.9},
				goal{Name: "their 99 %, " + row.name, Work: work, Figure: knownSlowest, AtMost: 1000 + float64(checkTime.Milliseconds())})
		}
		for _, g := range row.goals {
			name := clientName(g.class)
			all = append(all, goal{Name: name + " accepted, " + row.name, Work: work, Figure: name + ", accepted", AtLeast: g.atLeast})
		}
	}
	// Two buckets of five guesses each, which refill in ten minutes, and the error of the estimate.
	const tested = 2*5*(1+float64(guessTime)/float64(10*time.Minute)) + 5
	return append(all,
		goal{Name: "logins with one password that reach the mail server", Work: "informed, one password 100/s", Figure: reachedFigure, AtMost: 10},
		goal{Name: "guesses of a source at an account that are tested", Work: "informed, guessing after refusals", Figure: testedFigure, AtMost: tested})
}

// GoalRow compares postern with one goal.
type GoalRow struct {
	Name  string              `json:"name"`
	Own   float64             `json:"own"`
	Unit  string              `json:"unit"`
	Bound string              `json:"bound,omitempty"` // of the figure itself, as "≥ 99.9"
	Met   bool                `json:"met"`             // bound and all ratios
	Peers map[string]GoalPeer `json:"peers,omitempty"`
}

// GoalPeer compares postern with one peer.
type GoalPeer struct {
	Ratio float64 `json:"ratio"`
	Most  float64 `json:"most"`
	Met   bool    `json:"met"`
}

// tolerance is how much a ratio may exceed its goal, for rounding: one file
// descriptor more in 2000 sessions is no failure.
const tolerance = 0.005

// evaluateGoals compares postern with all goals that were measured.
func evaluateGoals(r *Report) (rows []GoalRow) {
	for _, g := range goals {
		if row := r.row(g.Work, g.Figure); row != nil && row.Cells["postern"] != nil {
			if result := g.evaluate(row); result.Bound != "" || len(result.Peers) > 0 {
				rows = append(rows, result)
			}
		}
	}
	return rows
}

// evaluate compares the row of a goal with its limits.
func (g goal) evaluate(row *Row) GoalRow {
	own := row.Cells["postern"].Median
	result := GoalRow{Name: g.Name, Own: own, Unit: row.Unit, Met: true, Peers: map[string]GoalPeer{}}
	if g.AtLeast != 0 {
		result.Bound, result.Met = "≥ "+plainNumber(g.AtLeast), own >= g.AtLeast
	}
	if g.AtMost != 0 {
		result.Bound, result.Met = "≤ "+plainNumber(g.AtMost), own <= g.AtMost
	}
	for peer, most := range g.MaxRatios {
		if ratio, ok := row.ratio("postern", peer); ok {
			met := ratio <= most+tolerance
			result.Peers[peer] = GoalPeer{ratio, most, met}
			result.Met = result.Met && met
		}
	}
	return result
}

// ComparedPeers returns the names of the targets that a goal compares postern
// with, in the order of the targets.
func (r *Report) ComparedPeers() (names []string) {
	for _, t := range r.Targets {
		if slices.ContainsFunc(r.Goals, func(g GoalRow) bool { _, result := g.Peers[t.Name]; return result }) {
			names = append(names, t.Name)
		}
	}
	return names
}
