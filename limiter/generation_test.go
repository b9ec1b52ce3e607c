package limiter

import (
	"maps"
	"math"
	"testing"
	"time"
)

// A generation is the limiter of one process in a chain of upgrades. Each exchanges events with the one before and the
// one after it, and passes on those of others.
type generation struct {
	*Limiter
	number    int
	feeds     map[*generation]*Feed    // by neighbour
	forwarded map[*generation][]parcel // likewise, of other generations
}

// A parcel is events of the generation number from.
type parcel struct {
	from   int
	events []byte
}

func newGeneration(l *Limiter, number int) *generation {
	return &generation{l, number, map[*generation]*Feed{}, map[*generation][]parcel{}}
}

// handOver returns a generation that takes over from g at time now.
func (g *generation) handOver(t testing.TB, now time.Time, p Policy) *generation {
	t.Helper()
	data, feed := g.Export(now)
	next := newGeneration(newLimiter(t, p), g.number+1)
	if err := next.Import(now, data, g.number); err != nil {
		t.Fatal(err)
	}
	g.feeds[next], next.feeds[g] = feed, next.Feed()
	return next
}

// deliver applies the events that each of all generations has for its neighbours, until there are none.
func deliver(t testing.TB, now time.Time, all ...*generation) {
	t.Helper()
	for again := true; again; {
		again = false
		for _, g := range all {
			for _, to := range all {
				if g.feeds[to] == nil {
					continue
				}
				parcels := g.forwarded[to]
				delete(g.forwarded, to)
				for events := g.feeds[to].Take(500); events != nil; events = g.feeds[to].Take(500) {
					parcels = append(parcels, parcel{g.number, events})
				}
				for _, c := range parcels {
					again = true
					to.receive(t, now, g, c)
				}
			}
		}
	}
}

// receive applies c, which came from neighbour via, and passes it on.
func (g *generation) receive(t testing.TB, now time.Time, via *generation, c parcel) {
	t.Helper()
	if err := g.Apply(now, c.from, c.events); err != nil {
		t.Fatal(err)
	}
	for to := range g.feeds {
		if to != via {
			g.forwarded[to] = append(g.forwarded[to], c)
		}
	}
}

// openEverywhere returns the sum of what all entries of l count as open.
func (l *Limiter) openEverywhere() (all open) {
	add := func(e *entry) {
		all = all.plus(open{e.holds, uint32(e.lookHolds), e.open, e.prelogin})
	}
	for i := range l.table.shared {
		add(&l.table.shared[i].entry)
	}
	for i := range l.table.shards {
		for _, e := range l.table.shards[i].entries {
			if e.kind != kindNone {
				add(&e)
			}
		}
	}
	return all
}

// relative returns all entries of l that are not idle, with times relative to now.
func (l *Limiter) relative(now time.Time) map[key]entry {
	h, since := history{l: l, now: now}, func(b ticks) ticks { return max(b-l.epoch.ticks(now), 0) }
	all := h.live()
	for k, e := range all {
		e.denials, e.looks = bucket(since(ticks(e.denials))), bucket(since(ticks(e.looks)))
		e.connects, e.penaltyUntil = bucket(since(ticks(e.connects))), since(e.penaltyUntil)
		if e.penaltyUntil == 0 && e.kind != kindRepeat {
			e.starved = 0
		}
		all[k] = e
	}
	return all
}

// requireSame fails unless got knows what want knows at time now.
func requireSame(t testing.TB, now time.Time, got, want *Limiter) {
	t.Helper()
	g, w := got.relative(now), want.relative(now)
	for k := range w {
		if g[k] != w[k] {
			t.Errorf("entry\n\t%+v, want\n\t%+v", g[k], w[k])
		}
	}
	for k := range g {
		if _, ok := w[k]; !ok {
			t.Errorf("entry %+v, want none", g[k])
		}
	}
	requireSameKnown(t, now, got, want)
	if g, w := got.sprays.relative(got.epoch.ticks(now)), want.sprays.relative(want.epoch.ticks(now)); !maps.Equal(g, w) {
		t.Errorf("sprays %v, want %v", g, w)
	}
	if g, w := got.Stats(now).GlobalTokens, want.Stats(now).GlobalTokens; math.Abs(g-w) > 1e-3 {
		t.Errorf("got %v global tokens, want %v", g, w)
	}
}

func requireSameKnown(t testing.TB, now time.Time, got, want *Limiter) {
	t.Helper()
	g, w := got.relativeKnown(now), want.relativeKnown(now)
	for k := range w {
		if math.Abs(g[k].usage-w[k].usage) > 1e-6 {
			t.Errorf("usage %v, want %v", g[k].usage, w[k].usage)
		}
		a, b := g[k], w[k]
		if a.usage, b.usage = 0, 0; a != b {
			t.Errorf("account %+v, want %+v", a, b)
		}
	}
	if len(g) != len(w) {
		t.Errorf("got %d accounts, want %d", len(g), len(w))
	}
	if !maps.Equal(got.known.sources.entries, want.known.sources.entries) {
		t.Errorf("sources %v, want %v", got.known.sources.entries, want.known.sources.entries)
	}
	if g, w := got.known.since.Load(), want.known.since.Load(); g != w {
		t.Errorf("since %d, want %d", g, w)
	}
}

// relativeKnown returns all accounts of l, with times relative to now.
func (l *Limiter) relativeKnown(now time.Time) map[key]knownAccount {
	all := map[key]knownAccount{}
	for i := range l.known.shards {
		s := &l.known.shards[i]
		for k, i := range s.index {
			a := *s.at(i)
			a.use = max(a.use-bucket(l.epoch.ticks(now)), 0)
			if a.usage > 0 {
				a.usage = relativeUsage(a.usage, l.epoch.ticks(now))
			}
			all[k] = a
		}
	}
	return all
}

func (t *sprayTable) relative(now ticks) map[uint32]sprayCell {
	all := map[uint32]sprayCell{}
	for _, c := range t.cells {
		if c.until > now {
			c.until -= now
			all[c.password] = c
		}
	}
	return all
}

// handOverScript runs script with a limiter, hands over at time at, and returns both.
func handOverScript(t *testing.T, p Policy, script, handOver string) (former, next siblingRunner) {
	t.Helper()
	f := runScript(t, p, script)
	g := newGeneration(f.Limiter, 1)
	n := g.handOver(t, at(handOver), p)
	former = siblingRunner{f, g, n}
	next = siblingRunner{scriptRunner{n.Limiter, map[string]*Ticket{}, map[string]*Connection{}}, n, g}
	return former, next
}

// A siblingRunner runs scripts with one of two generations.
type siblingRunner struct {
	scriptRunner
	own, other *generation
}

// then runs script, and then delivers all events at time now.
func (r siblingRunner) then(t *testing.T, now, script string) {
	t.Helper()
	r.run(t, script)
	deliver(t, at(now), r.own, r.other)
}

func requireNothingOpen(t testing.TB, all ...*generation) {
	t.Helper()
	for _, g := range all {
		if o := g.openEverywhere(); o != (open{}) {
			t.Errorf("generation %d: %+v is open", g.number, o)
		}
	}
}
