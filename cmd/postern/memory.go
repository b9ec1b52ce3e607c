package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// The files of STATE_DIR that hold who is known. The second means nothing without
// the first.
const (
	keyFile   = "install-key"
	knownFile = "known"
)

// knownMax bounds the file of the known as it is read, in octets.
const knownMax = 1 << 30

// saveEvery is how often the known are written down. A crash loses as much.
const saveEvery = time.Minute

// installKey returns the key of this installation, which it makes at the first
// start. Without a folder every start is the first. A damaged key is set aside,
// and with it all that was known.
func (g *gate) installKey() (k limiter.Key, err error) {
	rand.Read(k[:])
	d := g.stateDir()
	if d == "" {
		return k, nil
	}
	if err := d.make(); err != nil {
		return k, wrong("STATE_DIR", "%v", err)
	}
	kept, err := d.read(keyFile, int64(len(k)))
	if err == nil && len(kept) == len(k) {
		return limiter.Key(kept), nil
	}
	if err != nil || kept != nil {
		g.setAside(keyFile, fmt.Errorf("%d octets, want %d: %v", len(kept), len(k), err))
	}
	if err := d.write(keyFile, k[:]); err != nil {
		return k, wrong("STATE_DIR", "%v", err)
	}
	return k, nil
}

// explain tells in words what the rules hold against an attempt like a.
func (g *gate) explain(a proxy.Attempt) string {
	return g.limiter.Explain(time.Now(), a.Client.Addr(), a.Account)
}

// recall makes the limiter know whom it knew before the restart.
func (g *gate) recall() {
	d := g.stateDir()
	if d == "" {
		return
	}
	data, err := d.read(knownFile, knownMax)
	if err == nil && data != nil {
		err = g.limiter.Restore(time.Now(), data)
	}
	if err != nil {
		g.setAside(knownFile, err)
	}
}

// setAside tells of a file that cannot be used, and takes it out of the way.
func (g *gate) setAside(name string, why error) {
	d := g.stateDir()
	err := d.setAside(name)
	if err == nil {
		err = why
	}
	g.journal.Error("state set aside, beginning without it", slog.String("event", "state"), slog.String("file", d.path(name)), reason(err))
}

// remember writes down whom the limiter knows, once a minute until ctx ends.
func (g *gate) remember(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.save()
		}
	}
}

// save writes down whom the limiter knows.
func (g *gate) save() {
	d := g.stateDir()
	if d == "" {
		return
	}
	now := time.Now()
	err := d.write(knownFile, g.limiter.Snapshot(now))
	g.metrics.saved(now, err)
	if err != nil {
		g.journal.Error("state not saved", slog.String("event", "state"), slog.String("file", d.path(knownFile)), reason(err))
	}
}

// stateDir is the folder of the settings, empty if there is none.
func (g *gate) stateDir() stateDir { return stateDir(g.config.State.Dir) }
