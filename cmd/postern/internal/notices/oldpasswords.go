package notices

import (
	"time"

	"postern/cmd/postern/internal/notify"
	"postern/limiter"
)

// An old password calls for a notice once it was tried so often, over so long. A person who
// has forgotten that they changed it tries a few times in a minute.
const (
	oldTries = 3
	oldSpan  = 15 * time.Minute
)

// oldForgotten is after how much time without a try the next one is the first.
const oldForgotten = 7 * 24 * time.Hour

// oldMax is how many places of old passwords are kept.
const oldMax = 1 << 16

// An oldKey stands for a place where an old password is tried: an account and a network.
type oldKey struct {
	account accountKey
	network uint64 // keyed digest
}

// An oldPassword says when an old password was tried at one place. It has no pointers.
type oldPassword struct {
	first, last uint32 // in seconds since 1970
	tries       uint32
}

// oldPassword takes an attempt that was denied, with a password that was accepted before.
func (m *Manager) oldPassword(t time.Time, key accountKey, a Attempt) {
	if !m.wants(notify.OldPassword) {
		return
	}
	place := oldKey{key, m.digest("network", limiter.Network(a.Addr).String())}
	at := uint32(max(t.Unix(), 0))
	s := m.shard(key)
	s.mu.Lock()
	o, ok := s.old[place]
	if !ok && len(s.old) >= oldMax/shardCount {
		dropOldest(s.old, func(o oldPassword) hour { return hour(o.last) })
	}
	if o.tries == 0 || at > o.last && time.Duration(at-o.last)*time.Second > oldForgotten {
		o = oldPassword{first: at}
	}
	o.last, o.tries = max(o.last, at), o.tries+1
	s.old[place] = o
	due := o.tries >= oldTries && time.Duration(o.last-o.first)*time.Second >= oldSpan
	s.mu.Unlock()
	if !due || !m.mayNotice(t, key, notify.OldPassword) {
		return
	}
	n := m.newNotice(t, notify.OldPassword, a)
	n.First, n.Tries = time.Unix(int64(o.first), 0).UTC(), int(o.tries)
	m.queue.add(n)
}
