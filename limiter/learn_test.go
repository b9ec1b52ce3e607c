package limiter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// near reports whether a login is near by source or network.
func near(l *Limiter, at time.Time, addr netip.Addr, account string) bool {
	source, network := l.Near(at, addr, account)
	return source || network
}

// TestLearnMakesKnown: a login of the past makes its source and network known for its account, from its time on.
func TestLearnMakesKnown(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	if source, network := l.Learn(at("0s"), host(1), "alice"); source || network {
		t.Error("the first login was known")
	}
	if source, network := l.Learn(at("1h"), host(1), "Alice"); !source || !network {
		t.Error("the second login was not known")
	}
	for name, tc := range map[string]struct {
		at      string
		addr    netip.Addr
		account string
		want    bool
	}{
		"same source":     {"2h", host(1), "alice", true},
		"another account": {"2h", host(1), "bob", false},
		"another network": {"2h", host(100_000), "alice", false},
		"before the end":  {"720h", host(1), "alice", true},
		"after KnownTTL":  {"721h", host(1), "alice", false},
		"no account":      {"2h", host(1), "", false},
		"no address":      {"2h", netip.Addr{}, "alice", false},
	} {
		if got := near(l, at(tc.at), tc.addr, tc.account); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	k := l.Ask(at("2h"), Attempt{Addr: host(1), Account: "alice"})
	if !k.subject.trust.source || !k.subject.trust.network || !k.Verdict().Known {
		t.Errorf("got %+v, want it known by source and network", k.subject.trust)
	}
}

// TestLearnRespectsThePolicy: exempt addresses and accounts beyond TableMax are not learned, and nothing without KnownTTL.
func TestLearnRespectsThePolicy(t *testing.T) {
	p := defaultPolicy()
	p.TableMax, p.Exempt = 3, []netip.Prefix{netip.PrefixFrom(host(7), 32)}
	l := newLimiter(t, p)
	l.Learn(at("0s"), host(7), "exempt")
	for i := range 5 {
		l.Learn(at("0s"), host(100+i), fmt.Sprint("user", i))
	}
	if got := l.Stats(at("0s")).Known; got != 3 {
		t.Errorf("got %d accounts, want 3", got)
	}
	if near(l, at("0s"), host(7), "exempt") || !near(l, at("0s"), host(102), "user2") || near(l, at("0s"), host(103), "user3") {
		t.Error("another account is known than the first three")
	}
	p.KnownTTL = 0
	l = newLimiter(t, p)
	l.Learn(at("0s"), host(1), "a")
	if near(l, at("0s"), host(1), "a") || l.Stats(start).Known != 0 {
		t.Error("known with a KnownTTL of 0")
	}
}

// TestLearnReservesAfterADay: the reserve is enforced when the logins that were learned span a day, not when they are a
// day old.
func TestLearnReservesAfterADay(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	l.Learn(at("-200h"), host(1), "alice")
	l.Learn(at("-177h"), host(2), "bob")
	if l.Stats(start).Learned {
		t.Error("learned after 23 h of a log")
	}
	l.Learn(at("-201h"), host(3), "carol")
	if !l.Stats(start).Learned {
		t.Error("not learned after 24 h of a log")
	}
	other := newLimiter(t, defaultPolicy())
	k := other.Ask(start, Attempt{Addr: host(9), Account: "dan"})
	k.Settle(start, Accepted)
	if err := other.Merge(start, l.Snapshot(start)); err != nil {
		t.Fatal(err)
	}
	if s := other.Stats(start); !s.Learned || s.Known != 4 {
		t.Errorf("after the merge: %+v", s)
	}
}

// TestLearnKeepsTheLatest: logins learned out of order leave the same table as in order.
func TestLearnKeepsTheLatest(t *testing.T) {
	const n = sourcesKept + 5
	for name, hour := range map[string]func(i int) int{
		"in order": func(i int) int { return i },
		"reversed": func(i int) int { return n - 1 - i },
		"mixed":    func(i int) int { return i * 5 % n },
	} {
		l := newLimiter(t, defaultPolicy())
		for i := range n {
			h := hour(i)
			l.Learn(start.Add(time.Duration(h)*time.Hour), host(1000*h), "alice")
		}
		for h := range n {
			at := start.Add(n * time.Hour)
			if got, want := near(l, at, host(1000*h), "alice"), h >= n-sourcesKept; got != want {
				t.Errorf("%s: login %d: got %v, want %v", name, h, got, want)
			}
		}
	}
}

// TestMergeKeepsTheLatestOfBoth for accounts that both know, and adds the others.
func TestMergeKeepsTheLatestOfBoth(t *testing.T) {
	now := at("100h")
	l, other := newLimiter(t, defaultPolicy()), newLimiter(t, defaultPolicy())
	for i := range sourcesKept {
		l.Learn(at(fmt.Sprintf("%dh", 2*i)), host(1000*i), "alice")
		other.Learn(at(fmt.Sprintf("%dh", 2*i+1)), host(1000*(i+100)), "alice")
	}
	l.Learn(at("90h"), host(5), "bob")
	other.Learn(at("2h"), host(6), "carol")
	credential := l.Credential("alice", []byte("secret"))
	k := l.Ask(at("50h"), Attempt{Addr: host(1000 * 7), Account: "alice", Credential: credential, Device: 77, Resumed: true})
	k.Settle(at("50h"), Accepted)
	for range 2 { // merging again changes nothing
		if err := l.Merge(now, other.Snapshot(now)); err != nil {
			t.Fatal(err)
		}
		for i := range sourcesKept {
			recent := i >= sourcesKept/2
			if got := near(l, now, host(1000*i), "alice"); got != recent {
				t.Errorf("own source %d: got %v, want %v", i, got, recent)
			}
			if got := near(l, now, host(1000*(i+100)), "alice"); got != recent {
				t.Errorf("source %d of the other: got %v, want %v", i, got, recent)
			}
		}
		if !near(l, now, host(5), "bob") || !near(l, now, host(6), "carol") {
			t.Error("an account of one of them is missing")
		}
		k = l.Ask(now, Attempt{Addr: host(500_000), Account: "alice", Credential: credential, Device: 77, Resumed: true})
		if !k.subject.trust.credential && !k.subject.match.known || !k.subject.trust.device {
			t.Errorf("credential or device lost: %+v", k.subject.trust)
		}
		k.Settle(now, Void)
	}
	if got := l.Stats(now).Known; got != 3 {
		t.Errorf("got %d accounts, want 3", got)
	}
}

// TestMergeRefusesDamage: nothing changes then.
func TestMergeRefusesDamage(t *testing.T) {
	old, _ := knownUsers(t, 10)
	snapshot := old.Snapshot(start)
	snapshot[len(snapshot)/2]++
	l := newLimiter(t, defaultPolicy())
	if err := l.Merge(start, snapshot); err == nil || l.Stats(start).Known != 0 {
		t.Errorf("got %v and %d accounts", err, l.Stats(start).Known)
	}
}

// TestInsertCountsAccountsOfSources: the accounts of a source are counted as if its logins had been settled.
func TestInsertCountsAccountsOfSources(t *testing.T) {
	l := newLimiter(t, defaultPolicy())
	for i := range 40 {
		for h := range 3 {
			l.Learn(start.Add(time.Duration(h)*time.Hour), host(1), fmt.Sprint("user", i))
		}
	}
	f := blockFingerprint(l.hasher.block(kindSource, Source(host(1))))
	if got := l.known.sources.growth(f, hourOf(at("3h"))); got != 40 {
		t.Errorf("got a growth of %d, want 40", got)
	}
	if got := l.known.sources.entries[f].accounts; got != 40 {
		t.Errorf("got %d accounts, want 40", got)
	}
}

// TestMergeKeepsWhatWasDenied: a credential that was replaced stays so, and when one was denied says nothing about a later
// one.
func TestMergeKeepsWhatWasDenied(t *testing.T) {
	var own, other knownAccount
	v := validity{now: 100, ttl: 50}
	own.learnCredential(9, 90, 0)
	own.forgetCredential(9)
	own.learnCredential(7, 95, 0)
	own.credentialDenied(7, 97)
	insert(other.credentials[:], other.credentialAt[:], 9, 96)
	own.mergeCredentials(&other, v)
	if own.match(9, v).known || !own.match(7, v).latest || own.deniedAt != 97 {
		t.Errorf("after a merge with the former credential: %+v", own)
	}
	insert(other.credentials[:], other.credentialAt[:], 8, 98)
	insert(other.credentials[:], other.credentialAt[:], 6, 40) // too old
	own.mergeCredentials(&other, v)
	if !own.match(8, v).latest || !own.match(7, v).known || own.match(6, v).known || own.deniedAt != 0 {
		t.Errorf("after a merge with a later credential: %+v", own)
	}
}
