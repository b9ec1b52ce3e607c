package daemon

import (
	"context"
	"os"
	"sync"
	"time"

	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
)

// keeper does what only one generation of a gateway may do: it saves what must survive a restart, and runs the detector,
// which alerts people.
type keeper struct {
	lock         *os.File    // of the state directory, nil if there is none
	key          limiter.Key // of this installation
	known        *knownStore
	tickets      *ticketKeys // nil where no listener offers TLS, or TLS_TICKET_KEYS has the keys
	incidents    *incidents.Manager
	deciding     *deciding
	observations *observations // for the detector of the next generation, from pause on

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
	if k.tickets != nil {
		k.running.Go(func() { every(ctx, ticketKeyCheck, func(now time.Time) { k.tickets.rotate(now) }) })
	}
}

// pause ends that without saving, because another process goes on with it. Observations are collected for that process.
func (k *keeper) pause() {
	k.stop(incidents.ErrHandOver)
	k.running.Wait()
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
	k.start()
}

// close ends that, and saves for the last time. It unlocks the state directory.
func (k *keeper) close() {
	if k.stop != nil {
		k.stop(nil)
		k.running.Wait()
		k.known.save(time.Now())
	}
	k.lock.Close()
}
