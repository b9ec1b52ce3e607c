//go:build !race

package watch

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// An abuseSite simulates the accepted logins of the accounts of a site: those of each account in each tenth of an hour.
type abuseSite struct {
	*simulation
	habits   habits
	accounts []simAccount
	alarms   []time.Time
	on       bool
	most     int // abused in an hour
	times    func(w *abuseSite, account int) (factor float64, fresh int)
}

// A simAccount is an account. Its logins are at random.
type simAccount struct {
	rate float64 // logins an hour at the peak
	fast int     // steps left in which its program logs in 200 times an hour
}

// abuseStep is the time that is simulated at once.
const abuseStep = 6 * time.Minute

// newAbuseSite returns a site with 1,500 accounts for each login a second. Most of them log in once or twice an hour, one in
// 100 every minute.
func newAbuseSite(seed uint64, rate float64) *abuseSite {
	w := &abuseSite{simulation: newSimulation(seed, rate, monday, oslo), habits: newHabits()}
	w.accounts = make([]simAccount, int(1500*rate))
	for i := range w.accounts {
		r := min(0.9*math.Exp(1.2*w.rand.NormFloat64()), 80)
		if w.rand.IntN(100) == 0 {
			r = 60
		}
		w.accounts[i].rate = r
	}
	return w
}

// run simulates until end.
func (w *abuseSite) run(end time.Time) {
	for w.now.Before(end) {
		s := shape(w.now.In(w.location)) * abuseStep.Hours()
		for i := range w.accounts {
			a := &w.accounts[i]
			mean, fresh := a.rate*s, 0
			if a.fast > 0 {
				a.fast--
				mean = 200 * abuseStep.Hours()
			}
			if w.times != nil {
				var factor float64
				factor, fresh = w.times(w, i)
				mean *= factor
			}
			n := w.logins(mean)
			if n > 0 {
				if fresh == 0 && w.rand.IntN(50) == 0 {
					fresh = 1
				}
				w.habits.add(w.now, hashNumber(uint64(i)), n, min(fresh, n))
			}
		}
		if w.rand.Float64() < float64(len(w.accounts))/200_000 { // one in 20,000 accounts an hour, for up to 5 h
			w.accounts[w.rand.IntN(len(w.accounts))].fast = w.rand.IntN(50)
		}
		w.tickTo(w.now.Add(abuseStep))
	}
}

// logins returns a random number of logins.
func (w *abuseSite) logins(mean float64) int {
	if mean < 0.3 && w.rand.Float64() > mean {
		return 0
	} else if mean < 0.3 {
		return 1
	}
	return w.poisson(mean)
}

// tickTo ends the ticks until end.
func (w *abuseSite) tickTo(end time.Time) {
	for range 4 {
		on, n := w.habits.tick(end)
		w.most = max(w.most, n)
		if on && !w.on {
			w.alarms = append(w.alarms, end)
		}
		w.on = on
	}
	w.now = end
}

// harmless are events without abuse.
var harmless = []struct {
	name  string
	day   int
	hour  int
	lasts time.Duration
	times func(w *abuseSite, account int) (float64, int)
}{
	{"restart storm, 25-fold", 1, 14, 6 * time.Minute, func(*abuseSite, int) (float64, int) { return 25, 0 }},
	{"outage, all reconnect for 30 min", 2, 9, 30 * time.Minute, func(*abuseSite, int) (float64, int) { return 8, 0 }},
	{"a carrier renumbers a fifth, new networks all day", 3, 8, 12 * time.Hour, func(_ *abuseSite, i int) (float64, int) {
		if i%5 == 0 {
			return 1, 3
		}
		return 1, 0
	}},
	{"programs ask 40 % more often", 4, 0, 24 * time.Hour, func(*abuseSite, int) (float64, int) { return 1.4, 0 }},
	{"a tenth of the programs asks four times as often", 5, 0, 24 * time.Hour, func(_ *abuseSite, i int) (float64, int) {
		if i%10 == 0 {
			return 4, 0
		}
		return 1, 0
	}},
}

// quietWeek simulates a week with all of these.
func (w *abuseSite) quietWeek() {
	begin := w.now
	for i := range harmless {
		row := &harmless[i]
		w.run(begin.AddDate(0, 0, row.day).Add(time.Duration(row.hour) * time.Hour).Add(time.Duration(w.rand.IntN(20)) * abuseStep))
		w.times = row.times
		w.run(w.now.Add(row.lasts))
		w.times = nil
	}
	w.run(begin.AddDate(0, 0, 7))
}

// TestSimulationQuietWeeksAccountAbuse: weeks with harmless events and without an alarm.
func TestSimulationQuietWeeksAccountAbuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate         float64
		sites, weeks int
	}{{0.5, 10, 8}, {2, 10, 8}, {20, 2, 2}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			for site := range uint64(c.sites) {
				w := newAbuseSite(site, c.rate)
				w.now = w.now.AddDate(0, 0, int(site)) // the first day is another one
				for range c.weeks {
					w.quietWeek()
				}
				if len(w.alarms) > 0 {
					t.Errorf("site %d: alarms at %v", site, w.alarms)
				}
				t.Logf("%d abused at most, %.2f usual, 99.9 %% of the accounts up to %.0f", w.most, w.habits.usual, loginsAt(w.habits.top))
			}
		})
	}
}

// learnedAbuseSites are the sites that have learned, by run and rate; use copies.
var learnedAbuseSites = struct {
	sync.Mutex
	sites map[[2]float64]*abuseSite
}{sites: map[[2]float64]*abuseSite{}}

// learnedAbuseSite returns a copy of a site that has learned for eight days and some hours.
func learnedAbuseSite(run uint64, rate float64) *abuseSite {
	learnedAbuseSites.Lock()
	defer learnedAbuseSites.Unlock()
	key := [2]float64{float64(run), rate}
	w := learnedAbuseSites.sites[key]
	if w == nil {
		w = newAbuseSite(run+30, rate)
		w.run(monday.AddDate(0, 0, 8).Add(time.Duration(10+5*run) * time.Hour))
		learnedAbuseSites.sites[key] = w
	}
	c := *w
	c.simulation = w.fork()
	c.habits.table = slices.Clone(w.habits.table)
	c.accounts, c.alarms = slices.Clone(w.accounts), slices.Clone(w.alarms)
	return &c
}

// TestSimulationAccountAbuse prints how soon it is seen that stolen accounts are in use, and when the end is.
func TestSimulationAccountAbuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate     float64
		accounts int
		logins   float64 // an hour each
		fresh    int
		most     time.Duration
	}{
		{20, 1000, 300, 0, 30 * time.Minute},
		{20, 1000, 60, 0, time.Hour},
		{20, 1000, 60, 6, time.Hour},
		{20, 200, 60, 6, time.Hour},
		{2, 1000, 60, 6, time.Hour},
		{2, 100, 300, 0, time.Hour},
	} {
		t.Run(fmt.Sprint(c.rate, c.accounts, c.logins, c.fresh), func(t *testing.T) {
			t.Parallel()
			var alerts, ends []time.Duration
			for run := range 2 {
				w := learnedAbuseSite(uint64(run), c.rate)
				start := w.now.Add(time.Duration(run) * 48 * time.Minute)
				w.run(start)
				w.times = func(w *abuseSite, i int) (float64, int) {
					if i >= c.accounts {
						return 1, 0
					}
					return 1 + c.logins/w.accounts[i].rate/shape(w.now.In(w.location)), c.fresh
				}
				w.run(start.Add(8 * time.Hour))
				if len(w.alarms) != 1 || !w.on {
					t.Errorf("run %d: alarms at %v, on at the end: %v; %d abused at most", run, w.alarms, w.on, w.most)
					continue
				}
				alerts = append(alerts, w.alarms[0].Sub(start))
				w.times = nil
				over := w.now
				for w.on && w.now.Before(over.Add(12*time.Hour)) {
					w.run(w.now.Add(abuseStep))
				}
				ends = append(ends, w.now.Sub(over))
			}
			if len(alerts) == 0 {
				return
			}
			t.Logf("%.0f logins a second, %d accounts, %.0f logins an hour each: alert after %s min, end seen after %s min", c.rate, c.accounts, c.logins, medianOf(alerts), medianOf(ends))
			if slices.Max(alerts) > c.most {
				t.Errorf("alert after %v", slices.Max(alerts))
			}
		})
	}
}
