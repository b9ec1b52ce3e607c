package incidents

import (
	"net/netip"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// faultMost is the longest time from the recovery of a backend, or from a restart
// of postern, to the end of a suspected fault.
const faultMost = 7 * time.Minute

// TestSuspectedFaultEnds: when Dovecot restarts, some logins fail, and a fault is
// suspected. It ends by itself within minutes, also if postern is restarted
// meanwhile, and the next one is the same incident with a beginning of its own.
func TestSuspectedFaultEnds(t *testing.T) {
	for name, restart := range map[string]bool{"without": false, "with": true} {
		c := Config{Dir: t.TempDir()}
		m, _ := newManager(t, c)
		m.watch.Assume(noon, watch.Signals{Logins: 60})
		clock := noon
		run := func(lasts time.Duration, failing int) {
			for end := clock.Add(lasts); clock.Before(end); clock = clock.Add(time.Second) {
				a := watch.Attempt{Source: netip.MustParsePrefix("192.0.2.1/32"), Network: netip.MustParsePrefix("192.0.2.0/24"), Account: "anna", Known: true, Outcome: watch.Accepted}
				if clock.Second()%10 < failing {
					a.Outcome = watch.Fault
				}
				m.Attempt(clock, a)
				m.tick(clock)
			}
		}
		run(10*time.Minute, 0)
		run(time.Minute, 2)
		i, open := m.Open()
		if !open || i.Phase != incident.Suspected || i.Class != watch.ClassBackendFault {
			t.Fatalf("%s a restart: incident %+v", name, i)
		}
		if restart {
			run(time.Minute, 0)
			m.save(clock)
			m, _ = newManager(t, c)
		}
		run(faultMost, 0)
		if i, open := m.Open(); open {
			t.Errorf("%s a restart: open %v after the recovery: %+v", name, faultMost, i)
		}
		again := clock
		run(time.Minute, 2)
		i, open = m.Open()
		if all := m.All(); !open || len(all) != 1 || i.Started.Before(again) {
			t.Errorf("%s a restart: %d incidents, the latest %+v", name, len(all), i)
		}
	}
}
