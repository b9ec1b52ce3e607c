package limiter

import (
	"fmt"
	"testing"
	"time"
)

// The tests in this file show what an attacker gains who knows when an upgrade takes place, and attacks both processes.

// Upgrades fill no bucket: neither one after the other, nor one that failed.
func TestUpgradesFillNoBucket(t *testing.T) {
	p := policy()
	p.Source = Rate{3, time.Hour}
	sr := runScript(t, p, "")
	g := newGeneration(sr.Limiter, 1)
	for i := range 3 {
		sr.run(t, fmt.Sprintf("%ds ask a 192.0.2.1", i))
		sr.run(t, fmt.Sprintf("%ds denied a", i))
		former := g
		if g = former.handOver(t, at(fmt.Sprintf("%ds", i)), p); i == 1 {
			g = former // the upgrade failed
		}
		sr = scriptRunner{g.Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	}
	sr.run(t, `
		4s    ask b 192.0.2.1  = refuse source
		15m   ask b 192.0.2.1  = refuse source
		20m   ask b 192.0.2.1  = wait 4s source
	`)
}

// Connections and challenges that an attacker keeps open at the former process still count at the new one, against their
// source only.
func TestWhatIsKeptOpenAtTheFormerProcessCounts(t *testing.T) {
	p := policy()
	p.Open, p.Source = 2, Rate{6, time.Hour}
	former, next := handOverScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  ask c 192.0.2.1      = pass none
		0s  ask d 192.0.2.1      = pass none
	`, "1s")
	next.then(t, "1s", `
		1s  connect e 192.0.2.1  = refuse open
		1s  connect f 192.0.2.2  = pass none
		1s  ask g 192.0.2.1      = again 250ms source
		1s  ask h 192.0.2.2      = pass none
		1s  void h
		1s  close f
	`)
	third := next.own.handOver(t, at("2s"), p)
	sr := scriptRunner{third.Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	sr.run(t, `
		3s  connect e 192.0.2.1  = refuse open
		3s  ask g 192.0.2.1      = again 250ms source
	`)
	former.run(t, `
		4s  close a
		4s  void c
		4s  denied d
	`)
	deliver(t, at("4s"), former.own, next.own, third)
	sr.run(t, `
		5s  connect e 192.0.2.1  = pass none
		5s  ask i 192.0.2.1      = wait 2s source
	`)
}

// A password that was tried at many accounts stays sprayed, and a source keeps its penalty: an upgrade
// improves no priority.
func TestUpgradeKeepsSpraysAndPenalties(t *testing.T) {
	p := defaultPolicy()
	p.Source = Rate{100, time.Minute}
	sr := runScript(t, p, "")
	for i := range 60 {
		sr.run(t, fmt.Sprintf("0s ask a 192.0.%d.1 user%d/x", i, i))
		sr.run(t, "0s denied a")
	}
	g := newGeneration(sr.Limiter, 1)
	next := scriptRunner{g.handOver(t, at("30m"), p).Limiter, map[string]*Ticket{}, map[string]*Connection{}}
	for _, l := range []scriptRunner{sr, next} {
		k := l.Ask(at("30m"), l.attempt("198.51.100.1", "someone/x"))
		if v := k.Verdict(); v.Action != Refuse && v.Action != Repeat || v.Rule != RuleSpray {
			k := l.Ask(at("30m"), l.attempt("198.51.100.1", "someone/x"))
			t.Errorf("got %+v, then %+v", v, k.Verdict())
		}
		k = l.Ask(at("30m"), l.attempt("192.0.7.1", "other/z"))
		if k.Priority().class != classPenalized {
			t.Errorf("got %v", k.Priority())
		}
	}
}
