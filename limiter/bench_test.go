package limiter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// unlimitedPolicy returns a policy under which every rule applies and none refuses, so that every iteration runs all
// steps.
func unlimitedPolicy() Policy {
	p, r := defaultPolicy(), Rate{maxTokens, 100 * time.Millisecond} // goroutines may be some milliseconds apart
	p.Connect, p.Open, p.OpenPrelogin = r, 1<<30, 1<<30
	p.Source, p.Network, p.Pair, p.Account, p.Global = r, r, r, r, r
	p.TableMax = 4_000_000
	return p
}

// stranger returns the i-th of a great many sources, 256 to a network.
func stranger(i int) netip.Addr {
	six := [16]byte{0x20, 0x01}
	binary.BigEndian.PutUint64(six[:8], 0x2001<<48|uint64(i))
	return netip.AddrFrom16(six)
}

// clients are many clients that log in again and again.
type clients []Attempt

func newClients(l *Limiter, n int) (c clients) {
	for i := range n {
		a := Attempt{Addr: stranger(i), Account: fmt.Sprintf("user%d@example.org", i)}
		a.Credential = l.Credential(a.Account, []byte("secret"))
		c = append(c, a)
	}
	return c
}

// logIn runs all steps of one attempt.
func logIn(l *Limiter, t time.Time, a Attempt, o Outcome) {
	k := l.Ask(t, a)
	k.Enter(t, nil)
	k.Settle(t, o)
}

// BenchmarkAttempt measures one login from Ask through Enter to Settle on a table that has 10,000 clients: known ones
// that are accepted; strangers that are denied with the same password, without a secret, and with another password each
// time; and strangers that are refused.
func BenchmarkAttempt(b *testing.B) {
	const clients = 10_000
	run := func(name string, p Policy, o Outcome, change func(*Attempt, int)) {
		b.Run(name, func(b *testing.B) {
			l, t := newLimiter(b, p), start
			c := newClients(l, clients)
			for i := range c {
				logIn(l, t, c[i], o)
			}
			t, i := t.Add(time.Minute), 0
			b.ReportAllocs()
			for b.Loop() {
				t, i = t.Add(time.Microsecond), i+1
				a := c[i%clients]
				change(&a, i)
				logIn(l, t, a, o)
			}
		})
	}
	p := unlimitedPolicy()
	run("known", p, Accepted, func(*Attempt, int) {})
	run("repeat", p, Denied, func(*Attempt, int) {})
	run("stranger", p, Denied, func(a *Attempt, _ int) { a.Credential = Credential{} })
	run("guess", p, Denied, func(a *Attempt, i int) { binary.BigEndian.PutUint64(a.Credential[8:], uint64(i)) })
	p.Source = Rate{1, time.Hour}
	run("refused", p, Denied, func(a *Attempt, _ int) { a.Credential = Credential{} })
}

// BenchmarkAttemptParallel measures the same from one and from eight goroutines at once; ns/op is the time from one
// attempt to the next, whatever its goroutine.
func BenchmarkAttemptParallel(b *testing.B) {
	for _, goroutines := range []int{1, 8} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			l := newLimiter(b, unlimitedPolicy())
			c := newClients(l, 10_000)
			for i := range c {
				logIn(l, start, c[i], Accepted)
			}
			before := runtime.GOMAXPROCS(min(goroutines, runtime.NumCPU()))
			defer runtime.GOMAXPROCS(before)
			b.SetParallelism(max(1, goroutines/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			begun := time.Now()
			b.ResetTimer()
			var goroutine atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(goroutine.Add(1)) * 1000; pb.Next(); i++ {
					logIn(l, start.Add(time.Minute+time.Since(begun)), c[i%len(c)], Accepted)
				}
			})
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	l, t, i := newLimiter(b, unlimitedPolicy()), start, 0
	b.ReportAllocs()
	for b.Loop() {
		t, i = t.Add(time.Microsecond), i+1
		v, _ := l.Connect(t, stranger(i%10_000))
		v.Close(t)
	}
}

func BenchmarkCredential(b *testing.B) {
	l, secret := newLimiter(b, defaultPolicy()), []byte("correct horse battery staple")
	b.ReportAllocs()
	for b.Loop() {
		l.Credential("alice@example.org", secret)
	}
}

// BenchmarkMillionSources lets a million sources guess once and reports the memory of their buckets and the time of one
// more attempt.
func BenchmarkMillionSources(b *testing.B) {
	const sources = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := unlimitedPolicy()
	p.Source, p.Network = Rate{10, time.Hour}, Rate{100, time.Hour}
	p.Pair, p.Account, p.Global = Rate{}, Rate{}, Rate{}
	l := newLimiter(b, p)
	for i := range sources {
		logIn(l, start, Attempt{Addr: stranger(i)}, Denied)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	entries := float64(l.table.used.Load())
	i := sources
	b.ReportAllocs()
	for b.Loop() {
		i++
		logIn(l, start, Attempt{Addr: stranger(i)}, Denied)
	}
	memory := float64(after.HeapAlloc - before.HeapAlloc)
	b.ReportMetric(memory/1e6, "MB")
	b.ReportMetric(memory/entries, "B/bucket")
	runtime.KeepAlive(l)
}
