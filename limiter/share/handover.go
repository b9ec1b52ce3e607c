package share

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// handoverFormat is the version of all exports. They are JSON, whose unknown names are ignored; times are durations
// before the export, in nanoseconds.
const handoverFormat = 1

// errHandover is the error of an export with a value out of range.
var errHandover = errors.New("value out of range")

// decode decodes an export of what into v, which has the version.
func decode(what string, data []byte, v interface{ check() error }) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("importing %s from another process: %w", what, err)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("importing %s from another process: %w", what, err)
	}
	return nil
}

// encode encodes an export.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // all fields can be encoded
	}
	return data
}

// checkFormat returns an error if the version of an export is not ours.
func checkFormat(format int) error {
	if format != handoverFormat {
		return fmt.Errorf("got format %d, want %d: the processes are of versions that cannot take over from each other", format, handoverFormat)
	}
	return nil
}

type exportedSender struct {
	Format  int              `json:"format"`
	Stream  Stream           `json:"stream"`
	Batch   *exportedBatch   `json:"batch,omitempty"`
	Waiting []exportedRecord `json:"waiting"`
	Gap     bool             `json:"gap"`
	Lost    uint64           `json:"lost"`
}

type exportedBatch struct {
	origin
	Sequence uint64           `json:"sequence"`
	Gap      bool             `json:"gap"`
	Records  []exportedRecord `json:"records"`
}

type exportedRecord struct {
	Type RecordType    `json:"type"`
	Age  time.Duration `json:"age"`
	Data []byte        `json:"data"`
}

// check returns an error if a value is out of range.
func (x *exportedSender) check() error {
	if err := checkFormat(x.Format); err != nil {
		return err
	}
	for i := range x.Waiting {
		if len(x.Waiting[i].Data) > recordMax {
			return errHandover
		}
	}
	if x.Batch == nil {
		return nil
	}
	size := 0
	for i := range x.Batch.Records {
		size += recordOverhead + len(x.Batch.Records[i].Data)
	}
	if x.Batch.Sequence == 0 || size == 0 || size > contentsMax-16 {
		return errHandover
	}
	return x.Batch.check()
}

// Export returns at time t the records that no confirmed batch has, for [Sender.Import] by the process that takes over.
// The Sender remains usable, in case that process fails. Two processes must not send at the same time.
func (s *Sender) Export(t time.Time) []byte {
	x := exportedSender{Format: handoverFormat, Stream: s.stream, Waiting: exportRecords(t, s.waiting), Gap: s.gap, Lost: s.lost}
	if b := &s.batch; len(b.records) > 0 {
		x.Batch = &exportedBatch{b.from, b.sequence, b.gap, exportRecords(t, b.records)}
	}
	return encode(x)
}

// exportRecords returns records as they are exported.
func exportRecords(t time.Time, records []queued) []exportedRecord {
	exported := make([]exportedRecord, len(records))
	for i := range records {
		exported[i] = exportedRecord{records[i].Type, t.Sub(records[i].added), records[i].Data}
	}
	return exported
}

// importRecord returns r as it is queued at time t.
func (r *exportedRecord) importRecord(t time.Time) queued {
	return queued{Record{Type: r.Type, Data: r.Data}, t.Add(-min(max(r.Age, 0), ageMax))}
}

// Import queues at time t the records of the [Sender.Export] of the former process. Next returns its unconfirmed batch
// first: as that of the former process, so that receivers take it once, whether or not the former has sent it. s must be
// new. If data is damaged or of another stream, it returns an error and changes nothing.
func (s *Sender) Import(t time.Time, data []byte) error {
	var x exportedSender
	if err := decode("a sender", data, &x); err != nil {
		return err
	}
	if x.Stream != s.stream {
		return fmt.Errorf("importing a sender from another process: got stream %v, want %v", x.Stream, s.stream)
	}
	if b := x.Batch; b != nil {
		s.batch = pending{from: b.origin, sequence: b.Sequence, gap: b.Gap}
		for i := range b.Records {
			s.batch.records = append(s.batch.records, b.Records[i].importRecord(t))
		}
	}
	s.gap, s.lost = x.Gap, x.Lost
	for i := range x.Waiting {
		q := x.Waiting[i].importRecord(t)
		s.Add(q.added, q.Record)
	}
	return nil
}

type exportedReceiver struct {
	Format    int               `json:"format"`
	Own       []origin          `json:"own"`
	Processes []exportedProcess `json:"processes"`
}

type exportedProcess struct {
	origin
	Seen time.Duration   `json:"seen"`
	Last [Streams]uint64 `json:"last"`
}

// check returns an error if a value is out of range.
func (x *exportedReceiver) check() error {
	if err := checkFormat(x.Format); err != nil {
		return err
	}
	if len(x.Processes) > processesMax || len(x.Own) > processesMax+1 {
		return errHandover
	}
	for i := range x.Own {
		if err := x.Own[i].check(); err != nil {
			return err
		}
	}
	for i := range x.Processes {
		if err := x.Processes[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// Export returns at time t the sequences that r has seen, for [Receiver.Import] by the process that takes over.
func (r *Receiver) Export(t time.Time) []byte {
	x := exportedReceiver{Format: handoverFormat}
	for o := range r.own {
		if o == r.self || r.processes[o] != nil { // the batches of others have left the streams
			x.Own = append(x.Own, o)
		}
	}
	for o, p := range r.processes {
		x.Processes = append(x.Processes, exportedProcess{o, t.Sub(p.seen), p.last})
	}
	return encode(x)
}

// Import makes r know at time t what the former process had received. Batches of the former process are receipts from
// then on. r must be new. If data is damaged, it returns an error and changes nothing.
func (r *Receiver) Import(t time.Time, data []byte) error {
	var x exportedReceiver
	if err := decode("a receiver", data, &x); err != nil {
		return err
	}
	for _, o := range x.Own {
		r.own[o] = true
	}
	for i := range x.Processes {
		p := &x.Processes[i]
		r.processes[p.origin] = &process{seen: t.Add(-max(p.Seen, 0)), last: p.Last}
	}
	return nil
}

type exportedMembers struct {
	Format    int              `json:"format"`
	Self      origin           `json:"self"`
	Former    []Boot           `json:"former,omitempty"`
	Joined    *time.Duration   `json:"joined,omitempty"`
	Known     [2]float64       `json:"known"` // now, and the least of late
	Strangers [2]float64       `json:"strangers"`
	Members   []exportedMember `json:"members"` // in the order in which they were first seen
}

type exportedMember struct {
	origin
	Heartbeat Heartbeat     `json:"heartbeat"`
	Sent      time.Duration `json:"sent"`
	First     time.Duration `json:"first"` // by the clock of heartbeats
	At        time.Duration `json:"at"`
}

// check returns an error if a value is out of range.
func (x *exportedMembers) check() error {
	if err := checkFormat(x.Format); err != nil {
		return err
	}
	for _, rate := range [...]float64{x.Known[0], x.Known[1], x.Strangers[0], x.Strangers[1]} {
		if rate != bounded(rate) {
			return errHandover
		}
	}
	if len(x.Members) > membersMax || len(x.Former) > formerMax {
		return errHandover
	}
	for i := range x.Members {
		e := &x.Members[i]
		if err := errors.Join(e.check(), e.Heartbeat.check()); err != nil {
			return err
		}
		if e.At < 0 || e.First < e.At || e.First > ageMax {
			return errHandover
		}
	}
	return x.Self.check()
}

// Export returns at time t what m knows, for [Members.Import] by the process that takes over.
func (m *Members) Export(t time.Time) []byte {
	own := &m.own
	x := exportedMembers{
		Format: handoverFormat, Self: m.self, Former: m.former,
		Known:     [2]float64{own.known.value, own.known.at(t)},
		Strangers: [2]float64{own.strangers.value, own.strangers.at(t)},
	}
	if !own.joined.IsZero() {
		joined := min(max(t.Sub(own.joined), 0), ageMax)
		x.Joined = &joined
	}
	origins := slices.SortedFunc(maps.Keys(m.members), func(a, b origin) int {
		return cmp.Compare(m.members[a].number, m.members[b].number)
	})
	for _, o := range origins {
		e := m.members[o]
		x.Members = append(x.Members, exportedMember{o, e.Heartbeat, t.Sub(e.sent), min(m.clock-e.first, ageMax), m.clock - e.at})
	}
	return encode(x)
}

// Import makes m know at time t what the former process knew, and takes its part of the global bucket. m must be new. If
// data is damaged, it returns an error and changes nothing.
func (m *Members) Import(t time.Time, data []byte) error {
	var x exportedMembers
	if err := decode("members", data, &x); err != nil {
		return err
	}
	if x.Self == m.self {
		return fmt.Errorf("importing members from another process: got boot %v of this process, want another one", x.Self.Boot)
	}
	m.former = append(x.Former, x.Self.Boot)
	m.former = m.former[max(len(m.former)-formerMax, 0):]
	if x.Joined != nil {
		m.own.joined = t.Add(-*x.Joined)
	}
	m.own.known.restore(t, x.Known)
	m.own.strangers.restore(t, x.Strangers)
	m.clock, m.last = ageMax, t
	for i := range x.Members {
		e := &x.Members[i]
		o := e.origin
		if o == x.Self {
			o = m.self
		}
		m.members[o] = &member{
			Heartbeat: e.Heartbeat, number: m.count, sent: t.Add(-max(e.Sent, 0)), first: m.clock - e.First, at: m.clock - e.At,
		}
		m.count++
	}
	return nil
}
