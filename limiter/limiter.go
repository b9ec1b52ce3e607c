// Package limiter decides who may try to log in, and when.
//
// It is asked when a connection arrives ([Limiter.Connect]) and when its client wants to try a password ([Limiter.Ask]);
// it is told what became of the attempt ([Ticket.Settle]). It never waits, refuses or dials itself: it answers with a
// [Verdict], and whoever asked acts on it. It contains no clock, no goroutine, no sleep and no I/O. Every method takes
// the time of what it is told, so a test can play ten minutes in no time.
//
// # Words
//
//	source       the block an attempt is charged to: IPv4 /32, IPv6 /64
//	network      the wider block: IPv4 /24, IPv6 /48
//	bucket       tokens that are spent one by one and refill with time
//	attempt      one login a client asks for; it ends as accepted, denied or void
//	denied       wrong credentials, said by a backend
//	void         neither accepted nor denied: backend busy, client gone, our own refusal
//	hold         a token an attempt keeps from others while its outcome is open
//	settle       denied spends the holds of an attempt, accepted and void hand them back
//	verdict      pass, wait (then pass) or refuse, and the rule that said so
//	exempt       an address no rule about sources or networks applies to
//	visit        one open connection
//
// # Rules
//
// At connect: the rate of new connections of the source (connect), its open connections (open), and those of them that
// have not logged in (open_prelogin). Each refuses.
//
// At an attempt: denials of the source (source) delay, and refuse once no token is free; denials of the network (network)
// only delay; logins that reach a backend (global) delay, and refuse when the delay would be too long. Waits are not
// added: the strictest answer is the verdict, and its rule is named.
//
// An attempt is admitted while the tokens left, less the holds of attempts under way, are at least one. So guesses made
// in parallel cannot outrun a bucket. The wait grows with what is spent and takes no notice of holds: ten telephones
// behind one address that log in at once with good passwords do not wait.
//
// # Memory
//
// At most TableMax sources and networks are remembered. One that is full again, with nothing held and nothing open, is
// like one never seen and is dropped without loss. When all are in use, a new source is judged by its network alone, and
// a new network by what all such networks of its family share: both delay, so a flood of addresses locks nobody out.
//
// # An example
//
// One source, with Source 10/10m (a token a minute) and WaitMax 10s:
//
//	12:00:00  ask a              pass, none       nothing spent
//	12:00:00  ask b              pass, none       a's hold is not spent
//	12:00:01  settle a denied                     1 spent, 1 held
//	12:00:02  settle b accepted                   1 spent: b left no trace
//	12:00:03  ask c              wait 2s, source  one tenth is spent
//	12:00:05  settle c denied                     2 spent
//	12:00:06  ask d              wait 4s, source  two tenths
//	12:00:07  settle d void                       2 spent: the client hung up while it waited
//	12:01:10  ask e              wait 2s, source  a token came back, the next is on its way
//	12:02:05  ask f              pass, none       refilled: the bucket holds no information and may be dropped
package limiter

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// A Limiter gives verdicts under one [Policy] and remembers what its buckets need. It is safe for concurrent use.
// Times may arrive out of order; clocks that step back refill nothing twice.
type Limiter struct {
	secret [sha256.Size]byte // makes credentials
	seals  [sha256.Size]byte // seals snapshots
	hasher hasher
	rules  atomic.Pointer[rules]
	origin origin
	table  table
	known  known
	lanes  lanes
	shared atomic.Uint64
}

// New returns a Limiter with all buckets full, which knows nobody. The error names the field of p that is wrong.
func New(p Policy, k Key) (*Limiter, error) {
	p, err := p.checked()
	if err != nil {
		return nil, err
	}
	l := &Limiter{secret: k.derive("credential"), seals: k.derive("snapshot")}
	table := k.derive("table")
	l.hasher.k0 = binary.BigEndian.Uint64(table[:])
	l.hasher.k1 = binary.BigEndian.Uint64(table[8:])
	l.rules.Store(p.rules())
	l.table.init(p.TableMax)
	return l, nil
}

// SetPolicy replaces the policy. What was spent stays spent as far as a new burst goes, what is held stays held, and
// verdicts already given stand. If p is wrong, the error names its field and nothing changes.
func (l *Limiter) SetPolicy(_ time.Time, p Policy) error {
	p, err := p.checked()
	if err == nil {
		l.rules.Store(p.rules())
	}
	return err
}
