package bench

import (
	"net/netip"
	"time"

	"postern/limiter"
	"postern/limiter/traffic"
)

// memory returns the files that postern would have kept at time t if everybody of known had logged in a day before. from
// says which address it takes a client's for. It is nil if there is nobody to be known.
func memory(t time.Time, known []traffic.Login, from func(netip.Addr) (netip.Addr, error)) (map[string][]byte, error) {
	if known == nil {
		return nil, nil
	}
	key := limiter.Key{1}
	l, err := limiter.New(limiter.Policy{KnownTTL: 30 * 24 * time.Hour, TableMax: 1 << 20}, key)
	if err != nil {
		return nil, err
	}
	yesterday := t.Add(-30 * time.Hour)
	for _, k := range known {
		addr, err := from(k.Addr)
		if err != nil {
			return nil, err
		}
		ticket := l.Ask(yesterday, limiter.Attempt{
			Addr: addr, Account: k.Account, Credential: l.Credential(k.Account, []byte(k.Secret)),
		})
		ticket.Settle(yesterday, limiter.Accepted)
	}
	return map[string][]byte{"install-key": key[:], "known": l.Snapshot(t)}, nil
}
