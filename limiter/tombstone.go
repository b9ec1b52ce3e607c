package limiter

import "time"

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

// learnLate is learn for a login at another gateway in the hour v.now, which may be before what is known already: the order
// in which several of them are learned does not matter, but for logins of the same hour.
func (n *knownTable) learnLate(account key, f fingerprints, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := n.toLearn(s, account, f, v, limit)
	if a == nil {
		return
	}
	switch late := a.credentials[0] != 0 && int16(v.now-a.credentialAt[0]) < 0; {
	case f.credential == 0:
	case !late:
		a.learnCredential(f.credential, v.now)
	case f.credential != a.former:
		insert(a.credentials[:], a.credentialAt[:], f.credential, v.now)
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
