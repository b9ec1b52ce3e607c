package limiter

import (
	"testing"
	"time"
)

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

// After the end of a sibling nothing of it is open, and what it has spent remains spent.
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
	if b := former.own.feeds[next.own].Take(1000); b != nil || former.feeds != nil {
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

// A retired process has freed its memory, and still publishes what ends.
func TestRetiredStillPublishesWhatEnds(t *testing.T) {
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
