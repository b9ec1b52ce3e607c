package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/metrics"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// knownTest is a gateway's store of known users that is started and stopped at any
// time of a test's clock.
type knownTest struct {
	*knownStore
	t   *testing.T
	out *testbed.Log
}

// startKnown starts with what is in dir, at the time now.
func startKnown(t *testing.T, dir string, now time.Time) *knownTest {
	t.Helper()
	l, err := limiter.New(limiter.Policy{KnownTTL: 720 * time.Hour, TableMax: 100_000}, limiter.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	out := testbed.NewLog()
	k := &knownTest{&knownStore{
		dir: stateDir(dir), limiter: l, log: eventlog.New(out, "text", slog.LevelInfo), metrics: metrics.New("", ""),
	}, t, out}
	k.restore(now)
	return k
}

// attempt is one of user i with the right password.
func (k *knownTest) attempt(i int) limiter.Attempt {
	name := fmt.Sprint("user", i)
	return limiter.Attempt{
		Addr:    netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
		Account: name, Credential: k.limiter.Credential(name, []byte("secret")),
	}
}

// login logs users in, from number from to number to - 1.
func (k *knownTest) login(now time.Time, from, to int) {
	for i := from; i < to; i++ {
		ticket := k.limiter.Ask(now, k.attempt(i))
		ticket.Settle(now, limiter.Accepted)
	}
}

// knows counts the users below n that are known.
func (k *knownTest) knows(now time.Time, n int) (known int) {
	for i := range n {
		ticket := k.limiter.Ask(now, k.attempt(i))
		if ticket.Verdict().Known {
			known++
		}
		ticket.Settle(now, limiter.Void)
	}
	return known
}

// mustKnow fails the test unless all users below n are known.
func (k *knownTest) mustKnow(now time.Time, n int) {
	k.t.Helper()
	if got := k.knows(now, n); got != n {
		k.t.Errorf("%d of %d users are known\n%s", got, n, k.out)
	}
}

// warnings counts the lines of the log, which must be warnings about the state.
func (k *knownTest) warnings() int {
	k.t.Helper()
	lines := strings.Split(strings.TrimSpace(k.out.String()), "\n")
	for _, line := range lines {
		if line != "" && (!strings.Contains(line, "level=WARN") || !strings.Contains(line, "event=state")) {
			k.t.Errorf("got the line %s", line)
		}
	}
	if lines[0] == "" {
		return 0
	}
	return len(lines)
}

// someDay is when the clock is right.
var someDay = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// users is how many users a test's site has.
const users = 1000

// withUsers is a directory with the snapshot of a gateway that knew all users at
// someDay.
func withUsers(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	k := startKnown(t, dir, someDay)
	k.login(someDay, 0, n)
	k.save(someDay)
	if k.warnings() > 0 {
		t.Errorf("warned: %s", k.out)
	}
	return dir
}

// TestKnownUsersSurviveAWrongClock starts a gateway while the clock of the machine is
// wrong. Some users log in. Then the clock is set, while the gateway runs or after it
// has stopped, and the gateway is started again.
func TestKnownUsersSurviveAWrongClock(t *testing.T) {
	for name, wrong := range map[string]time.Time{
		"1970": time.Unix(60, 0), "2024": someDay.AddDate(-2, 0, 0), "29 days late": someDay.AddDate(0, 0, 29),
		"60 days late": someDay.AddDate(0, 0, 60), "2028": someDay.AddDate(2, 0, 0), "2099": someDay.AddDate(73, 0, 0),
	} {
		for _, size := range []int{50, users} {
			for _, logins := range []int{0, 20, 2 * users} {
				for _, ending := range []string{"set while it runs", "set before the first save", "set after it stopped", "set after two starts"} {
					t.Run(fmt.Sprintf("%s, %d users, %d logins, %s", name, size, logins, ending), func(t *testing.T) {
						dir := withUsers(t, size)
						k := startKnown(t, dir, wrong)
						k.login(wrong, 0, logins)
						if ending != "set before the first save" {
							k.save(wrong)
							k.save(wrong.Add(time.Minute))
						}
						if ending == "set after two starts" {
							k = startKnown(t, dir, wrong.Add(2*time.Minute))
							k.save(wrong.Add(3 * time.Minute))
						}
						now := someDay.Add(time.Hour)
						if strings.HasPrefix(ending, "set while") || strings.HasPrefix(ending, "set before") {
							k.save(now)
							k.save(now.Add(time.Minute))
						}
						for range 2 {
							k = startKnown(t, dir, now.Add(2*time.Minute))
							k.mustKnow(now.Add(2*time.Minute), size)
							k.save(now.Add(3 * time.Minute))
						}
					})
				}
			}
		}
	}
}

// TestKnownUsersSurviveAClockThatSteps while the gateway runs, and back.
func TestKnownUsersSurviveAClockThatSteps(t *testing.T) {
	for name, wrong := range map[string]time.Time{
		"1970": time.Unix(60, 0), "2024": someDay.AddDate(-2, 0, 0), "2028": someDay.AddDate(2, 0, 0), "2099": someDay.AddDate(73, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			dir := withUsers(t, users)
			now := someDay.Add(time.Hour)
			k := startKnown(t, dir, now)
			k.save(now)
			for i := range 5 {
				k.login(wrong, 0, 10*i) // users who are known already expire and are learned again
				k.save(wrong.Add(time.Duration(i) * time.Minute))
			}
			k.save(now.Add(10 * time.Minute))
			k = startKnown(t, dir, now.Add(11*time.Minute))
			k.mustKnow(now.Add(11*time.Minute), users)
		})
	}
}

// TestClockWarningNamesBothTimes at the start and when the snapshot is kept.
func TestClockWarningNamesBothTimes(t *testing.T) {
	dir := withUsers(t, users)
	late := someDay.AddDate(1, 0, 0)
	k := startKnown(t, dir, late)
	k.out.Await(t, "level=WARN", "event=state", "more than a day apart", "clock="+late.Local().Format("2006-01-02"), "snapshot="+someDay.Local().Format("2006-01-02"))
	k.save(late)
	k.out.Await(t, "level=WARN", "event=state", knownOldFile, "keeping a former snapshot", "accounts_before=1000", "accounts=0", "accounts_kept=1000")
	k.save(late.Add(time.Minute))
	if n := k.warnings(); n != 2 {
		t.Errorf("%d warnings, want 2\n%s", n, k.out)
	}
}

// TestLargeSnapshotIsKept when most users are missing from the next one, whatever the
// cause. The warning has both numbers.
func TestLargeSnapshotIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		former, next int
		kept         bool
	}{
		"a half":         {users, users / 2, false},
		"less than that": {users, users/2 - 1, true},
		"nobody":         {users, 0, true},
		"few users":      {fewAccounts - 1, 0, false},
		"just enough":    {fewAccounts, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, now := withUsers(t, tt.former), someDay.Add(time.Minute)
			empty := startKnown(t, t.TempDir(), now)
			empty.dir, empty.last = stateDir(dir), snapshotInfo{someDay, tt.former}
			empty.login(now, 0, tt.next)
			empty.save(now)
			empty.save(now.Add(time.Minute))
			if _, err := os.Stat(empty.dir.path(knownOldFile)); (err == nil) != tt.kept {
				t.Errorf("%s: %v, want it: %v", knownOldFile, err, tt.kept)
			}
			want := 0
			if tt.kept {
				want = 1
				checkMode(t, empty.dir.path(knownOldFile))
				empty.out.Await(t, fmt.Sprintf("accounts_before=%d", tt.former), fmt.Sprintf("accounts=%d", tt.next))
			}
			if n := empty.warnings(); n != want {
				t.Errorf("%d warnings, want %d\n%s", n, want, empty.out)
			}
		})
	}
}

// TestOldSnapshotIsNeverReplacedByASmallerOne, and removed once it is superseded.
func TestOldSnapshotIsNeverReplacedByASmallerOne(t *testing.T) {
	dir, now := withUsers(t, users), someDay
	for _, n := range []int{300, 100, 10} { // each loses most of what the one before knew
		now = now.Add(time.Minute)
		k := startKnown(t, t.TempDir(), now)
		k.dir, k.last, k.old = stateDir(dir), headOf(t, dir, knownFile), headOf(t, dir, knownOldFile)
		k.login(now, 0, n)
		k.save(now)
		if got := headOf(t, dir, knownOldFile).Accounts; got != users {
			t.Errorf("with %d users: %d in the old snapshot, want %d", n, got, users)
		}
	}
	k := startKnown(t, dir, now)
	k.mustKnow(now, users)
	k.save(now.Add(time.Minute))
	if old := headOf(t, dir, knownOldFile); old != (snapshotInfo{}) {
		t.Errorf("the old snapshot remains: %+v", old)
	}
	startKnown(t, dir, now).mustKnow(now, users)
}

// headOf returns the head of a file in dir.
func headOf(t *testing.T, dir, name string) snapshotInfo {
	t.Helper()
	data, err := stateDir(dir).read(name, knownMax)
	if err != nil {
		t.Fatal(err)
	}
	i, err := infoOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestLongPauseLosesNothing: a gateway that was off for days warns about the clock,
// and continues as usual.
func TestLongPauseLosesNothing(t *testing.T) {
	dir := withUsers(t, users)
	later := someDay.AddDate(0, 0, 5)
	k := startKnown(t, dir, later)
	if n := k.warnings(); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	k.mustKnow(later, users)
	k.save(later)
	if old := headOf(t, dir, knownOldFile); old != (snapshotInfo{}) || k.warnings() != 1 {
		t.Errorf("kept the former snapshot: %+v\n%s", old, k.out)
	}
}

// TestDamagedOldSnapshot is renamed and does not hinder the start.
func TestDamagedOldSnapshot(t *testing.T) {
	dir := withUsers(t, users)
	stateDir(dir).write(knownOldFile, []byte("postern known 1, or not"))
	k := startKnown(t, dir, someDay)
	k.mustKnow(someDay, users)
	k.out.Await(t, "level=ERROR", "event=state", knownOldFile+".damaged")
}
