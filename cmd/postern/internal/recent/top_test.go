package recent

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// row is a Row in one line.
func row(r Row) string {
	return fmt.Sprintf("%s: %d attempts, %d accepted, %d denied, %d refused, %d waited, %d others, rule %q, %v to %v, known %v",
		r.Name, r.Attempts, r.Accepted, r.Denied, r.Refused, r.Waited, r.Others, r.Rule, r.First.Sub(start), r.Last.Sub(start), r.Known)
}

// lines are rows in lines.
func lines(rows []Row) (all []string) {
	for _, r := range rows {
		all = append(all, row(r))
	}
	return all
}

func TestTop(t *testing.T) {
	m := New(start)
	late := denied("s", "192.0.2.7", "kari")
	late.Verdict, late.Waited = limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource, Wait: time.Second}, time.Second
	for _, step := range []struct {
		at time.Duration
		a  proxy.Attempt
	}{
		{0, denied("s", "192.0.2.7", "old")}, // before the window
		{10 * time.Minute, denied("s", "192.0.2.7", "anna")},
		{10*time.Minute + time.Second, late},
		{10*time.Minute + 2*time.Second, refused("s", "192.0.2.7", "KARI", limiter.RuleSource)},
		{10*time.Minute + 3*time.Second, refused("s", "192.0.2.7", "kari", limiter.RuleGlobal)},
		{10*time.Minute + 4*time.Second, refused("s", "192.0.2.9", "kari", limiter.RuleGlobal)},
		{10*time.Minute + 5*time.Second, user(accepted("s", "192.0.2.9", "kari"))},
		{10*time.Minute + 6*time.Second, denied("s", "2001:db8:1:2::3", "kari")},
		{10*time.Minute + 7*time.Second, denied("s", "2001:db8:1:2::4", "kari")},
		{10*time.Minute + 8*time.Second, accepted("s", "203.0.113.1", "nobody")}, // nothing but accepted
	} {
		m.Attempt(at(step.at), step.a, "")
	}
	m.Record(at(10*time.Minute+9*time.Second), proxy.Record{
		ID: "s", Client: netip.MustParseAddrPort("192.0.2.7:1"), End: proxy.EndRefused, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleConnect},
	}, "")
	got := m.Top(at(10*time.Minute+10*time.Second), 5*time.Minute, 2)
	for name, tt := range map[string]struct {
		got  []Row
		want []string
	}{
		"sources": {got.Sources, []string{
			`192.0.2.7: 5 attempts, 0 accepted, 2 denied, 3 refused, 1 waited, 2 others, rule "source", 10m0s to 10m9s, known false`,
			`2001:db8:1:2::/64: 2 attempts, 0 accepted, 2 denied, 0 refused, 0 waited, 1 others, rule "", 10m6s to 10m7s, known false`,
		}},
		"networks": {got.Networks, []string{
			`192.0.2.0/24: 7 attempts, 1 accepted, 2 denied, 4 refused, 1 waited, 2 others, rule "source", 10m0s to 10m9s, known true`,
			`2001:db8:1::/48: 2 attempts, 0 accepted, 2 denied, 0 refused, 0 waited, 1 others, rule "", 10m6s to 10m7s, known false`,
		}},
		"accounts": {got.Accounts, []string{
			`kari: 7 attempts, 1 accepted, 3 denied, 3 refused, 1 waited, 2 others, rule "source", 10m1s to 10m7s, known true`,
			`anna: 1 attempts, 0 accepted, 1 denied, 0 refused, 0 waited, 1 others, rule "", 10m0s to 10m0s, known false`,
		}},
	} {
		if !reflect.DeepEqual(lines(tt.got), tt.want) {
			t.Errorf("%s: got\n%q\nwant\n%q", name, lines(tt.got), tt.want)
		}
	}
	if none := m.Top(at(time.Hour), time.Minute, 10); len(none.Sources)+len(none.Networks)+len(none.Accounts) != 0 || none.Sources == nil {
		t.Errorf("got %+v after an hour, want empty lists", none)
	}
}

// TestTopOfFlood finds those with most attempts among as many sources and accounts as there are events.
func TestTopOfFlood(t *testing.T) {
	m := shared()
	for i := range 40 {
		m.Attempt(at(time.Minute), denied("abcdef-1", fmt.Sprint("192.0.2.", i%4), fmt.Sprint("victim", i%2)), "")
	}
	got := m.Top(at(time.Minute), 5*time.Minute, 2) // of four sources and two accounts with as many attempts
	if len(got.Sources) != 2 || !strings.HasPrefix(got.Sources[0].Name, "192.0.2.") || got.Sources[0].Attempts != 10 || got.Sources[0].Others != 1 {
		t.Errorf("sources: got %q", lines(got.Sources))
	}
	if len(got.Networks) != 2 || got.Networks[0].Name != "192.0.2.0/24" || got.Networks[0].Attempts != 40 || got.Networks[0].Others != 2 {
		t.Errorf("networks: got %q", lines(got.Networks))
	}
	if len(got.Accounts) != 2 || !strings.HasPrefix(got.Accounts[0].Name, "victim") || got.Accounts[0].Attempts != 20 || got.Accounts[0].Others != 1 {
		t.Errorf("accounts: got %q", lines(got.Accounts))
	}
}

// full returns a Memory that is full with attempts, each of another source and account, or of one source if single.
func full(single bool) *Memory {
	m := New(start)
	stranger := refused("", "192.0.2.7", "", limiter.RuleSource)
	known, good := user(refused("", "192.0.2.7", "", limiter.RulePair)), user(accepted("cdefgh-1", "192.0.2.7", ""))
	for i := range usersMax {
		when, number := at(time.Duration(i)*time.Millisecond/2), strconv.Itoa(i)
		if !single {
			stranger.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 8), byte(i >> 16)}), 1)
		}
		stranger.Session, stranger.Account = "abcdef-"+number, "user"+number+"@example.org"
		m.Attempt(when, stranger, "denials of the source; POSTERN_LIMIT_SOURCE")
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x20010db800000000+uint64(i)<<16)
		known.Client, known.Session, known.Account = netip.AddrPortFrom(netip.AddrFrom16(b), 1), "bcdefg-"+number, stranger.Account
		m.Attempt(when, known, "5 of 5 denials of the source on the account spent; POSTERN_LIMIT_PAIR")
		if i < acceptedMax {
			good.Client, good.Account = stranger.Client, stranger.Account
			m.Attempt(when, good, "")
		}
	}
	return m
}

// shared is a full Memory for tests that only add a little to it.
var shared = sync.OnceValue(func() *Memory { return full(false) })

// TestMemoryIsBounded: all rings and the tables of Top are below 40 MB.
func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := full(false)
	m.Top(at(time.Minute), 5*time.Minute, 20)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := m.users.next - m.users.first + m.others.next - m.others.first; n != usersMax+othersMax {
		t.Errorf("got %d events, want %d", n, usersMax+othersMax)
	}
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%.1f MB", float64(used)/1e6)
	if used > 40<<20 {
		t.Errorf("got %d octets, want at most 40 MB", used)
	}
	runtime.KeepAlive(m)
}

// TestConcurrentUse lets attempts, records and all questions meet.
func TestConcurrentUse(t *testing.T) {
	m := New(start)
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 1000 {
				when := at(time.Duration(i) * time.Millisecond)
				a := refused(fmt.Sprint("abcdef-", i), fmt.Sprint("192.0.2.", i%250), fmt.Sprint("user", g), limiter.RuleSource)
				a.Method = fmt.Sprint("METHOD", i%100)
				m.Attempt(when, a, "source")
				m.Attempt(when, user(a), "source")
				m.Record(when, proxy.Record{ID: "abcdef-1", Client: a.Client, End: proxy.EndTimeout}, "")
			}
		})
	}
	for range 2 {
		running.Go(func() {
			for range 5 {
				m.Top(at(3*time.Second), time.Minute, 10)
				m.Find("abcdef-7")
				m.Pairs(Query{Account: "user1"}, 100)
				m.Series(at(3*time.Second), 0)
				if err := New(start).Import(m.Export()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
}

func BenchmarkAttempt(b *testing.B) {
	for name, a := range map[string]proxy.Attempt{
		"stranger": refused("abcdef-1", "192.0.2.7", "anna.karenina@example.org", limiter.RuleSource),
		"user":     user(refused("abcdef-1", "192.0.2.7", "anna.karenina@example.org", limiter.RulePair)),
		"accepted": user(accepted("abcdef-1", "192.0.2.7", "anna.karenina@example.org")),
	} {
		b.Run(name, func(b *testing.B) {
			m := full(false)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				m.Attempt(at(time.Minute+time.Duration(i)), a, "5 of 5 denials of the source on the account spent, full again in 9m58s; POSTERN_LIMIT_PAIR")
			}
		})
	}
}

// processorTime is what this process has used, which does not depend on others.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkTop(b *testing.B) {
	for name, single := range map[string]bool{"one source": true, "many sources": false} {
		b.Run(name, func(b *testing.B) {
			m := full(single)
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			for range b.N {
				m.Top(at(time.Minute), 5*time.Minute, 50)
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkFind(b *testing.B) {
	m := full(false)
	b.ResetTimer()
	for range b.N {
		if len(m.Find("abcdef-7")) != 1 {
			b.Fatal("not found")
		}
	}
}

func BenchmarkExport(b *testing.B) {
	m := full(false)
	b.ResetTimer()
	for range b.N {
		b.SetBytes(int64(len(m.Export())))
	}
}

func BenchmarkImport(b *testing.B) {
	export := full(false).Export()
	b.ResetTimer()
	for range b.N {
		if err := New(start).Import(export); err != nil {
			b.Fatal(err)
		}
	}
}
