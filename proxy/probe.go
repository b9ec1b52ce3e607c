package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"syscall"
	"time"

	"postern/proxy/dialogue"
)

// How often a backend is probed, how soon after a failure, and how many probes in a row
// must fail for it to count as down.
const (
	probeInterval = 10 * time.Second
	probePause    = time.Second
	probeMisses   = 2
)

// Learn probes all backends once, so that their capabilities are known before clients
// connect. It returns when all have answered or ctx ends.
func (b *Backends) Learn(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range b.all {
		wg.Go(func() { b.probe(ctx, s) })
	}
	wg.Wait()
}

// Watch probes all backends until ctx ends: whether they greet, and which capabilities
// they have.
func (b *Backends) Watch(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range b.all {
		wg.Go(func() { b.watch(ctx, s) })
	}
	wg.Wait()
}

// watch probes one backend until ctx ends, and sooner than usual after a login or a probe
// has failed to reach it.
func (b *Backends) watch(ctx context.Context, s *backend) {
	for ctx.Err() == nil {
		b.probe(ctx, s)
		select {
		case <-time.After(probeInterval):
			continue
		case <-s.failed:
		case <-ctx.Done():
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
		}
	}
}

// probe asks one backend for its capabilities. It announces postern itself as a client
// in TLS, as most clients are. With the LOCAL command, which is made for health checks,
// Dovecot 2.3 reads no TLVs and hides every mechanism that needs TLS.
func (b *Backends) probe(ctx context.Context, s *backend) {
	until := time.Now().Add(dialTimeout + greetingTimeout)
	end, bounded := ctx.Deadline()
	if bounded {
		until = earlier(until, end)
	}
	var offer dialogue.Capabilities
	raw, _, err := b.dial(s, clientInfo{tls: probeTLS}, until, func(conn *dialogue.Conn, upgrade func() error) (err error) {
		offer, err = b.protocol.Probe(conn, upgrade)
		return err
	})
	switch {
	case err == nil:
		raw.Close()
		s.offer.Store(&offer)
		s.probeError.Store(nil)
		s.misses = 0
		s.set(true)
		b.backendUp()
		b.updateOffer()
	case ctx.Err() != nil || bounded && !time.Now().Before(end) || isLocalFault(err):
	default:
		s.probeError.Store(&err)
		if s.misses++; s.misses >= probeMisses || errors.Is(err, syscall.ECONNREFUSED) {
			s.set(false)
		}
		s.probeSoon()
	}
}

// probeSoon makes watch probe the backend again soon.
func (s *backend) probeSoon() {
	select {
	case s.failed <- struct{}{}:
	default:
	}
}

// probeTLS is the TLS that a probe announces.
var probeTLS = &clientTLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}

// updateOffer offers clients the capabilities that all backends have which are up: any
// of them may get the login. While none is up the last offer remains.
func (b *Backends) updateOffer() {
	b.offering.Lock()
	defer b.offering.Unlock()
	var common dialogue.Capabilities
	for _, s := range b.all {
		offer := s.offer.Load()
		switch {
		case offer == nil || !s.up.Load():
		case common == nil:
			common = *offer
		default:
			common = common.Common(*offer)
		}
	}
	if common != nil {
		b.offered.Store(&common)
	}
}

// probeFailure is why the last probe of a backend that is down failed, the first one's if
// there are several; nil if none is known.
func (b *Backends) probeFailure() error {
	for _, s := range b.all {
		if reason := s.probeError.Load(); reason != nil && !s.up.Load() {
			return *reason
		}
	}
	return nil
}

// set sets whether the backend is up.
func (s *backend) set(up bool) {
	if s.up.Swap(up) != up {
		s.changes.Add(1)
	}
}

// BackendStats is the state of one backend. Counters begin at the start of the process;
// Dials and DialTime include probes.
type BackendStats struct {
	Addr       string
	Up         bool
	Changes    uint64 // of Up
	Logins     int    // in flight
	Sessions   int64  // connections open, logins included
	Dials      [numDialResults]uint64
	DialTime   time.Duration // from dial to greeting, the sum over Dials[DialOK]
	ProbeError error         // why the last probe failed, nil if it did not; perhaps a HeaderError
}

// Stats returns the state of every backend.
func (b *Backends) Stats() []BackendStats {
	all := make([]BackendStats, len(b.all))
	for i, s := range b.all {
		st := &all[i]
		*st = BackendStats{
			Addr: s.addr, Up: s.up.Load(), Changes: s.changes.Load(),
			Logins: b.inFlight(s), Sessions: s.sessions.Load(), DialTime: time.Duration(s.dialTime.Load()),
		}
		for r := range s.dials {
			st.Dials[r] = s.dials[r].Load()
		}
		if reason := s.probeError.Load(); reason != nil {
			st.ProbeError = *reason
		}
	}
	return all
}
