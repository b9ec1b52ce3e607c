package limiter

import (
	"fmt"
	"time"
)

// Merge adds what a snapshot knows to what l knows. It is [Limiter.Restore], except that accounts that are known already
// are merged with those of the snapshot: of each sort of fingerprints, the latest of both remain.
func (l *Limiter) Merge(t time.Time, snapshot []byte) error {
	return l.merge(t, snapshot, false)
}

// merge is Merge. It publishes nothing for gateways if another one made the snapshot.
func (l *Limiter) merge(t time.Time, snapshot []byte, shared bool) error {
	body, since, err := l.checked(t, snapshot)
	if err != nil {
		return fmt.Errorf("merging with the known table: %w", err)
	}
	r := l.rules.Load()
	lately := max(l.epoch.ticks(t).add(-tombstoneTime), 0)
	l.cut.RLock()
	defer l.cut.RUnlock()
	if shared && l.retired {
		return nil
	}
	if since != 0 {
		l.known.lowerSince(since)
		if e := (event{op: opSince, hours: uint32(since)}); l.wants(opSince) {
			l.publishTo(&e, false)
			if !shared {
				l.publishTo(&e, true)
			}
		}
	}
	return eachAccount(body, t, func(account key, a *knownAccount) {
		if shared && l.known.wasDeniedSince(lately, account, 0) {
			return
		}
		l.known.merge(account, a, validityAt(t, r.KnownTTL), r.TableMax)
		l.publishMerged(t, account, a)
	})
}

// merge adds account from a snapshot, or those of its fingerprints that still count.
func (n *knownTable) merge(account key, a *knownAccount, v validity, limit int) {
	s := n.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.find(account)
	if own == nil {
		n.restoreIn(s, account, a, v, limit)
		return
	}
	own.mergeCredentials(a, v)
	insertAll(own.networks[:], own.networkAt[:], a.networks[:], a.networkAt[:], v)
	insertAll(own.devices[:], own.deviceAt[:], a.devices[:], a.deviceAt[:], v)
	insertAll(own.newDevices[:], own.newDeviceAt[:], a.newDevices[:], a.newDeviceAt[:], v)
	for i, f := range a.sources {
		if f != 0 && v.covers(a.sourceAt[i]) {
			n.insertSource(own, f, a.sourceAt[i])
		}
	}
}

// mergeCredentials adds those credentials of other that still count, except one that is known to be replaced.
func (a *knownAccount) mergeCredentials(other *knownAccount, v validity) {
	latest, at := a.credentials[0], a.credentialAt[0]
	for i, f := range other.credentials {
		if f != 0 && f != a.former && v.covers(other.credentialAt[i]) {
			insert(a.credentials[:], a.credentialAt[:], f, other.credentialAt[i])
		}
	}
	if a.credentials[0] != latest {
		a.deniedAt = 0 // it was that of another credential
	}
	if a.credentials[0] != latest || a.credentialAt[0] != at {
		a.latestTenth = 0
	}
}

// insertAll inserts those of more that still count into list.
func insertAll[F fingerprint](list []F, at []hour, more []F, moreAt []hour, v validity) {
	for i, f := range more {
		if f != 0 && v.covers(moreAt[i]) {
			insert(list, at, f, moreAt[i])
		}
	}
}
