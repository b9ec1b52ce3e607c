package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"postern/cmd/postern/internal/eventlog"
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

// Knowledge says what a gateway knows.
type Knowledge struct {
	Accounts int     `json:"accounts"` // that are known
	Reserve  bool    `json:"reserve"`  // capacity is reserved for them
	Week     float64 `json:"week"`     // share of the week for which the detector knows what is usual
}

// serveLearn merges what was learned from logs with what the gateway knows.
func (s *Server) serveLearn(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > learnMax {
		http.Error(w, fmt.Sprintf("got %d octets, want at most %d", r.ContentLength, learnMax), http.StatusRequestEntityTooLarge)
		return
	}
	c := http.NewResponseController(w) // else the timeouts of the server remain
	_ = c.SetReadDeadline(time.Now().Add(learnTime))
	_ = c.SetWriteDeadline(time.Now().Add(2 * learnTime))
	var l Learned
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, learnMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		http.Error(w, "not what postern learn sends: "+err.Error(), http.StatusBadRequest)
		return
	}
	k, err := s.gateway.Learn(time.Now(), l)
	s.gateway.Log.Info("operator command", slog.String("event", "admin"), slog.String("rip", r.RemoteAddr), slog.String("action", "learn"), eventlog.Error(err))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	writeJSON(w, k)
}
