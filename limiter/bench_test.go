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

// forever is a policy that decides by every rule and never refuses, so that every iteration goes all the way.
func forever() Policy {
	p, r := site(), Rate{maxTokens, 100 * time.Millisecond} // callers may be some milliseconds apart
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

// crowd is many who log in again and again.
type crowd []Attempt

func newCrowd(l *Limiter, n int) (c crowd) {
	for i := range n {
		a := Attempt{Addr: stranger(i), Account: fmt.Sprintf("user%d@example.org", i)}
		a.Credential = l.Credential(a.Account, []byte("secret"))
		c = append(c, a)
	}
	return c
}

// logIn takes one attempt all the way.
func logIn(l *Limiter, t time.Time, a Attempt, o Outcome) {
	k := l.Ask(t, a)
	k.Enter(t, nil)
	k.Settle(t, o)
}

// BenchmarkAttempt is one login from Ask through Enter to Settle on a warm table of 10,000 clients: of strangers who are
// denied with ever the same password and with another each time, of known ones who are accepted, and of one who is
// refused.
func BenchmarkAttempt(b *testing.B) {
	const clients = 10_000
	run := func(name string, p Policy, o Outcome, change func(*Attempt, int)) {
		b.Run(name, func(b *testing.B) {
			l, t := newLimiter(b, p), start
			c := newCrowd(l, clients)
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
	p := forever()
	run("known", p, Accepted, func(*Attempt, int) {})
	run("repeat", p, Denied, func(*Attempt, int) {})
	run("stranger", p, Denied, func(a *Attempt, _ int) { a.Credential = Credential{} })
	run("guess", p, Denied, func(a *Attempt, i int) { binary.BigEndian.PutUint64(a.Credential[8:], uint64(i)) })
	p.Source = Rate{1, time.Hour}
	run("refused", p, Denied, func(a *Attempt, _ int) { a.Credential = Credential{} })
}

// BenchmarkAttemptParallel is the same with one and with eight callers at once; ns/op is the time from one to the next
// of all of them.
func BenchmarkAttemptParallel(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := newLimiter(b, forever())
			c := newCrowd(l, 10_000)
			for i := range c {
				logIn(l, start, c[i], Accepted)
			}
			before := runtime.GOMAXPROCS(min(callers, runtime.NumCPU()))
			defer runtime.GOMAXPROCS(before)
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			begun := time.Now()
			b.ResetTimer()
			var caller atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(caller.Add(1)) * 1000; pb.Next(); i++ {
					logIn(l, start.Add(time.Minute+time.Since(begun)), c[i%len(c)], Accepted)
				}
			})
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	l, t, i := newLimiter(b, forever()), start, 0
	b.ReportAllocs()
	for b.Loop() {
		t, i = t.Add(time.Microsecond), i+1
		v, _ := l.Connect(t, stranger(i%10_000))
		v.Close(t)
	}
}

func BenchmarkCredential(b *testing.B) {
	l, secret := newLimiter(b, site()), []byte("correct horse battery staple")
	b.ReportAllocs()
	for b.Loop() {
		l.Credential("alice@example.org", secret)
	}
}

// BenchmarkMillionSources has a million sources guess once, each another account, and reports what a table of them
// weighs, all their buckets included, and what one more attempt costs then.
func BenchmarkMillionSources(b *testing.B) {
	const sources = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := forever()
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
	weight := float64(after.HeapAlloc - before.HeapAlloc)
	b.ReportMetric(weight/1e6, "MB")
	b.ReportMetric(weight/entries, "B/bucket")
	runtime.KeepAlive(l)
}
