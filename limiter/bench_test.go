package limiter

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// forever is a policy that decides and never refuses, so that every iteration goes all the way.
func forever() Policy {
	p := policy()
	p.Connect, p.Open, p.OpenPrelogin = Rate{maxTokens, time.Nanosecond}, 1<<30, 1<<30
	p.Source, p.Network, p.Global = Rate{maxTokens, time.Nanosecond}, Rate{maxTokens, time.Nanosecond}, Rate{maxTokens, time.Nanosecond}
	p.TableMax = 500_000
	return p
}

func BenchmarkConnect(b *testing.B) {
	l, t := newLimiter(b, forever()), start
	b.ReportAllocs()
	for b.Loop() {
		t = t.Add(time.Microsecond)
		v, _ := l.Connect(t, host(0))
		v.Leave(t)
	}
}

func BenchmarkConnectNewSources(b *testing.B) {
	l, t, i := newLimiter(b, policy()), start, 0
	b.ReportAllocs()
	for b.Loop() {
		t, i = t.Add(time.Microsecond), i+1
		if v, _ := l.Connect(t, host(i)); v != nil {
			v.Leave(t)
		}
	}
}

func BenchmarkAskSettle(b *testing.B) {
	for _, o := range []Outcome{Accepted, Denied} {
		b.Run(o.String(), func(b *testing.B) {
			l, t := newLimiter(b, forever()), start
			b.ReportAllocs()
			for b.Loop() {
				t = t.Add(time.Microsecond)
				attempt(l, t, host(0), o)
			}
		})
	}
}

func BenchmarkAskRefused(b *testing.B) {
	p := policy()
	p.Source = Rate{1, time.Hour}
	l := newLimiter(b, p)
	l.Ask(start, Attempt{Addr: host(0)})
	b.ReportAllocs()
	for b.Loop() {
		l.Ask(start, Attempt{Addr: host(0)})
	}
}

func BenchmarkAskSettleParallel(b *testing.B) {
	l := newLimiter(b, forever())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			attempt(l, start, host(0), Accepted)
		}
	})
}

// BenchmarkFullTable asks for sources that find no room, and reports what a table full of denials weighs.
func BenchmarkFullTable(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := newLimiter(b, forever())
	l.policy.Source, l.policy.Network = Rate{10, time.Hour}, Rate{100, time.Hour}
	six := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	stranger := func(i int) netip.Addr {
		six[5], six[6], six[7] = byte(i>>16), byte(i>>8), byte(i)
		return netip.AddrFrom16(six)
	}
	for i := range l.policy.TableMax {
		attempt(l, start, stranger(i), Denied)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	i := l.policy.TableMax
	b.ReportAllocs()
	for b.Loop() {
		i++
		attempt(l, start, stranger(i), Denied)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(l.policy.TableMax), "B/entry")
}
