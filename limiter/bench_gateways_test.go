package limiter

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// BenchmarkAsk measures Ask alone, and the settling of its ticket apart: of strangers who guess at accounts that have
// credentials, and of known users at their usual place; without other gateways, and with two others, while the feeds are
// taken from or not. ns/ask is the median, which a busy machine changes least.
func BenchmarkAsk(b *testing.B) {
	const clients = 10_000
	for _, who := range []string{"known", "stranger"} {
		for _, mode := range []string{"off", "on", "on-drained", "alone"} {
			b.Run(who+"/"+mode, func(b *testing.B) {
				l, t := newLimiter(b, unlimitedPolicy()), start
				c := newClients(l, clients)
				for i := range c {
					logIn(l, t, c[i], Accepted)
				}
				denials, known := askMode(l, mode)
				t = t.Add(time.Minute)
				attempts := make([]Attempt, clients)
				for i := range attempts {
					attempts[i] = c[i]
					if who == "stranger" {
						attempts[i].Addr = stranger(clients + i)
						binary.BigEndian.PutUint64(attempts[i].Credential[8:], uint64(i)*0x9e3779b97f4a7c15)
						k := l.Ask(t, attempts[i])
						k.Settle(t, Denied)
					}
				}
				t = t.Add(2 * time.Minute)
				var asked []time.Duration // each time for 64
				i := 0
				var tickets [64]Ticket
				for b.Loop() { // 64 at a time
					begun := time.Now()
					for j := range tickets {
						t, i = t.Add(time.Microsecond), i+1
						tickets[j] = l.Ask(t, attempts[i%clients])
					}
					asked = append(asked, time.Since(begun))
					for j := range tickets {
						o := Void
						if who == "stranger" && j%8 == 0 {
							o = Denied
						}
						tickets[j].Settle(t, o)
					}
					if mode == "on-drained" {
						l.Acknowledge(denials.Take(1 << 20))
						known.Take(1 << 20)
					}
				}
				slices.Sort(asked)
				b.ReportMetric(float64(asked[len(asked)/2])/float64(len(tickets)), "ns/ask")
			})
		}
	}
}

// askMode makes l one of three gateways, unless mode is off.
func askMode(l *Limiter, mode string) (denials, known *Feed) {
	if mode == "off" {
		return nil, nil
	}
	l.SetSharing(start, Sharing{Gateways: 3, Alone: mode == "alone"})
	return l.ShareFeeds()
}

// BenchmarkSharedAttempt measures a login of a stranger that is denied, and one of a known user, from Ask to Settle.
func BenchmarkSharedAttempt(b *testing.B) {
	const clients = 10_000
	for _, who := range []string{"known", "stranger"} {
		for _, mode := range []string{"off", "on", "on-drained"} {
			b.Run(who+"/"+mode, func(b *testing.B) {
				l, t, i := newLimiter(b, unlimitedPolicy()), start, 0
				c := newClients(l, clients)
				for i := range c {
					logIn(l, t, c[i], Accepted)
				}
				denials, known := askMode(l, mode)
				t = t.Add(time.Minute)
				octets := 0
				b.ReportAllocs()
				for b.Loop() {
					t, i = t.Add(time.Microsecond), i+1
					a, o := c[i%clients], Accepted
					if who == "stranger" {
						a.Addr, o = stranger(clients+i%clients), Denied
						binary.BigEndian.PutUint64(a.Credential[8:], uint64(i))
					}
					logIn(l, t, a, o)
					if mode == "on-drained" && i%16 == 0 {
						events := denials.Take(1 << 20)
						l.Acknowledge(events)
						octets += len(events) + len(known.Take(1<<20))
					}
				}
				b.ReportMetric(float64(octets)/float64(max(i, 1)), "B/attempt")
			})
		}
	}
}
