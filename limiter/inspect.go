package limiter

import "time"

// An Inspection is what a Limiter knows of an address, an account or both at one time, and what it would answer.
type Inspection struct {
	Blocked, Allowed, Exempt bool // of the address, see [Lists] and [Policy]

	KnownSource bool   // a login from the source of the address was accepted, see [Limiter.KnownSource]
	Growth      int    // see [Limiter.Growth]
	Open        int    // connections of the source that are open
	Prelogin    int    // of them, those before login
	OpenMax     int    // how many may be open; 0 for any number
	PreloginMax int    // likewise before login
	Connect     Bucket // new connections of the source

	AttackJA4 bool // attackers use the JA4 of a, and hardly anybody else: strangers with it have the priority of penalized ones

	Buckets []Bucket // of the denials of a stranger, full ones too

	Account                 AccountKnowledge
	NearSource, NearNetwork bool // the account was accepted from the source, or from the network, of the address

	// Stranger is what Ask answers to a client that shows a password that is neither known nor lately denied, and that
	// has no device unless the inspected attempt has it. It is not always a stranger: the address may be near.
	Stranger Verdict
	// Known is what Ask answers to the same client if it shows the password that was accepted last instead. A client with
	// a device that is known for the account is not asked about the other buckets than that of its own pair.
	Known Verdict
}

// A Bucket is the state of one bucket of an [Inspection].
type Bucket struct {
	Rule       Rule
	Of         string        // what it counts for: source, network, prefix, account, source on the account, network on the account
	Size       int           // tokens when it is full; 0 if the rule is off
	Spent      int           // of them
	Held       int           // by attempts under way
	Full       time.Duration // until all of Size are there
	LookSize   int           // looks when all are there; 0 if none are counted
	LooksSpent int           // of them
}

// AccountKnowledge is what is known of one account.
type AccountKnowledge struct {
	Known            bool // a login was accepted within KnownTTL
	Credentials      int  // how many that were accepted still count
	Sources          int
	Networks         int
	Devices          int
	Last             time.Time // of the latest accepted login, to the hour; zero if it is not known
	CredentialDenied bool      // the credential that was accepted last is denied now
}

// Inspect returns what l knows at time t of the address and the account of a, of which one may be missing, and what it
// would answer. Only Addr, Account, Token, Device, Resumed and JA4 of a count. It adds no entry, takes no hold, and costs
// little more than two of [Limiter.Peek]. While the table is full, Ask may find room for an entry where Inspect assumes
// that there is none.
func (l *Limiter) Inspect(t time.Time, a Attempt) Inspection {
	now, r := l.epoch.ticks(t), l.rules.Load()
	a.Credential = Credential{1}
	s := l.subject(t, a, r)
	v := Inspection{
		Blocked: s.blocked, Exempt: s.exempt,
		NearSource: s.trust.source, NearNetwork: s.trust.network,
		Stranger: l.verdictOf(t, a, match{}), Known: l.verdictOf(t, a, match{known: true, latest: true}),
	}
	v.AttackJA4 = l.hasAttackJA4(now, a)
	_, allowed := l.lists.Load().lookup(a.Addr)
	v.Allowed = allowed.IsValid()
	if a.Addr.IsValid() {
		v.KnownSource, v.Growth = l.KnownSource(t, a.Addr), l.Growth(t, a.Addr)
		l.inspectConnections(now, a, r, &v)
	}
	if a.Account != "" {
		v.Account = l.known.inspect(t, s.keys[kindAccount], validityAt(t, r.KnownTTL))
	}
	v.Buckets = l.inspectBuckets(t, now, a, r)
	return v
}

// verdictOf returns what Ask answers to a at time t if its credential is of the account as m says.
func (l *Limiter) verdictOf(t time.Time, a Attempt, m match) Verdict {
	now, r := l.epoch.ticks(t), l.rules.Load()
	k := Ticket{limiter: l, attempt: a, asked: now, deadline: now.add(r.WaitMax), inspected: true, assumed: m}
	l.cut.RLock()
	defer l.cut.RUnlock()
	k.ask(t, now, r)
	return k.verdict
}

// inspectConnections sets what v says of the connections of the source of a.
func (l *Limiter) inspectConnections(now ticks, a Attempt, r *rules, v *Inspection) {
	connect := r.connect.times(min(v.Growth, maxConnectGrowth))
	v.Connect = Bucket{Rule: RuleConnect, Of: "source", Size: connect.tokens}
	v.OpenMax, v.PreloginMax = r.Open*min(v.Growth, maxOpenGrowth), r.OpenPrelogin*min(v.Growth, maxOpenGrowth)
	e, mu := l.table.find(l.hasher.block(kindSource, Source(a.Addr)))
	if e == nil {
		return
	}
	defer mu.Unlock()
	v.Open, v.Prelogin = int(e.open), int(e.prelogin)
	v.Connect.Spent, v.Connect.Full = e.connects.spent(now, &connect), e.connects.missing(now, &connect)
}

// inspectBuckets returns the buckets of denials of a stranger, and that of the pair of a network which is known for the
// account.
func (l *Limiter) inspectBuckets(t time.Time, now ticks, a Attempt, r *rules) (all []Bucket) {
	k := Ticket{limiter: l, attempt: a, subject: l.subject(t, a, r)}
	s := &k.subject
	if s.sharesNetworkPair() && !r.denials[kindPair].off() {
		all = append(all, k.inspectBucket(now, kindPair, r))
	}
	if s.trust.near() {
		s.trust = trust{secrets: s.trust.secrets}
		s.setPairKeys(l, Source(a.Addr), a)
		if !s.allowed.IsValid() {
			s.setStranger(l, a, s.fingerprints.source, validityAt(t, r.KnownTTL), r)
		}
	}
	for _, kd := range [...]kind{kindSource, kindNetwork, kindPrefix, kindWidePrefix, kindPair, kindAccount} {
		if s.applies(kd) && !r.denials[kd].off() && (kd == kindAccount || a.Addr.IsValid()) {
			all = append(all, k.inspectBucket(now, kd, r))
		}
	}
	return all
}

// inspectBucket returns the bucket of kind kd that k is charged to.
func (k *Ticket) inspectBucket(now ticks, kd kind, r *rules) Bucket {
	limit, looks := r.denialLimitOf(kd, &k.subject), r.lookLimitOf(kd, &k.subject)
	b := Bucket{Rule: limit.rule, Of: k.blockName(kd), Size: limit.tokens, LookSize: looks.tokens}
	if e, mu := k.limiter.table.find(k.subject.keys[kd]); e != nil {
		defer mu.Unlock()
		own := k.limiter.own(now, e, r)
		denials := own.denials(e, &k.subject, r)
		b.Spent, b.Held, b.LooksSpent = denials.spent(now, &limit), int(e.holds), own.looks(e, &k.subject, r).spent(now, &looks)
		b.Full = max(now.until(ticks(denials)), 0) // which may be in debt
	}
	return b
}

// inspect returns what is known of account at time t.
func (n *knownTable) inspect(t time.Time, account key, v validity) (x AccountKnowledge) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(account)
	if a == nil || !a.valid(v) {
		return x
	}
	latest := v.ttl
	x.Credentials = countValid(a.credentials[:], a.credentialAt[:], v, &latest)
	x.Sources = countValid(a.sources[:], a.sourceAt[:], v, &latest)
	x.Networks = countValid(a.networks[:], a.networkAt[:], v, &latest)
	x.Devices = countValid(a.devices[:], a.deviceAt[:], v, &latest) + countValid(a.newDevices[:], a.newDeviceAt[:], v, &latest)
	x.Known, x.CredentialDenied = true, a.deniedAt != 0
	x.Last = time.Unix((t.Unix()/3600-int64(latest))*3600, 0)
	return x
}

// countValid returns how many fingerprints of list still count, and lowers latest to the age in hours of the latest.
func countValid[F fingerprint](list []F, at []hour, v validity, latest *int) (n int) {
	for i, f := range list {
		if f != 0 && v.covers(at[i]) {
			*latest = min(*latest, at[i].since(v.now))
			n++
		}
	}
	return n
}
