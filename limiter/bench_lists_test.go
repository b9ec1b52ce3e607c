package limiter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkLists measures Connect with Close, and a login of a known user, while the lists are empty and while each has
// 10,000 networks of three lengths, none of which has the client.
func BenchmarkLists(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		var of Lists
		for i := range n {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 0x0a00_0000+uint32(i)<<8)
			p, _ := netip.AddrFrom4(a).Prefix([...]int{16, 24, 32}[i%3])
			a[0] = 11
			q, _ := netip.AddrFrom4(a).Prefix([...]int{16, 24, 32}[i%3])
			of.Blocked, of.Allowed = append(of.Blocked, p), append(of.Allowed, q)
		}
		l := newLimiter(b, unlimitedPolicy())
		l.SetLists(of)
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}) }
		b.Run(fmt.Sprint("lookup/", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				i++
				l.Blocked(addr(i))
			}
		})
		b.Run(fmt.Sprint("connect/", n), func(b *testing.B) {
			t, i := start, 0
			b.ReportAllocs()
			for b.Loop() {
				t, i = t.Add(time.Microsecond), i+1
				c, _ := l.Connect(t, addr(i%10_000))
				c.Close(t)
			}
		})
		b.Run(fmt.Sprint("known/", n), func(b *testing.B) {
			all := newClients(l, 10_000)
			for i := range all {
				all[i].Addr = addr(i)
				logIn(l, start, all[i], Accepted)
			}
			t, i := start.Add(time.Minute), 0
			b.ReportAllocs()
			for b.Loop() {
				t, i = t.Add(time.Microsecond), i+1
				logIn(l, t, all[i%len(all)], Accepted)
			}
		})
	}
}

// BenchmarkSetLists replaces lists of 10,000 networks each.
func BenchmarkSetLists(b *testing.B) {
	var of Lists
	for i := range 10_000 {
		p, _ := host(i).Prefix([...]int{16, 24, 32}[i%3])
		of.Blocked, of.Allowed = append(of.Blocked, p), append(of.Allowed, p)
	}
	l := newLimiter(b, policy())
	for b.Loop() {
		l.SetLists(of)
	}
}
