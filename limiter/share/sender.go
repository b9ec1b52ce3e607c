package share

import "time"

// A Sender makes the batches of one stream of this process. It is not safe for concurrent use.
type Sender struct{}

// NewSender returns the Sender of stream s of the process boot of a gateway, whose name [CheckGateway] accepts.
func NewSender(k *Keys, gateway string, boot Boot, s Stream) *Sender { return nil }

// SetFormat sets the format of the batches to come, see [Members.Format].
func (s *Sender) SetFormat(format uint8) {}

// Add queues r at time t. Of heartbeats only the newest waits. If more than [WaitingMax] records or [WaitingOctets] wait,
// the oldest are lost. It returns false if r itself is lost, because it is larger than [RecordMax].
func (s *Sender) Add(t time.Time, r Record) bool { return false }

// Waiting returns how many records are in no batch that the engine has accepted.
func (s *Sender) Waiting() int { return 0 }

// Next returns the batch to append to the stream at time t, false if nothing waits. Until Sent is called it returns the
// same records each time, sealed again, so a receiver that gets several of them takes one. engine is the time of the
// engine now, as far as the caller knows: its TIME when they last asked, plus what has passed since.
func (s *Sender) Next(t, engine time.Time) (batch []byte, ok bool) { return nil, false }

// Sent confirms that the engine has appended the batch of the last Next, under an ID of that time.
func (s *Sender) Sent(appended time.Time) {}

// Lost returns how many records were lost since the start. The next batch tells receivers to read the snapshots.
func (s *Sender) Lost() uint64 { return 0 }

// Export returns at time t the records that no confirmed batch has, for [Sender.Import] by the process that takes over.
// The Sender remains usable, in case that process fails. Two processes must not send at the same time.
func (s *Sender) Export(t time.Time) []byte { return nil }

// Import queues at time t the records of the [Sender.Export] of the former process. Next returns its unconfirmed batch
// first: as that of the former process, so that receivers take it once, whether or not the former has sent it. s must be
// new. If data is damaged or of another stream, it returns an error and changes nothing.
func (s *Sender) Import(t time.Time, data []byte) error { return nil }
