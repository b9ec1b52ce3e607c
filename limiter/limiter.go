// Package limiter decides who may try to log in, and when. A backend can check a limited number of passwords a second;
// the package allocates that capacity so that the users of the site keep theirs during an attack.
//
// The proxy calls it when a connection arrives ([Limiter.Connect]), when a client asks to log in ([Limiter.Ask]), when
// the attempt is ready to go to a backend ([Ticket.Enter], [Limiter.Dispatch]) and when its outcome is known
// ([Ticket.Settle]). The package itself never waits, refuses or dials: it returns a [Verdict], and the proxy acts on
// it. It has no clock, goroutine, sleep or I/O. Every method takes the current time, so a test can simulate ten minutes
// in no time. The network protocols, the tarpit and the backends belong to package proxy; detecting an attack belongs
// to limiter/watch.
//
// # Glossary
//
//	source       the address block an attempt is charged to: IPv4 /32, IPv6 /64
//	network      the wider block: IPv4 /24, IPv6 /48
//	account      the user name, compared without regard to case
//	pair         a source together with an account
//	credential   account and secret, kept only as a keyed digest
//	device       a TLS client that resumes its session with a ticket that has an id of the proxy's
//	bucket       tokens that are spent one by one and refill with time
//	attempt      one login a client asks for; it ends as accepted, denied or void
//	denied       a backend said that the credentials are wrong
//	void         neither accepted nor denied: backend busy, client gone, refused by the proxy
//	hold         a token that an attempt reserves while its outcome is open
//	settle       record the outcome: denied spends the holds of the attempt, accepted and void return them
//	near         a login to the account was accepted from this device, source or network within KnownTTL
//	known        near, or a look has shown that the credential was accepted within KnownTTL
//	stranger     an attempt that is not known
//	look         compare the credential with those known for the account: a guess, and charged as one
//	repeat       the same credential was denied from the same source within RepeatTTL
//	verdict      pass, wait (then pass, or ask again), repeat or refuse, and the rule that decided
//	lane         the share of the global bucket an attempt may use: part of the bucket is reserved for the known
//	exchange     an attempt that shows no secret: the client must answer a challenge of the backend
//	exempt       an address to which the rules about sources, networks and pairs do not apply
//	blocked      an operator has listed the network of the address: every client there is refused, see Lists
//	allowed      likewise, for many new users to log in from there: their attempts have a share of the reserve
//	release      forget denials of an address, an account or a pair, because an operator says so
//	growth       how many people use an address: as many times the limits of one source apply to it
//	starved      refused because no global token was free in time
//	JA4          fingerprint of what the client's TLS offers; clients of one program and version have the same
//	penalty      what a source or network keeps of denials and starved attempts; it changes the priority of strangers
//	sibling      another process of the same gateway, which counts together with this one
//	gateway      a host that runs the proxy, with one limiter for each of its processes; a site may have several
//	debt         what siblings or gateways have spent at the same time beyond the last token of a bucket
//	rest         the tokens of a bucket that are not spent; the share of a gateway is the rest divided by their number
//	unacknowledged  denied at this gateway, and not yet confirmed by the engine through which gateways exchange events
//	alone        unable to reach the other gateways: strangers get this gateway's part of each bucket
//
// # Rules
//
// At connect: whether an operator has blocked the network (blocked), the rate of new connections of the source (connect),
// its open connections (open), and those of them that have not logged in (open_prelogin). Each rule refuses. An accepted
// login returns the token of its connection.
//
// At an attempt, the rules count denials. Those of the source (source), of the pair (pair) and of strangers on the
// account (account) delay, and refuse when no token is free; those of the network (network) only delay. While the site
// is under attack, those of new sources in a wide prefix (prefix: IPv4 /16, IPv6 /40 and /32) refuse as well. Waits are
// not added up: the strictest answer is the verdict, and it names its rule. Which rules apply depends on the attempt:
//
//	repeat    answered as denied without a backend, after the wait of a denial, and charged once (repeat)
//	near      pair; a known device has a pair of its own, and all sources of a known network share one (without a token
//	          in that, the attempt is a stranger's)
//	known     by a look: none
//	token     source and network only delay, pair; what passwords spend does not count
//	exempt    account
//	allowed   pair, and spray
//	stranger  all, and spray
//
// An attempt from a blocked network is refused before all that, known or not: nothing is looked at.
//
// A look compares the credential of a stranger with those that are known. It costs a token of looks in the entries of
// source, pair and account, unless it matches or the attempt is denied later: otherwise an attacker would learn for
// nothing which password the rules let through. There are as many looks as denials at a source and a pair, and ten times
// as many at an account. A stranger without a token for a look waits for one if the account is closed and their source
// has not been denied lately; sources that were must leave a quarter of the denials and looks of an account.
//
// The password database may deny a right password. So the credential that was accepted last stays known until it has
// been denied for a day, or another one is accepted for the account.
//
// A password that was denied at about twenty accounts within an hour (spray) is answered as denied without a backend,
// unless a look shows that it is known, and refused if there is no look left.
//
// The first accepted login from a source clears its pair, and each one of a device that of the device. Nothing else is
// cleared: otherwise one valid account would let an attacker clear an address, or the logins of a user their neighbour's
// guesses. The limits of an address grow with the number of accounts that were accepted there lately, because an office
// or a carrier is many people: to at most 256 times, for connections less.
//
// An attempt is admitted while at least one token is neither spent nor held, so parallel guesses cannot exceed a bucket.
// A third of the free tokens of a source may be held at once; further attempts wait and ask again, so that one client
// cannot hold all of them against others behind its address. The wait grows with the spent tokens and ignores holds: ten
// phones behind one address that log in at once with the right passwords hardly wait.
//
// At the backends, every login takes a token of the global bucket (global), whatever its outcome. Strangers must leave
// the reserve in it, so the known find a token at once, however many strangers there are; tokens above the reserve are
// for the first that asks. An attempt that finds none queues. The known go first, those of the account that has logged
// in least lately before others, so that any number of stolen accounts gets what the users leave; one attempt in eight is
// a stranger's all the same. Strangers are served one attempt from each network in rotation. Among them, most tokens are
// for sources that were starved before and are trying again, then for sources without a penalty, then for exchanges,
// then for those with a penalty. An attempt that cannot get a token within WaitMax of having asked is refused. A known
// client that logs in too often (a broken program or a stolen account) queues with strangers. Nothing is reserved until
// the first accepted login is a day old.
//
// Strangers whose JA4 attackers use, and hardly anybody else, have the priority of those with a penalty. That is so if in the
// last two hours at least 100 guesses with it were denied, from about 32 prefixes (IPv4 /16, IPv6 /32) or more; if these are at
// least nine times as many as the accounts accepted with it in two days; and if those accounts and two more are at most 1 % of
// all accounts accepted. The rule refuses nobody and changes nothing for the known, because anybody can imitate the client of
// others. An attacker who imitates a client that more than 1 % of the users have is served like other strangers; with a rarer
// one, users of that client are served after other strangers while they are strangers themselves. An attacker who changes the
// fingerprint with each guess is not found. At a site with fewer than 200 accounts the rule does nothing. Up to 512 fingerprints
// of accepted logins are counted, and as many of denials, so denials cannot remove the fingerprints of users. Of too many, those
// with the fewest accounts, or denials, are removed.
//
// A stranger from an allowed network has the priority of the known, for so many logins a minute and network as a fifth of
// the tokens of the global bucket; beyond that all strangers of the network are one flow. So an office of new users logs in
// during an attack, and a client there that guesses gets a small part of the reserve at most, although it can use up the
// share of its own office. All sources of the network share one pair on each account: it takes the place of the rule
// account. The connections of an allowed address are limited like those of one that very many people share: a client there
// must not be able to have those of all others closed.
//
// A stranger who leaves a challenge of a backend unanswered pays for the time for which the exchange has held a login
// slot ([Ticket.Abandon]).
//
// # Memory
//
// The known table is separate from the buckets. Only accepted logins add to it, it holds at most TableMax accounts, and
// each account has a small fixed number of fingerprints, so neither a flood of attempts nor a user of the site can
// evict others. [Limiter.Snapshot] and [Limiter.Restore] preserve it across a restart. [Limiter.Learn] adds logins of the
// past, from a log, and [Limiter.Merge] those of another snapshot.
//
// The global bucket is a limiter of golang.org/x/time/rate. Those of the table, of which there may be a million, are
// eight octets of our own: the time at which the bucket will be full again. A rate.Limiter needs 80 octets and a lock,
// and cannot return a token once the time to act on it has come, as an attempt that is not denied must.
//
// At most TableMax buckets of strangers are kept. One that is full again, with no hold and no open connection, is the
// same as a new one and is dropped without loss; one that has nothing but a penalty, or the looks of a pair, is dropped
// when the table is full. If all are in use, an attempt is decided by its network alone and without a look, and a new
// network shares one bucket with all other such networks of its address family. Both only delay, so a flood of addresses
// locks no user out.
//
// # Siblings
//
// When a gateway is upgraded, a new process takes over while the former one keeps its sessions until they end. Both
// must give the verdicts that one process would give. [Limiter.Export] returns all that a limiter knows, except its
// policy, and a [Feed] of what happens later; each operation is in one of them, never in both. [Limiter.Import] makes a
// new limiter know it, and [Limiter.Apply] does there what the events of the feed say. The new process has a [Feed] for
// the former one in turn. The lists of operators are not exported: each process is given them. With more than two
// processes, each must get the events of all others once, after the export from which it began; Apply does not publish
// them again.
//
// An event says what was done and not what a bucket contains, so what several processes do adds up. Each applies it under
// its own policy. Events have no time: one that arrives late counts from then on, and the bucket is full later by as much
// at most. What a sibling has open (holds, connections) counts like what this process has open. Its events say when it
// is over. If the sibling ends, [Limiter.Forget] does: then its connections are closed, and attempts whose outcome is not
// known are void.
//
// Two processes may spend the same last token before they know of each other. A bucket from which siblings spend
// therefore goes below zero, by as many tokens as it has at most, and is refilled from there. An attacker who guesses at
// both processes at once, at the moment of an upgrade, gets at most one more burst and then waits for it. A rule that only
// delays allows more attempts than tokens even in one process, so its buckets have no debt.
//
// The queue for the global bucket is not shared, only the bucket. Nor are verdicts and waits of attempts under way: an
// attempt ends in the process in which it began.
//
// # Gateways
//
// A site may have several gateways. They exchange what they deny and accept through an engine: package share encodes that,
// other packages transport it. Each gateway decides by itself and at once. [Limiter.SetSharing] says how many there are.
// The feeds of [Limiter.ShareFeeds] record what the others must know; [Limiter.ApplyShared] does here what they did, at the
// time at which they did it. A gateway that joins reads [Limiter.Buckets] and [Limiter.Snapshot] of another.
//
// An attacker who guesses at all gateways at the same moment must not get each token once from each of them. Two rules see to
// that. A bucket may go into debt, by as many times its tokens as there are gateways (64 at most), so that nothing of what
// they spend at once is forgotten. And in each bucket that refuses, a gateway may have at most its share of the rest, but
// one, under way: attempts that are not settled, and denials that are unacknowledged. An attempt beyond that waits for about
// 250 ms and asks again, and is refused if it has not got its turn within WaitMax. For any time T, the denials of a bucket
// at N gateways are at most
//
//	tokens + T*rate + N-1
//
// if backends answer, and events arrive, within 2 s: package sharing acknowledges a denial 2 s after its receipt, and by then
// it has received what the others had under way at the same moment. With slower answers at one gateway, which keeps its share
// of a full bucket under way while the others spend the whole, at most tokens*(2-1/N) are denied at once. What is more than
// the bucket has is a debt: nothing passes until it is repaid. With one gateway neither rule does anything.
//
// Both apply to denials and to looks. They do not apply to rules that only delay, to tokens, and to the pair of a known
// device. A known user at their usual place holds nothing and waits for nothing. A stranger who must wait has their
// credential compared all the same, as far as there are looks, so that those who are known by it go on; if it does not match,
// the look is spent at once. A client who keeps tokens/N challenges open at one gateway (of ten tokens 10, 5, 3 and 1 for one,
// two, three and eight gateways) delays strangers there: of the same source, pair, account or prefix, each of them by WaitMax,
// after which they are refused. Users at their usual place are not among them, nor are those who are known by their
// credential, unless the client has used up the looks of their source. At the other gateways nothing is delayed.
//
// What is unacknowledged is kept for 65,536 buckets. If a flood of denials fills that, the rest of them count for all other
// buckets in the same of 64 parts of the table, so some strangers wait for nothing for as long as the flood lasts. What is not
// acknowledged within ten seconds counts no more: then it is lost, or the gateway is alone.
//
// A gateway that is alone gives strangers a bucket of the Nth part of the tokens, at least one, with the Nth part of the rate.
// So all gateways together let through hardly more than one would. Attempts that are near have the whole bucket: from the
// known places of an account, N times as many guesses are possible while all gateways are alone. What is spent is kept in
// full units as well. So once the gateways meet again, they agree.
//
// An event may be late. What it spends then makes a bucket full later than if it had been in time, by as much as it is late
// at most, and by a token if the bucket had been full meanwhile. Of repeats the longest counts, of accepted logins the
// latest, to a tenth of a second. An accepted login clears its pair of what was denied before it, also if that is reported up to
// 30 s later; a clear that is reported after several later denials clears nothing, because only the latest can be told apart.
// A credential that is found wrong, and an account that is forgotten, win over logins accepted before, for ten minutes.
//
// Gateways do not share what they count by JA4, connections, holds, the queue, logins in the reserved lane, penalties of
// starved attempts, the lists of operators and the policy. A login that adds to what is known counts in the usage of its account everywhere, so that a
// stolen account does not go before users once at each gateway. Each gateway has its part of the global bucket ([Sharing]): so
// much of the rate, and as much of the tokens, but at least eight of them, or all if there are fewer. So users of a small
// site, who do not come at regular times, hardly wait; all gateways together may let through more at once than one would, but
// no more in the long run. Of the passwords in one cell of the spray table, each gateway follows the one that it has seen more
// often.
//
// Of the processes of one gateway, the newest talks to the others. What its sibling does is published to gateways by Apply,
// and what other gateways did is published to siblings by ApplyShared; neither goes back where it came from. What the former
// process has unacknowledged at the moment of an upgrade is not exported, so during it one share of the rest more may be under
// way.
//
// # Example
//
// One source, with Source 10/10m (a token a minute), WaitMax 10s and the other rules off:
//
//	12:00:00  ask a              pass, none       nothing spent
//	12:00:00  ask b              pass, none       a holds a token, which is not spent
//	12:00:01  settle a denied                     1 spent, 1 held
//	12:00:02  settle b accepted                   1 spent: b returned its hold
//	12:00:03  ask c              wait 2s, source  one tenth is spent
//	12:00:05  settle c denied                     2 spent
//	12:00:06  ask d              wait 4s, source  two tenths
//	12:00:07  settle d void                       2 spent: the client hung up while it waited
//	12:01:10  ask e              wait 2s, source  one token is back, the next is not yet
//	12:02:05  ask f              pass, none       full again: the bucket holds no information and may be dropped
//
// All sources, with Global 4/4s (a token a second) of which half is reserved, a day later; k is known:
//
//	12:00:00  enter a            pass             3 tokens are left
//	12:00:00  enter b            pass             2, which are reserved
//	12:00:00  enter c            wait 1s, global  c queues
//	12:00:00  enter k            pass             1
//	12:00:01  dispatch                            2: the reserve is full again, and nothing is above it
//	12:00:02  dispatch           c passes         2
//
// # Files
//
// In reading order: policy, verdict; lists; connection, accepted; attempt, ticket, look, spray, settle; bucket, table;
// known, fingerprint, snapshot, learn, merge; queue, global; explain, inspect, users, release; ja4, ja4export; export, import; event,
// publish, feed; siblings, apply; gateways, rest, buckets, tombstone; encoding.
package limiter

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter gives verdicts under one [Policy] and remembers what its buckets need. It is safe for concurrent use. Times
// may arrive out of order: a clock that steps back refills nothing twice.
type Limiter struct {
	digests      sync.Pool         // of *digest, which make credentials
	snapshotKey  [sha256.Size]byte // authenticates snapshots
	hasher       hasher            // of the keys of tables
	passwords    hasher            // of passwords alone
	shortDigests hasher            // of accounts with digests of secrets
	rules        atomic.Pointer[rules]
	lists        atomic.Pointer[lists]
	epoch        epoch
	table        table
	known        knownTable
	globalQueue  globalQueue
	sprays       sprayTable
	ja4s         ja4Table
	shared       atomic.Uint64 // attempts decided without a bucket of their own

	feeds   []*Feed // guarded by cut, as are wanted and retired; nil if there is none
	wanted  opSet   // what some feed records
	retired bool

	sharesDenials bool // some feed records them for other gateways; guarded by cut
	siblings      siblings
	indebted      atomic.Bool  // buckets may go into debt: a sibling spends from them as well
	_             [64]byte     // prevents false sharing with cut
	cut           sync.RWMutex // held for reading, once, by each operation that changes something; for writing to wait for all of them
}

// New returns a Limiter with all buckets full and an empty known table. The error names the field of p that is wrong.
func New(p Policy, k Key) (*Limiter, error) {
	p, err := p.validated()
	if err != nil {
		return nil, err
	}
	secret := k.derive("credential")
	l := &Limiter{snapshotKey: k.derive("snapshot")}
	l.digests.New = func() any { return newDigest(secret[:]) }
	l.hasher, l.passwords = newHasher(k.derive("table")), newHasher(k.derive("password"))
	l.shortDigests = newHasher(k.derive("digest"))
	l.table.init(p.TableMax)
	l.SetLists(Lists{})
	l.setRules(0, func(*rules) *rules { return p.rules(Sharing{}) })
	return l, nil
}

// SetPolicy replaces the policy. Spent tokens remain spent, up to the new size of the bucket; holds and verdicts
// already given do not change. If p is wrong, the error names its field and nothing changes.
func (l *Limiter) SetPolicy(t time.Time, p Policy) error {
	p, err := p.validated()
	if err == nil {
		l.setRules(l.epoch.ticks(t), func(former *rules) *rules { return p.rules(former.sharing) })
	}
	return err
}

// setRules replaces the rules by those that change returns, and the limit of the global bucket. It returns the former
// rules and the new ones.
func (l *Limiter) setRules(now ticks, change func(*rules) *rules) (former, r *rules) {
	l.globalQueue.mu.Lock()
	defer l.globalQueue.mu.Unlock()
	former = l.rules.Load()
	switch r = change(former); {
	case former == nil || former.Global != r.Global:
		l.globalQueue.bucket.setLimit(now, &r.global)
	case former.global != r.global:
		l.globalQueue.bucket.setPart(now, &r.global)
	}
	l.rules.Store(r)
	return former, r
}
