package limiter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// knownUsers returns a limiter that knows n accounts, and a function that returns the attempt of the i-th of them.
func knownUsers(t testing.TB, n int) (*Limiter, func(i int) Attempt) {
	l := newLimiter(t, defaultPolicy())
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

func TestSnapshotSurvivesARestart(t *testing.T) {
	old, of := knownUsers(t, 500)
	snapshot := old.Snapshot(start)
	l := newLimiter(t, defaultPolicy())
	if err := l.Restore(start, snapshot); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		a := of(i)
		a.Addr = host(100_000) // from elsewhere
		k := l.Ask(start, a)
		if !k.subject.trust.credential {
			t.Fatalf("user %d is not known by credential", i)
		}
		k.Settle(start, Void)
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
		t.Errorf("a snapshot of the restored table has %d octets, want %d", len(again), len(snapshot))
	}
	if err := l.Restore(start, snapshot); err != nil || l.Stats(start).Known != 500 {
		t.Errorf("restored again: %v, %+v", err, l.Stats(start))
	}
}

// A former credential is one after a restart, too, and that the latest one was denied is known. Version 2 has neither.
func TestSnapshotHasFormerCredential(t *testing.T) {
	old := newLimiter(t, defaultPolicy())
	account, v := old.hasher.account("u"), validityAt(start, 720*time.Hour)
	was := knownAccount{former: 7, deniedAt: v.now - 3}
	was.sources[0], was.sourceAt[0] = 5, v.now
	was.credentials[0], was.credentialAt[0] = 8, v.now
	old.known.restore(account, &was, v, 10)
	snapshot := old.Snapshot(start)
	l := newLimiter(t, defaultPolicy())
	if err := l.Restore(start.Add(2*time.Hour), snapshot); err != nil {
		t.Fatal(err)
	}
	if a := l.known.shard(account).find(account); a.former != 7 || a.deniedAt != was.deniedAt || a.credentials != was.credentials {
		t.Errorf("got %+v, want %+v", a, was)
	}
	at := snapshotHead + 16 + 1 + 4 // after the key and one credential
	body := append([]byte(snapshotMagicV2), snapshot[len(snapshotMagic):at]...)
	body = append(body, snapshot[at+4:len(snapshot)-sha256.Size]...)
	l = newLimiter(t, defaultPolicy())
	if err := l.Restore(start, append(body, l.checksum(body)...)); err != nil {
		t.Fatal(err)
	}
	if a := l.known.shard(account).find(account); a.former != 0 || a.deniedAt != 0 || a.credentials != was.credentials || a.sources != was.sources {
		t.Errorf("version 2: got %+v", a)
	}
}

func TestSnapshotExpires(t *testing.T) {
	old, of := knownUsers(t, 10)
	snapshot := old.Snapshot(start)
	for _, tc := range []struct {
		at    string
		known bool
	}{{"-1000h", true}, {"694h", true}, {"696h", false}, {"500000h", false}} { // accepted at -25h
		l := newLimiter(t, defaultPolicy())
		if err := l.Restore(at(tc.at), snapshot); err != nil {
			t.Errorf("%s: %v", tc.at, err)
		}
		if k := l.Ask(at(tc.at), of(3)); k.Verdict().Known != tc.known {
			t.Errorf("%s: %+v", tc.at, k.Verdict())
		}
	}
}

func TestRestoreKeepsNewerKnowledge(t *testing.T) {
	old, of := knownUsers(t, 1)
	snapshot := old.Snapshot(start)
	l := newLimiter(t, defaultPolicy())
	a := of(0)
	a.Credential = l.Credential(a.Account, []byte("new"))
	k := l.Ask(start, a)
	k.Settle(start, Accepted)
	if err := l.Restore(start, snapshot); err != nil {
		t.Fatal(err)
	}
	if k := l.Ask(start, of(0)); k.subject.trust.credential {
		t.Error("a changed password is known again")
	}
}

func TestRestoreRefuses(t *testing.T) {
	old, of := knownUsers(t, 20)
	good := old.Snapshot(start)
	damaged := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	another, err := New(defaultPolicy(), Key{9})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		snapshot []byte
		want     string
	}{
		"nothing":              {nil, "unknown format"},
		"text":                 {[]byte("postern known 9"), "unknown format"},
		"head alone":           {good[:snapshotHead], "damaged"},
		"cut":                  {good[:len(good)-1], "damaged"},
		"longer":               {append(bytes.Clone(good), 0), "damaged"},
		"bit of body":          {damaged(snapshotHead + 20), "damaged"},
		"bit of end":           {damaged(len(good) - 1), "damaged"},
		"another key":          {another.Snapshot(start), "another key"},
		"count wrong":          {reseal(old, good, func(b []byte) { b[snapshotHead-1]++ }), "is damaged"},
		"too many credentials": {reseal(old, good, func(b []byte) { b[snapshotHead+16] = 200 }), "is damaged"},
		"fingerprint of zero":  {reseal(old, good, func(b []byte) { b[snapshotHead+17], b[snapshotHead+18] = 0, 0 }), "is damaged"},
	} {
		l := newLimiter(t, defaultPolicy())
		err := l.Restore(start, tc.snapshot)
		if err == nil || !strings.HasPrefix(err.Error(), "restoring the known table: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if k := l.Ask(start, of(0)); k.Verdict().Known || l.Stats(start).Known != 0 {
			t.Errorf("%s: an account was restored", name)
		}
	}
}

// reseal changes snapshot and gives it a valid checksum.
func reseal(l *Limiter, snapshot []byte, change func([]byte)) []byte {
	b := bytes.Clone(snapshot[:len(snapshot)-32])
	change(b)
	return append(b, l.checksum(b)...)
}

func TestSnapshotIsBounded(t *testing.T) {
	old, _ := knownUsers(t, 200)
	p := defaultPolicy()
	p.TableMax = 50
	l := newLimiter(t, p)
	if err := l.Restore(start, old.Snapshot(start)); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(start); s.Known != 50 {
		t.Errorf("%+v", s)
	}
}

// A snapshot with a valid checksum and any content is refused as a whole, or can be restored, made into a snapshot and
// restored again. body follows the head.
func FuzzRestore(f *testing.F) {
	old, _ := knownUsers(f, 3)
	f.Add(uint32(3), uint32(455_000), old.Snapshot(start)[snapshotHead:])
	f.Fuzz(func(t *testing.T, n, made uint32, body []byte) {
		b := append([]byte(snapshotMagic), make([]byte, 12)...)
		binary.BigEndian.PutUint32(b[len(snapshotMagic):], made)
		binary.BigEndian.PutUint32(b[snapshotHead-4:], n)
		b = append(b, body...)
		l := newLimiter(t, defaultPolicy())
		if err := l.Restore(start, append(b, l.checksum(b)...)); err != nil {
			if l.known.count.Load() != 0 {
				t.Fatalf("accounts were added from a refused snapshot: %v", err)
			}
			return
		}
		again := newLimiter(t, defaultPolicy())
		if err := again.Restore(start, l.Snapshot(start)); err != nil {
			t.Fatalf("the snapshot of a restored table: %v", err)
		}
		if a, b := l.known.count.Load(), again.known.count.Load(); a != b || a > int64(n) {
			t.Fatalf("got %d accounts, then %d, of %d", a, b, n)
		}
	})
}

// BenchmarkSnapshot measures a snapshot of 100,000 accounts.
func BenchmarkSnapshot(b *testing.B) {
	l, _ := knownUsers(b, 1)
	for i := range 100_000 {
		l.known.learn(start, key{uint64(i) * 0x9e3779b97f4a7c15, uint64(i)}, fingerprints{credential: 7, source: uint32(i + 1), network: uint32(i + 1)}, validityAt(start, 720*time.Hour), 0, 500_000)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(l.Snapshot(start))))
	}
}
