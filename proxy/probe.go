package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"postern/proxy/dialogue"
)

// How often a backend is probed, how soon after a failure, and how many probes in
// a row must fail for it to be down.
const (
	probeInterval = 10 * time.Second
	probePause    = time.Second
	probeMisses   = 2
)

// Learn probes all backends once, for a gate that wants to know what they offer
// before it opens its doors. It returns when all have answered or ctx ends.
func (b *Backends) Learn(ctx context.Context) {
	var wg sync.WaitGroup
	for _, one := range b.all {
		wg.Go(func() { b.probe(ctx, one) })
	}
	wg.Wait()
}

// Watch probes all backends until ctx ends: whether they greet, and what they
// offer.
func (b *Backends) Watch(ctx context.Context) {
	var wg sync.WaitGroup
	for _, one := range b.all {
		wg.Go(func() { b.watch(ctx, one) })
	}
	wg.Wait()
}

// watch probes one backend until ctx ends: again soon when a login, or the probe
// itself, has failed to reach it.
func (b *Backends) watch(ctx context.Context, one *backend) {
	for ctx.Err() == nil {
		b.probe(ctx, one)
		select {
		case <-time.After(probeInterval):
			continue
		case <-one.failed:
		case <-ctx.Done():
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
		}
	}
}

// probe asks one backend what it offers. It announces the gate itself as a
// client in TLS, which is what most clients are: under the LOCAL command, made
// for health checks, Dovecot 2.3 reads no TLVs and so hides every mechanism that
// needs TLS.
func (b *Backends) probe(ctx context.Context, one *backend) {
	until := time.Now().Add(dialTimeout + welcomeTimeout)
	end, bounded := ctx.Deadline()
	if bounded {
		until = earlier(until, end)
	}
	var offer dialogue.Capabilities
	raw, _, err := b.dial(one, clientInfo{tls: probeTLS}, until, func(conn *dialogue.Conn, upgrade func() error) (err error) {
		offer, err = b.protocol.Probe(conn, upgrade)
		return err
	})
	switch {
	case err == nil:
		raw.Close()
		one.offer.Store(&offer)
		one.probeError.Store(nil)
		one.misses = 0
		one.set(true)
		b.backendUp()
		b.updateOffer()
	case ctx.Err() != nil || bounded && !time.Now().Before(end) || ownFault(err):
	default:
		reason := err.Error()
		one.probeError.Store(&reason)
		if one.misses++; one.misses >= probeMisses || errors.Is(err, syscall.ECONNREFUSED) {
			one.set(false)
		}
		one.probeSoon()
	}
}

// probeSoon makes watch look at the backend again soon.
func (one *backend) probeSoon() {
	select {
	case one.failed <- struct{}{}:
	default:
	}
}

// probeTLS is the TLS that a probe claims to be in.
var probeTLS = &clientTLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}

// learn offers clients what all backends that are up can do: any of them may be
// asked next. While none is up the last offer stands.
func (b *Backends) updateOffer() {
	var common dialogue.Capabilities
	for _, one := range b.all {
		offer := one.offer.Load()
		switch {
		case offer == nil || !one.up.Load():
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

// set notes whether the backend is up.
func (one *backend) set(up bool) {
	if one.up.Swap(up) != up {
		one.changes.Add(1)
	}
}

// DialResult is what became of a dial.
type DialResult uint8

// The results.
const (
	DialOK DialResult = iota
	DialRefused
	DialUnreachable
	DialTimeout         // no connection in time
	DialGreetingTimeout // no greeting in time
	DialReset           // closed, or nonsense, before the greeting
	numDialResults
)

// String is the result's name in metrics.
func (r DialResult) String() string {
	return [...]string{"ok", "refused", "unreachable", "timeout", "greeting_timeout", "reset"}[r]
}

// dialResult sorts the error of a connect.
func dialResult(err error) DialResult {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return DialTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return DialRefused
	}
	return DialUnreachable
}

// greetResult sorts the error of a greeting.
func greetResult(err error) DialResult {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return DialGreetingTimeout
	}
	return DialReset
}

func (one *backend) count(r DialResult) { one.dials[r].Add(1) }

// BackendStats is the state of one backend. The counters begin at the start of
// the process; Dials and DialTime include the probes.
type BackendStats struct {
	Addr       string
	Up         bool
	Changes    uint64 // of Up
	Logins     int    // in flight
	Sessions   int64  // connections open, logins included
	Dials      [numDialResults]uint64
	DialTime   time.Duration // from dial to greeting, in sum over Dials[DialOK]
	ProbeError string        // why the last probe failed, empty if it did not
}

// Stats returns the state of every backend.
func (b *Backends) Stats() []BackendStats {
	all := make([]BackendStats, len(b.all))
	for i, one := range b.all {
		s := &all[i]
		*s = BackendStats{
			Addr: one.addr, Up: one.up.Load(), Changes: one.changes.Load(),
			Logins: b.inFlight(one), Sessions: one.sessions.Load(), DialTime: time.Duration(one.dialTime.Load()),
		}
		for r := range one.dials {
			s.Dials[r] = one.dials[r].Load()
		}
		if reason := one.probeError.Load(); reason != nil {
			s.ProbeError = *reason
		}
	}
	return all
}
