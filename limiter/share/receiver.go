package share

import "time"

// An Entry is what the engine has in a stream.
type Entry struct {
	Stream   Stream
	Appended time.Time     // the time in its ID
	Age      time.Duration // the TIME of the engine minus Appended; zero if it was read as it was appended
	Data     []byte        // the sealed batch
}

// A Batch is an opened entry. Its records must be applied in order.
type Batch struct {
	Stream   Stream
	Gateway  string
	Boot     Boot // of the process that has made the records
	Sequence uint64
	Attempt  uint32 // how many times it had been sealed before
	Own      bool   // a receipt: this process or one from which it took over has made the records
	Gap      bool   // records before this batch were lost: read the snapshots again
	Records  []Record
	Skipped  int // records of types that this version does not know
}

// A Receiver opens the batches of all gateways in both streams. It is not safe for concurrent use.
type Receiver struct{}

// NewReceiver returns the Receiver of the process boot of a gateway.
func NewReceiver(k *Keys, gateway string, boot Boot) *Receiver { return nil }

// Open opens an entry that was read at time t. The error is [ErrSealed], [ErrFormat], [ErrDuplicate] or [ErrStale], with
// details.
func (r *Receiver) Open(t time.Time, e Entry) (Batch, error) { return Batch{}, nil }

// Export returns at time t the sequences that r has seen, for [Receiver.Import] by the process that takes over.
func (r *Receiver) Export(t time.Time) []byte { return nil }

// Import makes r know at time t what the former process had received. Batches of the former process are receipts from
// then on. r must be new. If data is damaged, it returns an error and changes nothing.
func (r *Receiver) Import(t time.Time, data []byte) error { return nil }
