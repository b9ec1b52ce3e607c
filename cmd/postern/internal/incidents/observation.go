package incidents

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"postern/limiter/watch"
)

// Observation is one call of Attempt, Opened, Closed or Held, for the process that
// has taken over the detector.
type Observation struct {
	kind    observationKind
	attempt watch.Attempt // of an attempt; of a held place it has Source and Network only
}

// observationKind is what was observed. It is the first octet of the encoded form.
type observationKind uint8

const (
	observedAttempt observationKind = iota + 1
	observedOpened
	observedClosed
	observedHeld
)

// Forward makes every later observation go to a function instead of the detector,
// with nil to the detector again. When it returns, no call of the former function
// is under way. The function must return soon and must not call m; several
// goroutines call it at once.
//
// For a hand-over, call Forward after Run has returned and before Export: then
// each observation is either in the export or forwarded. If the hand-over fails,
// call Forward(nil) and give what was forwarded to Observe.
func (m *Manager) Forward(to func(Observation)) {
	m.forwarding.Lock()
	defer m.forwarding.Unlock()
	m.forward = to
}

// Observe adds an observation that another process of this gateway has forwarded.
// It counts at time t.
func (m *Manager) Observe(t time.Time, o Observation) {
	m.forwarding.RLock()
	defer m.forwarding.RUnlock()
	if m.forward != nil {
		m.forward(o)
		return
	}
	switch a := o.attempt; o.kind {
	case observedAttempt:
		m.watch.Attempt(t, a)
	case observedOpened:
		m.watch.Opened(t)
	case observedClosed:
		m.watch.Closed(t)
	case observedHeld:
		m.watch.Held(t, a.Source, a.Network)
	}
}

// The most octets of the texts of an Observation. The detector keeps fewer of an
// account.
const (
	observedAccount = 128
	observedRule    = 64
	observedJA4     = 64
)

// The flags of an attempt in the encoded form.
const (
	flagKnown = 1 << iota
	flagUsual
	flagWorked
	flagFormer
	flagCompared
	flagJA4  // a TLS fingerprint follows the rule; a version without them never sets it
	flagsAll = 1<<iota - 1
)

// AppendTo appends o to data, for ParseObservation.
func (o Observation) AppendTo(data []byte) []byte {
	data = append(data, byte(o.kind))
	if o.kind != observedAttempt && o.kind != observedHeld {
		return data
	}
	a := &o.attempt
	data = appendPrefix(appendPrefix(data, a.Source), a.Network)
	if o.kind == observedHeld {
		return data
	}
	flags := byte(0)
	for i, set := range []bool{a.Known, a.Usual, a.Worked, a.Former, a.Compared, a.JA4 != ""} {
		if set {
			flags |= 1 << i
		}
	}
	data = append(data, flags, byte(a.Outcome))
	data = binary.LittleEndian.AppendUint64(data, a.Credential)
	data = binary.AppendUvarint(data, uint64(max(a.Waited, 0)))
	data = binary.AppendUvarint(data, uint64(max(a.Greeting, 0)))
	data = appendText(appendText(data, a.Account, observedAccount), a.Rule, observedRule)
	if a.JA4 != "" {
		data = appendText(data, a.JA4, observedJA4)
	}
	return data
}

// appendPrefix appends the size of an address, the address and the length of a
// network; of an invalid one only a zero.
func appendPrefix(data []byte, p netip.Prefix) []byte {
	if !p.IsValid() {
		return append(data, 0)
	}
	addr := p.Addr().AsSlice()
	return append(append(append(data, byte(len(addr))), addr...), byte(p.Bits()))
}

// appendText appends the first octets of a text, and their number.
func appendText(data []byte, text string, most int) []byte {
	text = text[:min(len(text), most)]
	return append(append(data, byte(len(text))), text...)
}

// ParseObservation parses the observation that data begins with, and returns what
// follows it.
func ParseObservation(data []byte) (o Observation, rest []byte, err error) {
	p := observationParser{data: data}
	o.kind = observationKind(p.octet())
	switch o.kind {
	case observedAttempt, observedHeld:
		o.attempt.Source, o.attempt.Network = p.prefix(), p.prefix()
	case observedOpened, observedClosed:
	default:
		p.failed = true
	}
	if o.kind == observedAttempt {
		p.attempt(&o.attempt)
	}
	if p.failed {
		return Observation{}, nil, fmt.Errorf("parse observation of kind %d: %w", o.kind, errMalformed)
	}
	return o, p.data, nil
}

// errMalformed is why an observation is refused.
var errMalformed = errors.New("malformed, or of another version")

// observationParser takes an observation apart. After a failure its methods return
// zero values.
type observationParser struct {
	data   []byte
	failed bool
}

// take returns the next n octets, or as many zeros.
func (p *observationParser) take(n int) []byte {
	if n > len(p.data) {
		p.data, p.failed = nil, true
		return make([]byte, n)
	}
	taken := p.data[:n]
	p.data = p.data[n:]
	return taken
}

// octet returns the next octet.
func (p *observationParser) octet() byte { return p.take(1)[0] }

// prefix returns the next network, in its canonical form.
func (p *observationParser) prefix() netip.Prefix {
	size := int(p.octet())
	if size == 0 {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(p.take(size))
	prefix := netip.PrefixFrom(addr, int(p.octet()))
	p.failed = p.failed || !ok || !prefix.IsValid()
	return prefix
}

// duration returns the next duration.
func (p *observationParser) duration() time.Duration {
	v, n := binary.Uvarint(p.data)
	if n <= 0 || v > math.MaxInt64 {
		p.data, p.failed = nil, true
		return 0
	}
	p.data = p.data[n:]
	return time.Duration(v)
}

// text returns the next text of at most so many octets.
func (p *observationParser) text(most int) string {
	n := int(p.octet())
	p.failed = p.failed || n > most
	return string(p.take(n))
}

// attempt sets what follows the networks of an attempt.
func (p *observationParser) attempt(a *watch.Attempt) {
	flags := p.octet()
	a.Known, a.Usual, a.Worked = flags&flagKnown != 0, flags&flagUsual != 0, flags&flagWorked != 0
	a.Former, a.Compared = flags&flagFormer != 0, flags&flagCompared != 0
	a.Outcome = watch.Outcome(p.octet())
	a.Credential = binary.LittleEndian.Uint64(p.take(8))
	a.Waited, a.Greeting = p.duration(), p.duration()
	a.Account, a.Rule = p.text(observedAccount), p.text(observedRule)
	if flags&flagJA4 != 0 {
		a.JA4 = p.text(observedJA4)
	}
	p.failed = p.failed || flags > flagsAll || a.Outcome > watch.Fault
}
