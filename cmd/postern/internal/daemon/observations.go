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

	mu       sync.Mutex
	messages [][]byte // each has whole observations, encoded, of about eventsMax octets
}

func newObservations() *observations { return &observations{ready: make(chan struct{}, 1)} }

// observationsMax is the most that is kept, in messages: 16 MB. An hour of a large site has less.
const observationsMax = 512

// add adds one. It does not block.
func (o *observations) add(one incidents.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := len(o.messages) - 1
	switch {
	case last >= 0 && len(o.messages[last]) < eventsMax:
		o.messages[last] = one.AppendTo(o.messages[last])
	case len(o.messages) < observationsMax:
		o.messages = append(o.messages, one.AppendTo(nil))
	}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// take returns all there are, as the content of messages.
func (o *observations) take() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.messages
	o.messages = nil
	return all
}

// send sends all there are, in messages of one packet.
func (o *observations) send(l *handover.Link) error {
	for _, m := range o.take() {
		if err := l.Send(msgObservations, m); err != nil {
			return err
		}
	}
	return nil
}

// eachObservation calls do with each of those encoded in a message.
func eachObservation(message []byte, do func(incidents.Observation)) error {
	for len(message) > 0 {
		o, rest, err := incidents.ParseObservation(message)
		if err != nil {
			return err
		}
		do(o)
		message = rest
	}
	return nil
}
