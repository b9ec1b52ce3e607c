package bench

// goal is a figure that postern is held to: a ratio to each peer that it must
// not exceed.
type goal struct {
	Name   string
	Work   string
	Figure string
	Most   map[string]float64 // by peer
}

// goals are the targets set before the work began; see README.md.
var goals = []goal{
	{"CPU per login, TLS, saturation", "login, TLS, saturation", "CPU per login", map[string]float64{"nginx": 0.70, "haproxy": 0.65, "dovecot": 0.45}},
	{"CPU per login, plain, saturation", "login, plain, saturation", "CPU per login", map[string]float64{"nginx": 0.95, "haproxy": 1.40, "dovecot": 0.50}},
	{"CPU per login, TLS, 500/s open loop", "login, TLS, 500/s", "CPU per login", map[string]float64{"nginx": 1.05, "haproxy": 1.00, "dovecot": 0.65}},
	{"idle memory, TLS", "idle, TLS", "memory per session", map[string]float64{"nginx": 0.35, "haproxy": 0.45, "dovecot": 0.13}},
	{"idle memory, TLS, after fetching 256 KB", "idle, TLS", "after fetching 256 KB", map[string]float64{"nginx": 0.35, "haproxy": 0.45, "dovecot": 0.13}},
	{"idle memory, TLS, after sending 256 KB", "idle, TLS", "after sending 256 KB", map[string]float64{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.20}},
	{"idle memory, plain", "idle, plain", "memory per session", map[string]float64{"nginx": 0.30, "haproxy": 0.85, "dovecot": 0.11}},
	{"descriptors per session", "idle, TLS", "descriptors per session", map[string]float64{"nginx": 1, "haproxy": 1, "dovecot": 1}},
	{"relay CPU, TLS, download", "relay, TLS", "download, CPU per GB", map[string]float64{"nginx": 0.70, "haproxy": 0.85, "dovecot": 0.35}},
	{"relay CPU, TLS, upload", "relay, TLS", "upload, CPU per GB", map[string]float64{"nginx": 0.70, "haproxy": 0.85, "dovecot": 0.35}},
	{"relay CPU, plain, download", "relay, plain", "download, CPU per GB", map[string]float64{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.50}},
	{"relay CPU, plain, upload", "relay, plain", "upload, CPU per GB", map[string]float64{"nginx": 0.60, "haproxy": 0.80, "dovecot": 0.50}},
}

// GoalRow says how far postern has come with one goal.
type GoalRow struct {
	Name  string              `json:"name"`
	Own   float64             `json:"own"`
	Unit  string              `json:"unit"`
	Peers map[string]GoalPeer `json:"peers"`
}

// GoalPeer compares postern with one peer.
type GoalPeer struct {
	Ratio float64 `json:"ratio"`
	Most  float64 `json:"most"`
	Met   bool    `json:"met"`
}

// slack is what a ratio may exceed its goal by: differences below it are noise
// of the rounding kind, as a descriptor more in 2000 sessions.
const slack = 0.005

// judge compares postern with its goals, as far as they were measured.
func judge(r *Report) (rows []GoalRow) {
	for _, g := range goals {
		row := r.Row(g.Work, g.Figure)
		if row == nil || row.Cells["postern"] == nil {
			continue
		}
		judged := GoalRow{Name: g.Name, Own: row.Cells["postern"].Median, Unit: row.Unit, Peers: map[string]GoalPeer{}}
		for peer, most := range g.Most {
			if ratio, ok := row.Ratio("postern", peer); ok {
				judged.Peers[peer] = GoalPeer{ratio, most, ratio <= most+slack}
			}
		}
		if len(judged.Peers) > 0 {
			rows = append(rows, judged)
		}
	}
	return rows
}
