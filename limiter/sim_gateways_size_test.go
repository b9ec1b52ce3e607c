//go:build !race

package limiter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"postern/limiter/traffic"
)

// A mix is what one login adds to the streams on average, and what it costs a reader.
type mix struct {
	name   string
	octets [streams]float64
	events float64
	apply  time.Duration // for the events of one login, at one reader
}

// measureMix measures a site of three gateways for a while under an attack.
func measureMix(t *testing.T, name string, attacks ...traffic.Attack) mix {
	g := traffic.New(1, traffic.Normal, attackStart, attacks...)
	s, site := newSimulationOfSite(t, 3, policy(), g)
	s.run(attackStart.Add(20 * time.Second))
	m, batches, logins := mix{name: name}, []batch{}, 0.
	site.sentBatch = func(b batch) {
		m.octets[b.stream] += float64(len(b.events))
		m.events += float64(eventsIn(b.events))
		batches = append(batches, b)
	}
	s.results.from, s.results.until = s.now, s.now.Add(20*time.Second)
	s.run(s.results.until)
	for _, c := range s.results.byClass {
		logins += float64(c.tries)
	}
	m.apply = applyTime(t, batches, logins)
	for stream := range m.octets {
		m.octets[stream] /= logins
	}
	m.events /= logins
	return m
}

// applyTime returns how long a reader takes for batches, divided by logins: the best of three times.
func applyTime(t *testing.T, batches []batch, logins float64) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		reader, began := newLimiter(t), time.Now()
		for _, b := range batches {
			if err := reader.ApplyShared(b.made, b.events); err != nil {
				t.Fatal(err)
			}
		}
		best = min(best, time.Since(began))
	}
	return time.Duration(float64(best) / logins)
}

// eventsIn returns how many events b has: each begins with its length, which is below 128 octets for all but snapshots.
func eventsIn(b []byte) (n int) {
	for len(b) > 0 {
		n++
		b = b[min(1+int(b[0]), len(b)):]
	}
	return n
}

// What a gateway sends: a batch of either stream at regular times if there is something to send.
const (
	knownTime      = 100 * time.Millisecond // of the stream of the known
	batchMax       = 32 << 10
	batchOverhead  = 160 // header, seal, command and entry
	heartbeatSize  = 200
	mostAddsSecond = 50
)

// What operations of Redis 7.0 and Valkey 8.0 cost the one core of an engine, on the machine of the developers: as measured
// with batches of 300 octets to 32 KB and up to 64 readers, rounded up.
const (
	addCost       = 35 * time.Microsecond
	addCostKB     = 6 * time.Microsecond
	readCost      = 30 * time.Microsecond
	readCostKB    = 1500 * time.Nanosecond
	openCost      = 2 * time.Microsecond // of a batch, at a gateway; and sealing likewise
	openCostKB    = 400 * time.Nanosecond
	readPause     = 20 * time.Millisecond // between two reads of a gateway that does not read at once
	simulatedTime = 10 * time.Second
)

// A load is what a site does to its engine and its gateways, each second.
type load struct {
	adds      float64 // of one gateway
	in        float64 // octets into the engine
	behind    float64 // octets that no batch has taken, of one gateway
	allAdds   float64
	readsOnce float64 // of all gateways, if each reads as soon as there is something
	reads     float64 // if each pauses between two reads
}

// loadOf simulates what n gateways send at so many logins a second in all.
func (m mix) loadOf(n int, logins float64) (l load) {
	rnd := rand.New(rand.NewPCG(16, uint64(n)))
	seconds := simulatedTime.Seconds()
	waiting := make([][streams]float64, n)
	most := 0
	for i := range waiting {
		adds := 0
		for now := time.Duration(0); now < simulatedTime; now += batchTime {
			for stream, perLogin := range m.octets {
				perBatch := logins / float64(n) * batchTime.Seconds()
				waiting[i][stream] += poisson(rnd, perBatch) * perLogin
			}
			if now%heartbeatTime == 0 {
				waiting[i][knownStream] += heartbeatSize
			}
			for stream := range waiting[i] {
				w := &waiting[i][stream]
				if *w < 1 || stream == knownStream && now%knownTime != 0 {
					continue
				}
				taken := min(*w, batchMax)
				*w -= taken
				adds++
				l.in += (taken + batchOverhead) / seconds
			}
		}
		most = max(most, adds)
		l.allAdds += float64(adds) / seconds
		l.behind = max(l.behind, waiting[i][denialStream]+waiting[i][knownStream])
	}
	l.adds = float64(most) / seconds
	l.readsOnce = float64(n) * l.allAdds
	l.reads = float64(n) * min(l.allAdds, float64(time.Second/readPause))
	return l
}

// poisson returns a random number of events of which mean are expected.
func poisson(rnd *rand.Rand, mean float64) float64 {
	return max(0, math.Round(mean+math.Sqrt(mean)*rnd.NormFloat64()))
}

// engine returns the part of the core of the engine that l takes with n gateways, if they make so many reads.
func (l load) engine(n int, reads float64) float64 {
	kb := l.in / 1024
	add := l.allAdds*addCost.Seconds() + kb*addCostKB.Seconds()
	return add + reads*readCost.Seconds() + float64(n)*kb*readCostKB.Seconds()
}

// gateway returns the part of a core that a gateway takes for its own batches and those of all.
func (l load) gateway(m mix, logins float64) float64 {
	return l.allAdds*openCost.Seconds() + l.in/1024*openCostKB.Seconds() + logins*m.apply.Seconds()
}

// TestSimulationGatewaysSize prints a table: what sites of many gateways do to the engine, quiet and under attack. No gateway
// adds to the streams more than 50 times a second.
func TestSimulationGatewaysSize(t *testing.T) {
	t.Parallel()
	mixes := []mix{
		measureMix(t, "quiet"),
		measureMix(t, "attack", traffic.Steady(traffic.Wide, 10*time.Second, 10)),
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mix\tgateways\tlogins/s\tadds/s each\tadds/s\tMB/s in\tMB/s out\treads/s\tengine\treads/s paused\tengine\tgateway\tbehind KB\t")
	for _, m := range mixes {
		t.Logf("%s: %.1f octets of denials and %.1f of the known a login, in %.2f events, which take a reader %v", m.name, m.octets[denialStream], m.octets[knownStream], m.events, m.apply)
		for _, n := range []int{2, 3, 8, 16, 32, 64} {
			for _, logins := range []float64{200, 1000, 10_000, 50_000} {
				l := m.loadOf(n, logins)
				fmt.Fprintf(w, "%s\t%d\t%.0f\t%.1f\t%.0f\t%.2f\t%.1f\t%.0f\t%.0f%%\t%.0f\t%.0f%%\t%.1f%%\t%.0f\t\n", m.name, n, logins, l.adds, l.allAdds,
					l.in/1e6, float64(n)*l.in/1e6, l.readsOnce, 100*l.engine(n, l.readsOnce), l.reads, 100*l.engine(n, l.reads), 100*l.gateway(m, logins), l.behind/1024)
				if l.adds > mostAddsSecond {
					t.Errorf("%s, %d gateways, %.0f logins/s: a gateway adds %.1f times a second, want at most %d", m.name, n, logins, l.adds, mostAddsSecond)
				}
			}
		}
	}
	w.Flush()
	t.Log("\n" + table.String())
}
