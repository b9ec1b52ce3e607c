package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"
)

// learnedHabits returns habits of n accounts with ten logins in each of some hours, and the beginning of the next hour.
func learnedHabits(n, hours int) (*habits, time.Time) {
	h, now := newHabits(), monday
	for range hours {
		for account := range n {
			h.add(now, hashNumber(uint64(account)), 10, 0)
		}
		now = now.Add(time.Hour)
		h.tick(now)
	}
	return &h, now
}

// hashNumber mixes the bits of a number.
func hashNumber(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// TestAccountIsAbused: the limits of an account with a habit, of a new one, and with logins from many new networks.
func TestAccountIsAbused(t *testing.T) {
	for _, c := range []struct {
		name          string
		account       uint64
		logins, fresh int
		want          bool
	}{
		{"four times its habit", 1, 40, 0, false},
		{"more", 1, 42, 0, true},
		{"more than twice, from many networks", 1, 25, abuseSpread, true},
		{"twice, from many networks", 1, 20, abuseSpread, false},
		{"a new account", 1000, 35, 0, false},
		{"a new account, far above all others", 1000, 60, 0, true},
		{"a new account, from many networks", 1000, 25, abuseSpread, true},
		{"a new account, below the floor", 1000, 19, 19, false},
	} {
		h, now := learnedHabits(200, 30)
		if u := h.add(now, hashNumber(c.account), c.logins, c.fresh); u.abused != c.want {
			t.Errorf("%s: %+v", c.name, u)
		}
	}
}

// TestLimitsGrowWithAllAccounts: when all clients reconnect, no account is abused.
func TestLimitsGrowWithAllAccounts(t *testing.T) {
	h, now := learnedHabits(200, 30)
	for range 12 {
		for account := range uint64(200) {
			h.add(now, hashNumber(account), 5, 0)
		}
		now = now.Add(time.Minute)
		if on, n := h.tick(now); on || n > 0 {
			t.Fatalf("at %v: %d abused, alarm %v", now, n, on)
		}
	}
}

// TestHabitRisesSlowly: neither abuse nor patience raises the habit of a settled account at once, and it decays by half in
// four weeks.
func TestHabitRisesSlowly(t *testing.T) {
	h, now := learnedHabits(200, 30)
	account := hashNumber(1)
	for range 12 {
		h.add(now, account, 39, 0)
		now = now.Add(time.Hour)
	}
	if u := h.add(now, account, 1, 0); u.habit() < 15 || u.habit() > 22 {
		t.Errorf("after twelve hours with 39 logins the habit is %d, want about twice 10", u.habit())
	}
	h.alarm.on = true
	for range 12 {
		h.add(now, account, 300, 0)
		now = now.Add(time.Hour)
	}
	if u := h.add(now, account, 1, 0); u.habit() > 22 {
		t.Errorf("during an alarm the habit rose to %d", u.habit())
	}
	now = now.AddDate(0, 0, 28)
	h.add(now, account, 1, 0)
	if u := h.add(now, account, 1, 0); u.habit() < 7 || u.habit() > 11 {
		t.Errorf("four weeks later the habit is %d, want half", u.habit())
	}
}

// TestFloodOfAccountsKeepsHabits: accounts that log in are kept while as many others as the table holds log in once.
func TestFloodOfAccountsKeepsHabits(t *testing.T) {
	h, now := learnedHabits(200, 30)
	for i := range uint64(habitSets * habitWays) {
		h.add(now, hashNumber(1<<32+i), 1, 0)
	}
	kept := 0
	for account := range uint64(200) {
		if h.add(now, hashNumber(account), 1, 0).habit() > 0 {
			kept++
		}
	}
	if kept < 195 {
		t.Errorf("%d of 200 habits are kept", kept)
	}
}

// TestAccountAbuseOfAWatch: the state, the hour and its list, and the end.
func TestAccountAbuseOfAWatch(t *testing.T) {
	w, now := New(Config{}), monday
	login := func(account string, network uint32, usual bool) {
		a := Attempt{Account: account, Outcome: Accepted, Usual: usual, Known: usual}
		a.Source, a.Network = blocks(network, 1)
		w.Attempt(now, a)
	}
	for range 30 * 60 {
		for i := range 20 {
			login(fmt.Sprint("User", i), uint32(i), true)
		}
		now = now.Add(time.Minute)
		if s := w.Tick(now).State; s.AccountAbuse || s.Abused > 0 {
			t.Fatalf("before: %+v", s)
		}
	}
	attack := func(minutes int) (s State) {
		for range minutes {
			for i := range 300 {
				login(fmt.Sprint("stolen", i), uint32(now.Unix())+uint32(i), false)
			}
			now = now.Add(time.Minute)
			s = w.Tick(now).State
		}
		return s
	}
	if s := attack(40); !s.AccountAbuse || s.Class != ClassAccountAbuse || s.Abused != 300 {
		t.Errorf("after 40 min: %+v", s)
	}
	_, hour := w.Partial(now)
	if len(hour.Abused) != hourAbused || hour.AbusedMissed != 100 {
		t.Fatalf("%d listed, %d missed", len(hour.Abused), hour.AbusedMissed)
	}
	if a := hour.Abused[0]; a.Account != "stolen0" || a.Logins != 40 || a.Networks < 30 || a.Networks > 50 || a.Habit != 0 {
		t.Errorf("the first is %+v", a)
	}
	now = now.Add(time.Minute)
	restored := New(Config{})
	if err := restored.Restore(now, w.Snapshot(now)); err != nil {
		t.Fatal(err)
	}
	if s := restored.Tick(now.Add(time.Minute)).State; !s.AccountAbuse || s.Abused != 300 {
		t.Errorf("after a restart: %+v", s)
	}
	for range 3 * 60 {
		now = now.Add(time.Minute)
		w.Tick(now)
	}
	if s := w.Tick(now).State; s.AccountAbuse || s.Abused != 0 {
		t.Errorf("three hours later: %+v", s)
	}
}

// TestHoursListDifferentAccounts: three hours of abuse of 500 accounts list all of them.
func TestHoursListDifferentAccounts(t *testing.T) {
	l, listed := newAbusedList(), map[string]bool{}
	for hour := range 3 {
		for account := range 500 {
			a := hasher{}.attempt(&Attempt{Account: fmt.Sprint(account)})
			l.add(monday, &a, use{abused: true, first: true, logins: 30})
			l.add(monday, &a, use{abused: true, logins: 31})
		}
		if len(l.entries) != hourAbused || len(l.at) != hourAbused || l.missed != 300 {
			t.Errorf("hour %d: %d listed, %d indices, %d missed", hour, len(l.entries), len(l.at), l.missed)
		}
		for _, e := range l.entries {
			listed[e.Account] = true
			if e.Logins != 31 {
				t.Errorf("%+v", e)
			}
		}
		l.begin()
	}
	if len(listed) != 500 {
		t.Errorf("%d accounts are listed", len(listed))
	}
}

// TestMergeAbused: two parts of an hour add up, and the list is bounded.
func TestMergeAbused(t *testing.T) {
	part := func(at time.Time, from int) Hour {
		h := Hour{Start: monday, AbusedMissed: 1}
		for i := range hourAbused {
			h.Abused = append(h.Abused, Abuse{Time: at, Account: fmt.Sprint(from + i), Logins: 30 + i, Habit: 5, Networks: i})
		}
		return h
	}
	a, b := part(monday.Add(time.Minute), 0), part(monday.Add(time.Hour/2), 100)
	sum := b.Merge(a)
	first := sum.Abused[0]
	if len(sum.Abused) != hourAbused || sum.AbusedMissed != 2+100 || first.Account != "199" || first.Logins != 229+129 ||
		first.Networks != 199 || !first.Time.Equal(a.Abused[0].Time) {
		t.Errorf("%d listed, %d missed, the first is %+v", len(sum.Abused), sum.AbusedMissed, first)
	}
	if a.Abused[0].Account != "0" || b.Abused[0].Logins != 30 {
		t.Error("a part was changed")
	}
}

// TestSnapshotHasSections: what was learned of accounts and networks is restored; a snapshot of version 1 is still read.
func TestSnapshotHasSections(t *testing.T) {
	w := New(Config{})
	h, now := learnedHabits(500, 30)
	w.habits = *h
	w.spray.assume(77)
	for i := range 1000 {
		w.spray.attempt(now, hashNumber(uint64(i)))
		w.spray.tick(now.Add(time.Duration(i)*tick), 10, false)
	}
	data := w.Snapshot(now)
	again := New(Config{})
	if err := again.Restore(now, data); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Snapshot(now), data) {
		t.Error("the restored watch makes another snapshot")
	}
	if u := again.habits.add(now, hashNumber(7), 1, 0); u.habit() != 10 {
		t.Errorf("a habit was restored as %d", u.habit())
	}
	old := append([]byte(snapshotMagic1), data[len(snapshotMagic):len(snapshotMagic)+binary.Size(&image{})]...)
	old = binary.LittleEndian.AppendUint32(old, crc32.Checksum(old, castagnoli))
	if err := again.Restore(now, old); err != nil || again.habits.hours != 0 || again.spray.weeks[0] != 0 {
		t.Errorf("version 1: %v, %d hours", err, again.habits.hours)
	}
}
