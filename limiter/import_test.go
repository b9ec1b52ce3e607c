package limiter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestImportRefuses(t *testing.T) {
	old, of := knownUsers(t, 20)
	k := old.Ask(start, of(0))
	good, f := old.Export(start)
	f.Close()
	k.Settle(start, Void)
	damaged := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	another, err := New(defaultPolicy(), Key{9})
	if err != nil {
		t.Fatal(err)
	}
	otherKey, f := another.Export(start)
	f.Close()
	version2 := append([]byte("postern limiter 2"), good[len(exportMagic):]...)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":         {nil, `got format "", want "postern limiter 1"`},
		"another version": {version2, `got format "postern limiter 2", want "postern limiter 1"`},
		"a snapshot":      {old.Snapshot(start), `got format "postern known 3`},
		"head alone":      {good[:len(exportMagic)], "damaged"},
		"cut":             {good[:len(good)-1], "damaged"},
		"longer":          {append(bytes.Clone(good), 0), "damaged"},
		"bit of body":     {damaged(len(exportMagic) + 20), "damaged"},
		"bit of end":      {damaged(len(good) - 1), "damaged"},
		"another key":     {otherKey, "another key"},
		"longer inside":   {reseal(old, good, func(b []byte) { b[len(exportMagic)]++ }), "damaged"},
		"account cut":     {reseal(old, good, func(b []byte) { b[len(exportMagic)+5+snapshotHead-1]++ }), "damaged"},
	} {
		l := newLimiter(t, defaultPolicy())
		err := l.Import(start, tc.data, 1)
		if err == nil || !strings.HasPrefix(err.Error(), "importing from another process: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if l.Stats(start).Known != 0 || l.table.used.Load() != 0 || l.indebted.Load() {
			t.Errorf("%s: something was imported", name)
		}
	}
}

func TestImportRefusesTheNumberOfASibling(t *testing.T) {
	former, next := handOverScript(t, policy(), "0s connect a 192.0.2.1", "0s")
	former.own.feeds[next.own].Close()
	data, f := next.Export(start)
	f.Close()
	if err := newLimiter(t, policy()).Import(start, data, 1); err == nil || !strings.Contains(err.Error(), "got 1 as the number") {
		t.Error(err)
	}
}

// A small table keeps what is open, then what is most spent.
func TestImportIntoASmallTable(t *testing.T) {
	p := policy()
	p.Network = Rate{}
	sr := runScript(t, p, "")
	for i := range 100 {
		sr.run(t, fmt.Sprintf("0s connect c%d 10.0.%d.1", i, i))
		if i != 50 {
			sr.run(t, fmt.Sprintf("0s close c%d", i))
		}
		for range i % 7 {
			sr.run(t, fmt.Sprintf("0s ask a 10.0.%d.1", i))
			sr.run(t, "0s denied a")
		}
	}
	data, f := sr.Export(start)
	f.Close()
	for _, limit := range []int{1, 10, 29, 1000} {
		p.TableMax = limit
		l := newLimiter(t, p)
		if err := l.Import(start, data, 1); err != nil {
			t.Fatal(err)
		}
		checkTable(t, &l.table, limit)
		if n := l.Stats(start).Sources; n != min(limit, 100) || l.openEverywhere().connections != 1 {
			t.Errorf("TableMax %d: %d sources, %+v open", limit, n, l.openEverywhere())
		}
		for i := range 100 {
			spent := 0
			if e, mu := l.table.find(l.hasher.block(kindSource, Source(sr.attempt(fmt.Sprintf("10.0.%d.1", i), "").Addr))); e != nil {
				spent = e.denials.spent(l.epoch.ticks(start), &l.rules.Load().denials[kindSource])
				mu.Unlock()
			}
			if want := i % 7; limit == 1000 && spent != want || limit == 29 && want > 4 && spent != want {
				t.Errorf("TableMax %d, source %d: %d spent, want %d", limit, i, spent, want)
			}
		}
		l.Forget(start, 1)
		if o := l.openEverywhere(); o != (open{}) {
			t.Errorf("TableMax %d: %+v open", limit, o)
		}
	}
}

// Under another limit, a bucket keeps the time it needs to refill, at most that of an empty one.
func TestImportUnderAnotherPolicy(t *testing.T) {
	p := policy()
	sr := runScript(t, p, `
		0s  ask a 192.0.2.1  = pass none
		0s  denied a
		0s  ask b 192.0.2.1  = wait 2s source
		0s  denied b
	`)
	data, f := sr.Export(start)
	f.Close()
	for rate, want := range map[Rate]string{
		{2, time.Minute}:     "refuse source",
		{4, 4 * time.Minute}: "wait 4s source",
		{10, time.Hour}:      "wait 2s source", // two minutes are less than one token
		{}:                   "pass none",
	} {
		p.Source, p.Network, p.Global = rate, Rate{}, Rate{5, time.Second}
		l := newLimiter(t, p)
		if err := l.Import(start, data, 1); err != nil {
			t.Fatal(err)
		}
		scriptRunner{l, map[string]*Ticket{}, map[string]*Connection{}}.run(t, "0s ask c 192.0.2.1 = "+want)
	}
}

// An export while others work divides their operations exactly: in the end both know the same, and nothing is open.
func TestExportDuringLoad(t *testing.T) {
	p := unlimitedPolicy()
	r := Rate{maxTokens, 24 * time.Hour}
	p.Connect, p.Source, p.Network, p.Pair, p.Account, p.Global = r, r, r, r, r, r
	p.RepeatTTL, p.TableMax = 0, 100_000
	g := newGeneration(newLimiter(t, p), 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			for range 400 {
				loadedClient(g.Limiter, rnd)
				runtime.Gosched()
			}
		})
	}
	var next []*generation
	for range 3 { // of which all go on
		n := g.handOver(t, start, p)
		next = append(next, n)
		for range 20 {
			deliverTo(t, g, n)
			runtime.Gosched()
		}
	}
	wg.Wait()
	for _, n := range next {
		deliverTo(t, g, n)
		requireNothingOpen(t, g, n)
		requireSame(t, start, n.Limiter, g.Limiter)
	}
	if o := g.relative(start); len(o) < 100 {
		t.Errorf("%d entries", len(o))
	}
}

func deliverTo(t *testing.T, from, to *generation) {
	for b := from.feeds[to].Take(4096); b != nil; b = from.feeds[to].Take(4096) {
		if err := to.Apply(start, from.number, b); err != nil {
			t.Error(err)
		}
	}
}

// loadedClient runs one connection with one attempt, all at the same time.
func loadedClient(l *Limiter, rnd *rand.Rand) {
	addr := host(rnd.IntN(1000))
	c, _ := l.Connect(start, addr)
	defer c.Close(start)
	a := Attempt{Addr: addr, Account: fmt.Sprint("u", rnd.IntN(300))}
	if rnd.IntN(2) == 0 {
		a.Credential = l.Credential(a.Account, []byte{byte(rnd.IntN(200))})
	}
	k := l.Ask(start, a)
	for k.Verdict().Again {
		runtime.Gosched()
		k.Again(start)
	}
	if rnd.IntN(3) == 0 {
		c.LoggedIn(start)
	}
	k.Settle(start, []Outcome{Denied, Void}[rnd.IntN(2)])
}

// fuzzed returns a limiter that has done a little of everything, and its feed.
func fuzzed(t testing.TB) (l *Limiter, f *Feed) {
	sr := runScript(t, defaultPolicy(), "")
	f = sr.Feed()
	sr.run(t, `
		0s  connect a 192.0.2.1
		0s  connect b 2001:db8::1
		0s  login b
		0s  ask c 192.0.2.1 u/x
		0s  enter c
		0s  accepted c
		0s  ask d 192.0.2.1 u/x@a
		0s  enter d
		0s  accepted d
		0s  ask e 192.0.2.9 u/y
		0s  denied e
		0s  ask f 192.0.2.9 v/y
		0s  close b
	`)
	sr.tickets["f"].ChargeSlot(start, time.Second)
	if err := sr.Apply(start, 7, f.Take(1<<20)); err != nil {
		t.Fatal(err)
	}
	sr.run(t, `0s connect g 192.0.2.2`)
	old, _ := knownUsers(t, 1)
	if err := sr.Merge(start, old.Snapshot(start)); err != nil {
		t.Fatal(err)
	}
	sr.Learn(start, host(1), "w")
	sr.run(t, `
		0s  lists - 203.0.113.0/24
		0s  ask i 203.0.113.1 a
		0s  enter i
		0s  void i
		0s  release 192.0.2.9 -
		0s  release - u
		0s  release 192.0.2.1 u
		0s  forget w
		0s  lists - -
	`)
	return sr.Limiter, f
}

// An export with a valid checksum and any content is refused as a whole, or can be imported, exported and imported
// again; once all siblings are forgotten, nothing is open.
func FuzzImport(f *testing.F) {
	l, feed := fuzzed(f)
	feed.Close()
	data, feed := l.Export(start)
	feed.Close()
	f.Add(data[len(exportMagic) : len(data)-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte(exportMagic), body...)
		l := newLimiter(t, defaultPolicy())
		if err := l.Import(start, append(b, l.checksum(b)...), 3); err != nil {
			if l.known.count.Load() != 0 || l.table.used.Load() != 0 {
				t.Fatalf("something was imported in spite of %v", err)
			}
			return
		}
		data, feed := l.Export(start)
		feed.Close()
		again := newLimiter(t, defaultPolicy())
		if err := again.Import(start, data, -1); err != nil && !strings.Contains(err.Error(), "got -1 as the number") {
			t.Fatalf("importing again: %v", err)
		}
		requireForgotten(t, l)
		requireForgotten(t, again)
	})
}

// Any events are refused as a whole, or can be applied; once the sibling is forgotten, nothing is open.
func FuzzApply(f *testing.F) {
	l, feed := fuzzed(f)
	f.Add(feed.Take(1 << 20))
	e := event{op: opSettled, kind: kindSource, key: key{1, 2}, growth: 3, flags: heldDenial | spentDenial | spentLook | wasStarved}
	f.Add(e.appendTo(nil))
	data, feed := l.Export(start)
	feed.Close()
	f.Fuzz(func(t *testing.T, events []byte) {
		l := newLimiter(t, defaultPolicy())
		if err := l.Import(start, data, 1); err != nil {
			t.Fatal(err)
		}
		before := l.openEverywhere()
		if err := l.Apply(start.Add(time.Second), 1, events); err != nil && l.openEverywhere() != before {
			t.Fatalf("something was applied in spite of %v", err)
		}
		requireForgotten(t, l)
	})
}

// requireForgotten fails if something is open in l once all siblings are forgotten.
func requireForgotten(t *testing.T, l *Limiter) {
	checkTable(t, &l.table, 2*l.rules.Load().TableMax)
	l.Stats(start)
	for n := range l.siblings.of {
		l.Forget(start, n)
	}
	if o := l.openEverywhere(); o != (open{}) {
		t.Fatalf("%+v is open", o)
	}
}

// BenchmarkExport measures how long operations wait for an export of 500,000 accounts and 200,000 sources, and the whole
// export and import.
func BenchmarkExport(b *testing.B) {
	p := unlimitedPolicy()
	p.Source, p.Network = Rate{10, time.Hour}, Rate{100, time.Hour}
	p.Account, p.Pair, p.Global = Rate{}, Rate{}, Rate{}
	l := newLimiter(b, p)
	for i := range 500_000 {
		l.known.learn(start, key{uint64(i) * 0x9e3779b97f4a7c15, uint64(i)}, fingerprints{credential: 7, source: uint32(i + 1), network: uint32(i + 1)}, validityAt(start, 720*time.Hour), 0, 500_000)
	}
	for i := range 200_000 {
		logIn(l, start, Attempt{Addr: stranger(i)}, Denied)
	}
	var data []byte
	b.Run("held", func(b *testing.B) {
		space := l.exportSpace()
		for b.Loop() {
			_, f := l.export(start, space)
			f.Close()
		}
	})
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			var f *Feed
			data, f = l.Export(start)
			f.Close()
		}
		b.ReportMetric(float64(len(data))/1e6, "MB")
	})
	b.Run("import", func(b *testing.B) {
		for b.Loop() {
			if err := newLimiter(b, p).Import(start, data, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPublish measures attempts of strangers, and connections, while a feed is open and is taken.
func BenchmarkPublish(b *testing.B) {
	for _, open := range []bool{false, true} {
		b.Run(fmt.Sprint("feed=", open), func(b *testing.B) {
			l := newLimiter(b, unlimitedPolicy())
			octets, i, t := 0, 0, start
			if open {
				defer l.Feed().Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				t, i = t.Add(time.Microsecond), i+1
				a := Attempt{Addr: stranger(i % 10_000), Account: "u"}
				binary.BigEndian.PutUint64(a.Credential[8:], uint64(i))
				c, _ := l.Connect(t, a.Addr)
				logIn(l, t, a, Denied)
				c.Close(t)
				if open && i%16 == 0 {
					octets += len(l.feeds[0].Take(1 << 20))
				}
			}
			b.ReportMetric(float64(octets)/float64(max(i, 1)), "B/attempt")
		})
	}
}
