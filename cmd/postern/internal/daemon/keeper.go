package daemon

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/sharing"
	"postern/limiter"
)

// keeper does what only one generation of a gateway may do: it saves what must survive a restart, and runs the detector,
// which alerts people, keeps the list for firewalls, sends login notices, and shares with other gateways.
type keeper struct {
	lock         *os.File    // of the state directory, nil if there is none
	key          limiter.Key // of this installation
	known        *knownStore
	tickets      *ticketKeys // nil where no listener offers TLS, or TLS_TICKET_KEYS has the keys
	incidents    *incidents.Manager
	deciding     *deciding
	firewall     *firewallFeed
	observations *observations    // for the detector of the next generation, from pause on
	sharing      *sharing.Sharing // with other gateways; nil if there is no engine
	engine       *engine.Client
	notices      *notices.Manager // nil without NOTICE_URL

	stop    context.CancelCauseFunc // nil unless it runs
	running sync.WaitGroup
}

// start begins to save and to detect.
func (k *keeper) start() {
	ctx, stop := context.WithCancelCause(context.Background())
	k.stop = stop
	k.running.Go(func() { every(ctx, saveEvery, k.known.save) })
	k.running.Go(func() { k.incidents.Run(ctx) })
	k.running.Go(func() { k.deciding.run(ctx) })
	k.running.Go(func() { k.firewall.run(ctx) })
	if k.sharing != nil {
		k.running.Go(func() { k.sharing.Run(ctx) })
	}
	if k.notices != nil {
		k.running.Go(func() { k.notices.Run(ctx) })
	}
	if k.tickets != nil {
		k.running.Go(func() { every(ctx, ticketKeyCheck, func(now time.Time) { k.tickets.rotate(now) }) })
	}
}

// errHandOver is the cause of a hand-over for all that ends then.
var errHandOver = errors.Join(incidents.ErrHandOver, sharing.ErrHandOver)

// pause ends that without saving, because another process goes on with it. Observations are collected for that process.
func (k *keeper) pause() {
	k.stop(errHandOver)
	k.running.Wait()
	k.deciding.applyReceived(time.Now())
	k.stop = nil
	k.incidents.Forward(k.observations.add)
	k.deciding.store.Freeze(true)
}

// resume goes on after pause: the hand-over has failed.
func (k *keeper) resume() {
	now := time.Now()
	k.deciding.store.Freeze(false)
	k.incidents.Forward(nil)
	for _, m := range k.observations.take() {
		_ = eachObservation(m, func(o incidents.Observation) { k.incidents.Observe(now, o) })
	}
	if k.sharing != nil {
		k.sharing.Resume()
	}
	k.start()
}

// exportSharing returns at time t what the next generation needs to go on sharing; nil if nothing is shared.
func (k *keeper) exportSharing(t time.Time) ([]byte, error) {
	if k.sharing == nil {
		return nil, nil
	}
	return k.sharing.Export(t)
}

// closeEngine closes the connection to the engine, if there is one.
func (k *keeper) closeEngine() {
	if k.engine != nil {
		k.engine.Close()
	}
}

// close ends that, and saves for the last time. It unlocks the state directory.
func (k *keeper) close() {
	if k.stop != nil {
		k.stop(nil)
		k.running.Wait()
		k.deciding.applyReceived(time.Now())
		k.known.save(time.Now())
	}
	k.closeEngine()
	k.lock.Close()
}
