package limiter

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSnapshotInfoReadsTheHead(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 40, 0, 0, time.UTC)
	l, err := New(Policy{KnownTTL: 24 * time.Hour, TableMax: 100}, Key{1})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		made, accounts, err := SnapshotInfo(l.Snapshot(now))
		if !made.Equal(now.Truncate(time.Hour)) || accounts != n || err != nil {
			t.Errorf("got %v, %d, %v, want %v, %d", made, accounts, err, now.Truncate(time.Hour), n)
		}
		name := fmt.Sprint("user", n)
		ticket := l.Ask(now, Attempt{Addr: host(1), Account: name, Credential: l.Credential(name, []byte("secret"))})
		ticket.Settle(now, Accepted)
	}
	another := "postern known 7" + strings.Repeat("\x00\x00\x00\x02", 3)
	if made, accounts, err := SnapshotInfo([]byte(another)); made.Unix() != 7200 || accounts != 2 || err != nil {
		t.Errorf("another version: got %v, %d, %v", made, accounts, err)
	}
}

func TestSnapshotInfoErrors(t *testing.T) {
	numbers := strings.Repeat("x", 12)
	for name, text := range map[string]string{
		"empty": "", "another file": "POSTERN_TRIES=3\n" + numbers, "no digit": "postern known x" + numbers, "short": "postern known 1" + numbers[1:],
	} {
		if made, accounts, err := SnapshotInfo([]byte(text)); err == nil {
			t.Errorf("%s: got %v, %d", name, made, accounts)
		}
	}
}
