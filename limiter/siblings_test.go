package limiter

import (
	"fmt"
	"maps"
	"math"
	"slices"
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

// What both do counts in both.
func TestSiblingsCountTogether(t *testing.T) {
	p := policy()
	p.Source = Rate{4, 4 * time.Minute}
	former, next := handOverScript(t, p, `
		0s   ask a 192.0.2.1     = pass none
		0s   denied a
		1s   ask b 192.0.2.1     = wait 2s source
	`, "1s")
	next.then(t, "1s", `
		1s   ask c 192.0.2.1     = again 250ms source  # b holds one of three
		1s   void c
	`)
	former.then(t, "2s", `
		2s   denied b
	`)
	next.then(t, "2s", `
		2s   ask d 192.0.2.1     = wait 4s source
		2s   denied d
	`)
	former.then(t, "3s", `
		3s   ask e 192.0.2.1     = wait 8s source
	`)
	next.then(t, "3s", `
		3s   ask f 192.0.2.1     = refuse source
	`)
	former.then(t, "4s", `
		4s   denied e
	`)
	next.then(t, "4s", `
		4s   ask g 192.0.2.1     = refuse source
		59s  ask h 192.0.2.1     = refuse source
		60s  ask i 192.0.2.1     = wait 8s source
		60s  void i
	`)
	requireNothingOpen(t, former.own, next.own)
	requireSame(t, at("60s"), next.Limiter, former.Limiter)
}

func TestSiblingsCountConnectionsTogether(t *testing.T) {
	p := policy()
	p.Connect, p.Open, p.OpenPrelogin = Rate{4, 4 * time.Minute}, 3, 2
	former, next := handOverScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  login b
	`, "1s")
	next.then(t, "1s", `
		1s  connect c 192.0.2.1  = pass none
		1s  connect d 192.0.2.1  = refuse open
	`)
	former.then(t, "2s", `
		2s  connect e 192.0.2.1  = refuse open
		2s  close b
		2s  connect f 192.0.2.1  = refuse open_prelogin
		2s  login a
		2s  close a
	`)
	next.then(t, "2s", `
		2s  connect g 192.0.2.1  = pass none
		2s  connect h 192.0.2.1  = refuse open_prelogin
		2s  close c
		2s  connect h 192.0.2.1  = pass none
		2s  login g
	`)
	former.then(t, "3s", `
		3s  connect i 192.0.2.1  = pass none
		3s  close i
		3s  connect j 192.0.2.1  = pass none
		3s  close j
		3s  connect k 192.0.2.1  = refuse connect
	`)
	if o := former.own.openEverywhere(); o != (open{connections: 2, prelogin: 1}) {
		t.Errorf("got %+v", o)
	}
	next.then(t, "4s", `
		4s  close g
		4s  close h
	`)
	requireNothingOpen(t, former.own, next.own)
}

// Two processes that spend the same last tokens at the same time wait for them later.
func TestTokensSpentTwiceAreADebt(t *testing.T) {
	p := policy()
	p.Source = Rate{2, 2 * time.Minute}
	former, next := handOverScript(t, p, "", "0s")
	for _, g := range []siblingRunner{former, next} { // nothing is delivered meanwhile
		g.run(t, `
			0s    ask a 192.0.2.1  = pass none
			0s    denied a
			1s    ask b 192.0.2.1  = wait 2s source
			1s    denied b
			2s    ask c 192.0.2.1  = refuse source
		`)
	}
	deliver(t, at("3s"), former.own, next.own)
	for _, g := range []siblingRunner{former, next} {
		g.run(t, `
			3s    ask d 192.0.2.1  = refuse source
			1m10s ask e 192.0.2.1  = refuse source
			2m10s ask f 192.0.2.1  = refuse source
			3m    ask g 192.0.2.1  = wait 2s source
			3m    void g
		`)
	}
	for range 5 { // a debt is at most as many tokens as the bucket has
		for _, g := range []siblingRunner{former, next} {
			g.run(t, "3m ask h 192.0.2.1")
			g.run(t, "3m denied h")
		}
	}
	deliver(t, at("3m"), former.own, next.own)
	for _, g := range []siblingRunner{former, next} {
		e, mu := g.table.find(g.hasher.block(kindSource, Source(g.attempt("192.0.2.1", "").Addr)))
		mu.Unlock()
		if d := g.epoch.ticks(at("3m")).until(ticks(e.denials)); d > 4*time.Minute {
			t.Errorf("full in %v, want 4m at most", d)
		}
	}
}

// A credential that was denied by one is a repeat at the other, and charged once.
func TestRepeatsAreShared(t *testing.T) {
	p := policy()
	p.RepeatTTL = time.Minute
	former, next := handOverScript(t, p, `
		0s   ask a 192.0.2.1 u/x  = pass none
		1s   denied a
	`, "2s")
	next.then(t, "3s", `
		2s   ask b 192.0.2.1 u/x  = repeat 2s repeat
		2s   void b
		3s   ask c 192.0.2.1 u/y  = wait 2s source
		3s   denied c
	`)
	former.then(t, "4s", `
		4s   ask d 192.0.2.1 u/y  = repeat 4s repeat
		4s   void d
	`)
	requireSame(t, at("5s"), next.Limiter, former.Limiter)
}

func TestAcceptedLoginsAreShared(t *testing.T) {
	p := policy()
	p.KnownTTL = 720 * time.Hour
	p.Pair = Rate{2, 10 * time.Minute}
	former, next := handOverScript(t, p, `
		0s   ask a 192.0.2.1 u/x  = pass none
		0s   denied a
	`, "1s")
	next.then(t, "1s", `
		1s   ask b 192.0.2.1 u/y
		1s   accepted b
	`)
	former.then(t, "2s", `
		2s   ask c 192.0.2.1 u/y  = pass none
	`)
	if k := former.tickets["c"]; !k.Verdict().Known || !k.Verdict().Near {
		t.Errorf("got %+v", k.Verdict())
	}
	former.then(t, "3s", `
		3s   denied c
	`)
	requireSame(t, at("3s"), next.Limiter, former.Limiter)
}

// A login slot that a stranger has held at one is charged at the other.
func TestChargedSlotsAreShared(t *testing.T) {
	former, next := handOverScript(t, policy(), `
		0s  ask a 192.0.2.1 u  = pass none
	`, "1s")
	former.tickets["a"].Abandon(at("10s"), 9*time.Second)
	deliver(t, at("10s"), former.own, next.own)
	next.run(t, "10s  ask b 192.0.2.1 u  = wait 10s source")
	next.tickets["b"].Settle(at("10s"), Void)
	deliver(t, at("10s"), former.own, next.own)
	requireSame(t, at("10s"), next.Limiter, former.Limiter)
	requireNothingOpen(t, former.own, next.own)
}

// The other ends without a word: what it has spent remains spent.
func TestForgetReturnsWhatIsOpen(t *testing.T) {
	p := policy()
	p.Open = 2
	former, next := handOverScript(t, p, `
		0s  connect v 192.0.2.1  = pass none
		0s  ask a 192.0.2.1      = pass none
		0s  ask b 192.0.2.1      = pass none
		0s  denied b
	`, "1s")
	former.then(t, "1s", `
		1s  connect w 192.0.2.1  = pass none
		1s  ask c 192.0.2.1      = wait 2s source
	`)
	if o := next.own.openEverywhere(); o.holds != 4 || o.connections != 2 {
		t.Errorf("got %+v", o)
	}
	next.run(t, `2s  connect x 192.0.2.1  = refuse open`)
	next.Forget(at("3s"), 1)
	requireNothingOpen(t, next.own)
	next.run(t, `
		3s  connect x 192.0.2.1  = pass none
		3s  ask d 192.0.2.1      = wait 2s source
		3s  void d
		3s  close x
	`)
	requireNothingOpen(t, next.own)
	former.then(t, "4s", `4s void a`) // late events of one that is forgotten
	requireNothingOpen(t, next.own)
}

// A process whose successor fails hands over again.
func TestSecondHandOverAfterAFailedOne(t *testing.T) {
	former, next := handOverScript(t, policy(), `
		0s  connect v 192.0.2.1  = pass none
		0s  ask a 192.0.2.1      = pass none
	`, "1s")
	next.then(t, "2s", `
		2s  connect w 192.0.2.1  = pass none
		2s  ask b 192.0.2.1      = pass none
	`)
	former.own.feeds[next.own].Close()
	former.own.feeds[next.own].Close()
	former.run(t, "3s connect x 192.0.2.1 = pass none")
	if b := former.own.feeds[next.own].Take(1000); b != nil || former.Limiter.feeds != nil {
		t.Errorf("a closed feed has %q", b)
	}
	delete(former.own.feeds, next.own)
	former.Forget(at("3s"), 2)
	third := former.own.handOver(t, at("3s"), policy())
	for _, g := range []*generation{former.own, third} {
		if o := g.openEverywhere(); o != (open{holds: 2, connections: 2, prelogin: 2}) { // at source and network
			t.Errorf("generation %d: %+v", g.number, o)
		}
	}
	former.run(t, `
		4s  void a
		4s  close v
		4s  close x
	`)
	deliver(t, at("4s"), former.own, third)
	requireNothingOpen(t, former.own, third)
}

// A process that no longer accepts gives memory back, and still tells what ends.
func TestRetiredStillTellsWhatEnds(t *testing.T) {
	p := policy()
	p.KnownTTL, p.Connect = 720*time.Hour, Rate{10, time.Minute}
	former, next := handOverScript(t, p, `
		0s  connect v 192.0.2.1    = pass none
		0s  connect w 192.0.2.2    = pass none
		0s  ask a 192.0.2.1 u/x    = pass none
		0s  accepted a
		0s  ask b 192.0.2.3 s/x    = pass none
		0s  ask c 192.0.2.4 s/x    = pass none
		0s  denied c
	`, "1s")
	next.then(t, "2s", `
		2s  connect y 192.0.2.5    = pass none
	`)
	former.Retire()
	if s := former.Stats(at("3s")); s.Known != 0 || s.Sources != 3 || former.table.used.Load() != 4 {
		t.Errorf("got %+v, %d entries", s, former.table.used.Load())
	}
	checkTable(t, &former.table, 4)
	former.then(t, "4s", `
		4s  login v
		4s  close v
		4s  close w
		4s  denied b
	`)
	next.then(t, "5s", `
		5s  close y
	`)
	requireNothingOpen(t, former.own, next.own)
	if s := next.Stats(at("5s")); s.Known != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestApplyRefusesDamagedEvents(t *testing.T) {
	former, next := handOverScript(t, defaultPolicy(), "", "0s")
	former.run(t, `
		0s  connect v 192.0.2.1
		0s  ask a 192.0.2.1 u/x
		0s  denied a
	`)
	events := former.own.feeds[next.own].Take(math.MaxInt)
	var wrong [][]byte
	for _, b := range []byte{0, byte(opCount), 255} {
		wrong = append(wrong, append(slices.Clone(events), 1, b))
	}
	wrong = append(wrong, events[:len(events)-1], append(slices.Clone(events), 200, 200, 200), append(slices.Clone(events), 2, byte(opGlobal), 0))
	for _, b := range wrong {
		if err := next.Apply(at("0s"), 1, b); err == nil {
			t.Errorf("%x: no error", b)
		}
		if n := next.table.used.Load(); n != 0 {
			t.Fatalf("%x: %d entries", b, n)
		}
	}
	if err := next.Apply(at("0s"), 1, events); err != nil {
		t.Error(err)
	}
	requireSame(t, at("0s"), next.Limiter, former.Limiter)
}

func TestTakeReturnsWholeEvents(t *testing.T) {
	former, next := handOverScript(t, policy(), "", "0s")
	f := former.own.feeds[next.own]
	select {
	case <-f.Ready():
		t.Error("ready without an event")
	default:
	}
	for i := range 100 {
		former.run(t, fmt.Sprintf("0s connect v 192.0.2.%d", i+1))
	}
	batches, total := 0, 0
	for {
		<-f.Ready() // as long as there are events
		b := f.Take(100)
		if len(b) == 0 || len(b) > 100 {
			t.Fatalf("got %d octets", len(b))
		}
		if err := eachEvent(b, func(*event) { total++ }); err != nil {
			t.Fatal(err)
		}
		if batches++; total == 100 {
			break
		}
	}
	if batches < 20 || f.Take(100) != nil {
		t.Errorf("%d batches", batches)
	}
	former.run(t, "0s connect v 192.0.2.101")
	if b := f.Take(1); len(b) == 0 {
		t.Error("an event longer than what was asked for stays for ever")
	}
}

func TestFeedOverflows(t *testing.T) {
	l := newLimiter(t, policy())
	f := l.Feed()
	e := event{op: opMerged, record: make([]byte, 400)}
	for i := 0; !f.Overflowed(); i++ {
		if l.publish(&e); i > feedMax/400 {
			t.Fatal("no end")
		}
	}
	if b := f.Take(100); b != nil {
		t.Errorf("got %d octets", len(b))
	}
	l.publish(&e)
	if b := f.Take(100); b != nil || !f.Overflowed() {
		t.Errorf("got %d octets after an overflow", len(b))
	}
	f.Close()
}
