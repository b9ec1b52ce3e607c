package limiter

import (
	"bytes"
	"fmt"
	"time"
)

// snapshotName begins a snapshot of any version. One digit with the version follows, then the three numbers of the head.
const snapshotName = "postern known "

// SnapshotInfo returns when a snapshot was made, to the hour, and how many accounts are in it. It reads the head only:
// it works for every version and without the key, and does not notice damage behind the head.
func SnapshotInfo(snapshot []byte) (made time.Time, accounts int, err error) {
	rest, ok := bytes.CutPrefix(snapshot, []byte(snapshotName))
	if !ok || len(rest) < 1+3*4 || rest[0] < '0' || rest[0] > '9' {
		return time.Time{}, 0, fmt.Errorf("reading the head of a snapshot: got %.20q, want %q, a digit and three numbers", snapshot, snapshotName)
	}
	rd := reader{rest: rest[1:]}
	hours := int64(rd.number(4))
	rd.number(4) // when the first account was accepted
	return time.Unix(hours*3600, 0), int(rd.number(4)), nil
}
