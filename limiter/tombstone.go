package limiter

import (
	"cmp"
	"time"
)

// A tombstone stands for a credential of an account that was denied, or for an account that an operator has had forgotten;
// then the credential is zero. An acceptance that happened before it, at another gateway, must not make it known again when
// it is reported later.
type tombstone struct {
	account    key
	credential uint16
}

const (
	tombstoneTime = 10 * time.Minute // how long one is kept
	tombstonesMax = 1 << 14 / shardCount
)

// recent says when something has happened to each of a bounded number of keys, lately. The zero value is empty.
type recent[K comparable] map[K]ticks

// note records that it has happened to k at now. It does not if it has happened to most other keys within the time keep.
func (r *recent[K]) note(now ticks, k K, keep time.Duration, most int) {
	if _, ok := (*r)[k]; !ok {
		checked := 0
		for other, at := range *r {
			if checked++; checked > expiryChecks {
				break
			}
			if at.add(keep) <= now {
				delete(*r, other)
			}
		}
		if len(*r) >= most {
			return
		}
	}
	if *r == nil {
		*r = recent[K]{}
	}
	(*r)[k] = max((*r)[k], now)
}

// noteDenied records that the credential was denied at now, or that the account was forgotten if it is zero. If very many
// others were within tombstoneTime, it does not.
func (n *knownTable) noteDenied(now ticks, account key, credential uint16) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied.note(now, tombstone{account, credential}, tombstoneTime, tombstonesMax)
}

// wasDeniedSince reports whether the credential was denied, or the account forgotten if it is zero, at then or later.
func (n *knownTable) wasDeniedSince(then ticks, account key, credential uint16) bool {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.denied[tombstone{account, credential}]
	return ok && at >= then
}

// learnLate is learn for a login at another gateway, which may be before what is known already: the order in which several of
// them are learned does not matter.
func (n *knownTable) learnLate(account key, f fingerprints, v validity, tenth uint16, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := n.findOrAdd(s, account, v, limit)
	if a == nil {
		return
	}
	if f.credential != 0 {
		a.learnLateCredential(f.credential, v.now, tenth)
	}
	if f.network != 0 {
		insert(a.networks[:], a.networkAt[:], f.network, v.now)
	}
	switch {
	case f.device == 0:
	case f.resumed:
		remove(a.newDevices[:], a.newDeviceAt[:], f.device)
		insert(a.devices[:], a.deviceAt[:], f.device, v.now)
	case !contains(a.devices[:], a.deviceAt[:], f.device, v):
		insert(a.newDevices[:], a.newDeviceAt[:], f.device, v.now)
	}
	if f.source != 0 {
		n.insertSource(a, f.source, v.now)
	}
}

// learnLateCredential is learnCredential for a time that may be before that of the latest credential.
func (a *knownAccount) learnLateCredential(f uint16, at hour, tenth uint16) {
	later := int(int16(at - a.credentialAt[0]))
	if later == 0 {
		later = cmp.Or(cmp.Compare(tenth, a.latestTenth), cmp.Compare(f, a.credentials[0]))
	}
	switch {
	case a.credentials[0] == 0 || later >= 0:
		a.learnCredential(f, at, tenth)
	case f != a.former && f != a.credentials[0]:
		insert(a.credentials[1:], a.credentialAt[1:], f, at)
	}
}
