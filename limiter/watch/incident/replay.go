package incident

import (
	"bytes"
	"encoding/json"
	"time"
)

// Replayed says what was wrong with the lines that [Replay] read.
type Replayed struct {
	Events int   // understood
	Torn   bool  // the last line was cut short, as by a crash; it was left out
	Bad    []int // numbers of other lines that could not be understood, from 1; at most 100
}

// Replay returns the Log whose events the lines of data tell, one in JSON each, in the order they were made. No
// data means no incidents. An incident becomes public hold after it is detected, unless somebody holds it.
func Replay(data []byte, hold time.Duration) (*Log, Replayed) {
	l, r := newLog(hold), Replayed{}
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e Event
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = l.apply(e)
		}
		switch {
		case err == nil:
			r.Events++
		case !whole:
			r.Torn = true
		case len(r.Bad) < 100:
			r.Bad = append(r.Bad, number)
		}
	}
	return l, r
}
