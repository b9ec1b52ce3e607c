package limiter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// town returns a limiter that knows n accounts, and how the i-th of them logs in.
func town(t testing.TB, n int) (*Limiter, func(i int) Attempt) {
	l := newLimiter(t, site())
	of := func(i int) Attempt {
		name := fmt.Sprint("user", i)
		return Attempt{Addr: host(i), Account: name, Credential: l.Credential(name, []byte("secret"))}
	}
	for i := range n {
		k := l.Ask(at("-25h"), of(i))
		k.Settle(at("-25h"), Accepted)
	}
	return l, of
}

func TestSnapshotOutlivesARestart(t *testing.T) {
	old, of := town(t, 500)
	snapshot := old.Snapshot(start)
	l := newLimiter(t, site())
	if err := l.Restore(start, snapshot); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		a := of(i)
		a.Addr = host(100_000) // a traveller
		if k := l.Ask(start, a); !k.subject.trust.credential {
			t.Fatalf("user %d is not known by credential", i)
		}
		a = of(i)
		a.Credential = Credential{}
		if k := l.Ask(start, a); !k.subject.trust.source || !k.subject.trust.network || !l.KnownSource(start, a.Addr) {
			t.Fatalf("user %d is not known by address", i)
		}
	}
	if s := l.Stats(start); s.Known != 500 || !s.Learned {
		t.Errorf("%+v", s)
	}
	if again := l.Snapshot(start); len(again) != len(snapshot) {
		t.Errorf("a snapshot of what was restored has %d octets, the first had %d", len(again), len(snapshot))
	}
	if err := l.Restore(start, snapshot); err != nil || l.Stats(start).Known != 500 {
		t.Errorf("restored again: %v, %+v", err, l.Stats(start))
	}
}

func TestSnapshotGrowsOld(t *testing.T) {
	old, of := town(t, 10)
	snapshot := old.Snapshot(start)
	for _, tc := range []struct {
		at    string
		known bool
	}{{"-1000h", true}, {"694h", true}, {"696h", false}, {"500000h", false}} { // accepted 25 h before the start
		l := newLimiter(t, site())
		if err := l.Restore(at(tc.at), snapshot); err != nil {
			t.Errorf("%s: %v", tc.at, err)
		}
		if k := l.Ask(at(tc.at), of(3)); k.Verdict().Known != tc.known {
			t.Errorf("%s: %+v", tc.at, k.Verdict())
		}
	}
}

func TestSnapshotDoesNotOverruleWhatIsKnown(t *testing.T) {
	old, of := town(t, 1)
	snapshot := old.Snapshot(start)
	l := newLimiter(t, site())
	a := of(0)
	a.Credential = l.Credential(a.Account, []byte("new"))
	k := l.Ask(start, a)
	k.Settle(start, Accepted)
	if err := l.Restore(start, snapshot); err != nil {
		t.Fatal(err)
	}
	if k := l.Ask(start, of(0)); k.subject.trust.credential {
		t.Error("a password that was changed is known again")
	}
}

func TestRestoreRefuses(t *testing.T) {
	old, of := town(t, 20)
	good := old.Snapshot(start)
	damaged := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	another, err := New(site(), Key{9})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		snapshot []byte
		says     string
	}{
		"nothing":      {nil, "none of this version"},
		"text":         {[]byte("postern known 2"), "none of this version"},
		"head alone":   {good[:snapshotHead], "damaged"},
		"cut":          {good[:len(good)-1], "damaged"},
		"longer":       {append(bytes.Clone(good), 0), "damaged"},
		"bit of mark":  {damaged(snapshotHead + 20), "damaged"},
		"bit of end":   {damaged(len(good) - 1), "damaged"},
		"another key":  {another.Snapshot(start), "another key"},
		"count wrong":  {reseal(old, good, func(b []byte) { b[snapshotHead-1]++ }), "is damaged"},
		"marks beyond": {reseal(old, good, func(b []byte) { b[snapshotHead+16] = 200 }), "is damaged"},
		"mark of zero": {reseal(old, good, func(b []byte) { b[snapshotHead+17], b[snapshotHead+18] = 0, 0 }), "is damaged"},
	} {
		l := newLimiter(t, site())
		err := l.Restore(start, tc.snapshot)
		if err == nil || !strings.HasPrefix(err.Error(), "snapshot of the known: ") || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
		if k := l.Ask(start, of(0)); k.Verdict().Known || l.Stats(start).Known != 0 {
			t.Errorf("%s: something was taken from it", name)
		}
	}
}

// reseal returns snapshot changed and sealed as if l had made it so.
func reseal(l *Limiter, snapshot []byte, change func([]byte)) []byte {
	b := bytes.Clone(snapshot[:len(snapshot)-32])
	change(b)
	return append(b, l.seal(b)...)
}

func TestSnapshotIsBounded(t *testing.T) {
	old, _ := town(t, 200)
	p := site()
	p.TableMax = 50
	l := newLimiter(t, p)
	if err := l.Restore(start, old.Snapshot(start)); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(start); s.Known != 50 {
		t.Errorf("%+v", s)
	}
}

// Whatever stands in a snapshot with the right seal: it is refused as a whole, or what is restored is snapshot and
// restored again. body is what stands behind the head.
func FuzzRestore(f *testing.F) {
	old, _ := town(f, 3)
	f.Add(uint32(3), uint32(455_000), old.Snapshot(start)[snapshotHead:])
	f.Fuzz(func(t *testing.T, n, made uint32, body []byte) {
		b := append([]byte(snapshotMagic), make([]byte, 12)...)
		binary.BigEndian.PutUint32(b[len(snapshotMagic):], made)
		binary.BigEndian.PutUint32(b[snapshotHead-4:], n)
		b = append(b, body...)
		l := newLimiter(t, site())
		if err := l.Restore(start, append(b, l.seal(b)...)); err != nil {
			if l.known.accounts.Load() != 0 {
				t.Fatalf("accounts of a snapshot that was refused: %v", err)
			}
			return
		}
		again := newLimiter(t, site())
		if err := again.Restore(start, l.Snapshot(start)); err != nil {
			t.Fatalf("what was restored makes a snapshot that %v", err)
		}
		if a, b := l.known.accounts.Load(), again.known.accounts.Load(); a != b || a > int64(n) {
			t.Fatalf("%d accounts, then %d, of %d", a, b, n)
		}
	})
}

// A snapshot of a large site takes a moment, not a minute.
func BenchmarkSnapshot(b *testing.B) {
	l, _ := town(b, 1)
	for i := range 100_000 {
		l.known.learn(start, key{uint64(i) * 0x9e3779b97f4a7c15, uint64(i)}, fingerprints{7, uint32(i + 1), uint32(i + 1)}, keptFor(start, 720*time.Hour), 500_000)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(l.Snapshot(start))))
	}
}
