package share

import (
	"crypto/cipher"
	"fmt"
	"time"
)

// staleAfter is the largest difference between the time at which a batch was sealed and the one in the ID under which it
// is in the stream. Of a copy that somebody appends later, it is larger.
const staleAfter = 5 * time.Minute

// processesMax bounds the processes whose sequences a Receiver knows. An entry is made for a batch that opens and is not
// stale, so it takes that many starts of gateways to fill it; then the one is forgotten that was not seen for longest.
const processesMax = 1024

// An Entry is what the engine has in a stream.
type Entry struct {
	Stream   Stream
	Appended time.Time     // the time in its ID
	Age      time.Duration // the time of the engine now minus Appended, as for Next; zero if that is not known
	Data     []byte        // the sealed batch
}

// A Batch is an opened entry. Its records must be applied in order.
type Batch struct {
	Stream   Stream
	Gateway  string
	Boot     Boot // of the process that has made the records
	Sequence uint64
	Attempt  uint32 // how many times its sealer had sealed it before
	Own      bool   // a receipt: this process or one from which it took over has made the records
	Gap      bool   // records before this batch were lost: read the snapshots again
	Records  []Record
	Skipped  int // records of types that this version does not know
}

// A Receiver opens the batches of all gateways in both streams. It is not safe for concurrent use.
type Receiver struct {
	keys      *Keys
	self      origin
	own       map[origin]bool // this process and those from which it took over
	processes map[origin]*process
	newest    uint8         // format that it reads
	missed    [Streams]bool // a batch could not be read
}

// A process is one whose batches were received.
type process struct {
	seen  time.Time
	last  [Streams]uint64      // sequence
	aeads [Streams]cipher.AEAD // nil until needed
}

// NewReceiver returns the Receiver of the process boot of a gateway.
func NewReceiver(k *Keys, gateway string, boot Boot) *Receiver {
	self := origin{gateway, boot}
	return &Receiver{
		keys: k, self: self, own: map[origin]bool{self: true}, processes: map[origin]*process{}, newest: FormatNewest,
	}
}

// Open opens an entry that was read at time t. The error is [ErrSealed], [ErrFormat], [ErrDuplicate] or [ErrStale], with
// details; then the entry has changed nothing, but after [ErrFormat] the next batch has a Gap.
func (r *Receiver) Open(t time.Time, e Entry) (Batch, error) {
	h, size, ok := parseHeader(e.Data)
	if !ok || h.stream != e.Stream || int(h.stream) >= Streams {
		return Batch{}, fmt.Errorf("opening a batch of %v: %w", e.Stream, ErrSealed)
	}
	p := r.processes[origin{string(h.gateway), h.boot}]
	aead := r.aead(p, &h)
	nonce := h.nonce()
	plain, err := aead.Open(nil, nonce[:], e.Data[size:], e.Data[:size])
	if err != nil {
		return Batch{}, fmt.Errorf("opening a batch of %v: %w", e.Stream, ErrSealed)
	}
	from := origin{string(h.gateway), h.boot}
	c, err := r.read(&h, p, e.Appended, plain)
	if err != nil {
		return Batch{}, fmt.Errorf("opening batch %d of %s in %v: %w", h.sequence, from.Gateway, e.Stream, err)
	}
	since := max(e.Appended.Sub(c.sealed), 0) + max(e.Age, 0)
	for i := range c.records {
		c.records[i].Age += since
	}
	b := Batch{
		Stream: h.stream, Gateway: from.Gateway, Boot: h.boot, Sequence: h.sequence, Attempt: h.attempt,
		Own: r.own[from], Gap: c.gap || r.missed[h.stream], Records: c.records, Skipped: c.skipped,
	}
	if p == nil {
		p = r.addProcess(from)
	}
	if h.sealer == h.boot {
		p.aeads[h.stream] = aead
	}
	last := &p.last[h.stream]
	b.Gap = b.Gap || *last != 0 && h.sequence != *last+1
	p.seen, *last, r.missed[h.stream] = t, h.sequence, false
	return b, nil
}

// aead returns what opens a batch with header h, of the process p if that is known. Only keys of known processes are kept,
// so that a batch which does not open takes no memory.
func (r *Receiver) aead(p *process, h *header) cipher.AEAD {
	if p == nil || h.sealer != h.boot || p.aeads[h.stream] == nil {
		return r.keys.aead(h)
	}
	return p.aeads[h.stream]
}

// read decodes the contents of a batch with header h, which has opened, of the process p if that is known.
func (r *Receiver) read(h *header, p *process, appended time.Time, plain []byte) (c contents, err error) {
	if h.format < FormatOldest || h.format > r.newest {
		r.missed[h.stream] = true
		return c, fmt.Errorf("%w: got %d, want %d to %d", ErrFormat, h.format, FormatOldest, r.newest)
	}
	records, err := c.parseTime(plain)
	if err != nil {
		r.missed[h.stream] = true
		return c, err
	}
	if late := appended.Sub(c.sealed); late.Abs() > staleAfter {
		return c, fmt.Errorf("%w: appended %v after it was sealed, want at most %v", ErrStale, late, staleAfter)
	}
	if p != nil && h.sequence <= p.last[h.stream] {
		return c, fmt.Errorf("%w: the newest is %d", ErrDuplicate, p.last[h.stream])
	}
	if err := c.parseRecords(records); err != nil {
		r.missed[h.stream] = true
		return c, err
	}
	return c, nil
}

// addProcess adds a process, and removes the one seen least recently if there are too many.
func (r *Receiver) addProcess(from origin) *process {
	if len(r.processes) >= processesMax {
		var oldest origin
		for o, p := range r.processes {
			if oldest.Gateway == "" || p.seen.Before(r.processes[oldest].seen) {
				oldest = o
			}
		}
		delete(r.processes, oldest)
	}
	p := &process{}
	r.processes[from] = p
	return p
}
