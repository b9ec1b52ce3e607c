package daemon

import (
	"sync"

	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/incidents"
)

// observations collects what is for the detector of another process until it is sent there. What exceeds observationsMax is
// dropped: a session must not wait.
type observations struct {
	ready chan struct{} // receives when there are some

	mu      sync.Mutex
	encoded []byte
}

func newObservations() *observations { return &observations{ready: make(chan struct{}, 1)} }

// observationsMax is the most that is kept, in octets. An hour of a large site has less.
const observationsMax = 16 << 20

// add adds one. It does not block.
func (o *observations) add(one incidents.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.encoded) < observationsMax {
		o.encoded = one.AppendTo(o.encoded)
	}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// take returns all there are, encoded.
func (o *observations) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.encoded
	o.encoded = nil
	return all
}

// send sends all there are, in messages of one packet.
func (o *observations) send(l *handover.Link) error {
	all := o.take()
	start, end := 0, 0
	for end < len(all) {
		_, rest, err := incidents.ParseObservation(all[end:])
		if err != nil {
			return err
		}
		next := len(all) - len(rest)
		if next-start > eventsMax {
			if err := l.Send(msgObservations, all[start:end]); err != nil {
				return err
			}
			start = end
		}
		end = next
	}
	if start == end {
		return nil
	}
	return l.Send(msgObservations, all[start:end])
}

// eachObservation calls do with each of those encoded in data.
func eachObservation(data []byte, do func(incidents.Observation)) error {
	for len(data) > 0 {
		o, rest, err := incidents.ParseObservation(data)
		if err != nil {
			return err
		}
		do(o)
		data = rest
	}
	return nil
}
