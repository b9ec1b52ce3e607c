package share

import (
	"crypto/cipher"
	"slices"
	"time"
)

// Limits of what waits in a Sender.
const (
	batchMax      = 32 << 10  // octets of records in a batch that has more than one and a heartbeat
	recordMax     = 128 << 10 // octets of data in a record
	waitingMax    = 10_000    // records
	waitingOctets = 4 << 20   // octets of data
)

// recordOverhead is the most octets that a record takes beside its data.
const recordOverhead = 1 + 6 + 3

// A Sender makes the batches of one stream of this process. It is not safe for concurrent use.
type Sender struct {
	keys   *Keys
	self   origin
	stream Stream
	format uint8
	aead   cipher.AEAD // for the records of this process

	waiting   []queued // the oldest first
	octets    int      // of data in waiting
	heartbeat queued   // the newest that waits; none if its type is zero
	batch     pending
	sequence  uint64 // of the newest batch of this process
	gap       bool   // records were lost since that batch was made
	lost      uint64

	engine time.Time     // of the engine at the last Next
	skew   time.Duration // the clock of the IDs minus that, when it was seen last
}

// A queued record waits since a time.
type queued struct {
	Record
	added time.Time
}

// A pending batch was returned by Next at least once. Its records and its sequence do not change. There is none if it has
// no records.
type pending struct {
	from     origin // of the process that has made it first
	sequence uint64
	attempt  uint32 // of the next time it is sealed
	gap      bool
	records  []queued
}

// NewSender returns the Sender of stream s of the process boot of a gateway. It panics if [CheckGateway] does not accept
// the name of the gateway.
func NewSender(k *Keys, gateway string, boot Boot, s Stream) *Sender {
	if err := CheckGateway(gateway); err != nil {
		panic(err)
	}
	h := header{stream: s, gateway: []byte(gateway), boot: boot, sealer: boot}
	return &Sender{keys: k, self: origin{gateway, boot}, stream: s, format: FormatOldest, aead: k.aead(&h)}
}

// SetFormat sets the format of the batches to come, see [Members.Format].
func (s *Sender) SetFormat(format uint8) {
	s.format = min(max(format, FormatOldest), FormatNewest)
}

// Add queues r at time t. Of heartbeats only the newest waits. If more than 10,000 records or 4 MB of data wait,
// the oldest are lost. It returns false if r itself is lost, because it is larger than 128 KB, a heartbeat than 4 KB.
func (s *Sender) Add(t time.Time, r Record) bool {
	if len(r.Data) > recordMax || r.Type == RecordHeartbeat && len(r.Data) > heartbeatMax {
		s.lose(1)
		return false
	}
	q := queued{r, t}
	if r.Type == RecordHeartbeat {
		s.heartbeat = q
		return true
	}
	s.waiting = append(s.waiting, q)
	s.octets += len(r.Data)
	excess := 0
	for len(s.waiting)-excess > waitingMax || s.octets > waitingOctets {
		s.octets -= len(s.waiting[excess].Data)
		excess++
	}
	s.removeOldest(excess)
	s.lose(excess)
	return true
}

// lose counts n records as lost.
func (s *Sender) lose(n int) {
	s.lost += uint64(n)
	s.gap = s.gap || n > 0
}

// removeOldest removes the n oldest records that wait.
func (s *Sender) removeOldest(n int) {
	clear(s.waiting[:n]) // their data can be freed
	if s.waiting = s.waiting[n:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
}

// Waiting returns how many records are in no batch that the engine has accepted.
func (s *Sender) Waiting() int {
	n := len(s.waiting) + len(s.batch.records)
	if s.heartbeat.Type != 0 {
		n++
	}
	return n
}

// Next returns the batch to append to the stream at time t, false if nothing waits. Until Sent is called it returns the
// same records each time, sealed again, so a receiver that gets several of them takes one. engine is the time of the
// engine now: its TIME when the caller last read it, plus what has passed since.
func (s *Sender) Next(t, engine time.Time) (batch []byte, ok bool) {
	if len(s.batch.records) == 0 && !s.makeBatch() {
		return nil, false
	}
	p := &s.batch
	h := header{
		format: s.format, stream: s.stream, gateway: []byte(p.from.Gateway), boot: p.from.Boot,
		sequence: p.sequence, attempt: p.attempt, sealer: s.self.Boot,
	}
	aead := s.aead
	if p.from != s.self {
		aead = s.keys.aead(&h)
	}
	s.engine = engine
	c := contents{gap: p.gap, sealed: engine.Add(s.skew), records: make([]Record, len(p.records))}
	size := headerMax + 16 + sealSize
	for i := range p.records {
		q := &p.records[i]
		c.records[i] = Record{q.Type, q.Data, t.Sub(q.added)}
		size += recordOverhead + len(q.Data)
	}
	p.attempt++ // after 2^32 attempts a nonce would repeat: at ten a second, that is 13 years
	b := h.appendTo(make([]byte, 0, size))
	header := len(b)
	b = c.appendTo(b)
	nonce := h.nonce()
	return aead.Seal(b[:header], nonce[:], b[header:], b[:header]), true
}

// makeBatch moves the heartbeat and the oldest records that wait to the batch, false if there is none.
func (s *Sender) makeBatch() bool {
	if s.heartbeat.Type == 0 && len(s.waiting) == 0 {
		return false
	}
	n, size, octets := 0, 0, 0
	for ; n < len(s.waiting); n++ {
		data := len(s.waiting[n].Data)
		if size += recordOverhead + data; n > 0 && size > batchMax {
			break
		}
		octets += data
	}
	records := make([]queued, 0, n+1)
	if s.heartbeat.Type != 0 { // first: it must not wait for the others
		records = append(records, s.heartbeat)
		s.heartbeat = queued{}
	}
	records = slices.Concat(records, s.waiting[:n])
	s.removeOldest(n)
	s.octets -= octets
	s.sequence++
	s.batch = pending{from: s.self, sequence: s.sequence, gap: s.gap, records: records}
	s.gap = false
	return true
}

// Sent confirms that the engine has appended the batch of the last Next, under an ID of the time appended. If that differs
// from what Next was given, because the clock of the engine was set, the next batches follow the IDs.
func (s *Sender) Sent(appended time.Time) {
	if len(s.batch.records) > 0 {
		s.skew = appended.Sub(s.engine)
		s.batch = pending{}
	}
}

// Lost returns how many records were lost since the start. The next batch has a flag for receivers to read the snapshots.
func (s *Sender) Lost() uint64 { return s.lost }
