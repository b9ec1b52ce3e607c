// Package limiter decides who may try to log in, and when. Backends can check so many passwords and no more: it sees to
// it that those who belong get them, whoever else comes.
//
// It is asked when a connection arrives ([Limiter.Connect]), when its client wants to try a password ([Limiter.Ask]) and
// when the attempt is ready to go to a backend ([Ticket.Enter], [Limiter.Turn]); it is told what became of it
// ([Ticket.Settle]). It never waits, refuses or dials itself: it answers with a [Verdict], and whoever asked acts on it.
// It contains no clock, no goroutine, no sleep and no I/O. Every method takes the time of what it is told, so a test can
// play ten minutes in no time.
//
// # Words
//
//	source       the block an attempt is charged to: IPv4 /32, IPv6 /64
//	network      the wider block: IPv4 /24, IPv6 /48
//	account      the user name, capitals and small letters being the same
//	pair         a source together with an account
//	credential   account and secret, of which only a keyed digest is kept
//	bucket       tokens that are spent one by one and refill with time
//	attempt      one login a client asks for; it ends as accepted, denied or void
//	denied       wrong credentials, said by a backend
//	void         neither accepted nor denied: backend busy, client gone, our own refusal
//	hold         a token an attempt keeps from others while its outcome is open
//	settle       denied spends the holds of an attempt, accepted and void hand them back
//	known        the credential was accepted lately, or another of the account from this source or network
//	stranger     an attempt that is not known
//	repeat       the same credential was denied from the same source moments ago
//	verdict      pass, wait (then pass), repeat or refuse, and the rule that said so
//	lane         what of the global bucket an attempt may use: the reserve is for the known
//	exempt       an address no rule about sources, networks and pairs applies to
//	visit        one open connection
//
// # Rules
//
// At connect: the rate of new connections of the source (connect), its open connections (open), and those of them that
// have not logged in (open_prelogin). Each refuses.
//
// At an attempt, denials are what counts. Those of the source (source), of the pair (pair) and of strangers on the account
// (account) delay, and refuse once no token is free; those of the network (network) only delay. Waits are not added: the
// strictest answer is the verdict, and its rule is named. Which rules apply depends on who asks:
//
//	repeat                  answered here as denied, after the wait of a denial, and charged once (repeat)
//	known by credential     none
//	known by address alone  source and pair; all sources of a network that is known share one pair
//	exempt                  account
//	stranger                all four
//
// So whoever knows the password gets in while the account is attacked, and nobody is charged for what others did to it.
// A login that is accepted clears its pair and nothing else: one good account must not launder an address.
//
// An attempt is admitted while the tokens left, less the holds of attempts under way, are at least one. So guesses made
// in parallel cannot outrun a bucket. The wait grows with what is spent and takes no notice of holds: ten telephones
// behind one address that log in at once with good passwords do not wait.
//
// At the backends, every login takes a token of the global bucket (global), whatever its outcome. Strangers must leave the
// reserve in it, so the known find a token at once, however many strangers come; what comes back above the reserve goes to
// whoever asks. Those who find none queue: the known first, then strangers, network by network in turn, and of them first
// those who were turned away and have come back, last those from where denials came. Who would not get a turn within
// WaitMax of having asked is refused. A known client that comes too often, run wild or stolen, queues with strangers.
// Nothing is reserved until the first accepted login is a day old.
//
// # Memory
//
// What is known lies apart from the buckets. Only accepted logins write to it, at most TableMax accounts, and each has a
// few marks of its own, so neither a flood nor an insider can push others out. It outlives a restart by
// [Limiter.Snapshot] and [Limiter.Restore].
//
// At most TableMax buckets are remembered. One that is full again, with nothing held and nothing open, is like one never
// seen and is dropped without loss; one that only remembers where denials came from goes when there is no room. When all
// are in use, an attempt is judged by its network alone, and a new network by
// what all such networks of its family share: both delay, so a flood of addresses locks nobody out.
//
// # An example
//
// One source, with Source 10/10m (a token a minute), WaitMax 10s and the other rules off:
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
//
// All sources, with Global 4/4s (a token a second) of which half is reserved, the next day, k being known:
//
//	12:00:00  enter a            pass             3 tokens are left
//	12:00:00  enter b            pass             2, which are reserved
//	12:00:00  enter c            wait 1s, global  c queues
//	12:00:00  enter k            pass             1
//	12:00:01  turn                                2: the reserve is whole again, and nothing is above it
//	12:00:02  turn               c passes         2
package limiter

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter gives verdicts under one [Policy] and remembers what its buckets need. It is safe for concurrent use.
// Times may arrive out of order; clocks that step back refill nothing twice.
type Limiter struct {
	digests     sync.Pool         // of *digest, which make credentials
	seals       [sha256.Size]byte // seals snapshots
	hasher      hasher
	rules       atomic.Pointer[rules]
	origin      origin
	table       table
	known       known
	globalQueue globalQueue
	shared      atomic.Uint64
}

// New returns a Limiter with all buckets full, which knows nobody. The error names the field of p that is wrong.
func New(p Policy, k Key) (*Limiter, error) {
	p, err := p.checked()
	if err != nil {
		return nil, err
	}
	secret := k.derive("credential")
	l := &Limiter{seals: k.derive("snapshot")}
	l.digests.New = func() any { return newDigest(secret[:]) }
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
