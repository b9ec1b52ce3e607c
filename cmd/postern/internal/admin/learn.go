package admin

import "time"

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

// Knowledge says what a gateway knows.
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
