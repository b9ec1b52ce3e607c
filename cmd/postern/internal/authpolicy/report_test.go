package authpolicy

import (
	"testing"
	"testing/synctest"
)

func TestReportsOfOtherKinds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, policy(), "")
	q := from("192.0.2.1", "a")
	f.tell(q, false)
	f.check("not asked before", f.counted()+"; "+f.reported(), "report unasked; denied")
	failed := from("192.0.2.2", "a")
	failed.FailType = "internal"
	f.ask(failed)
	f.tell(failed, false)
	f.check("internal failure", f.reported(), "void")
	f.tell(failed, false)
	f.check("internal failure, not asked before", f.reported(), "")
}

// The report of a refused login does not end another one with the same name and password:
// Dovecot still checks that one, and its denial must be charged.
func TestRefusedLoginEndsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, policy(), "")
		defer f.Close()
		q := from("192.0.2.1", "a")
		f.check("first", f.ask(q), 0)
		f.check("asked again", f.ask(q), 0)
		f.check("while the first is under way", f.ask(q), -1)
		refused := q
		refused.Refused = true
		f.tell(refused, false)
		f.check("pending", f.Pending(), 1)
		f.counted()
		f.reported()
		f.tell(q, false)
		f.check("counts", f.counted()+"; "+f.reported(), "report recorded; denied")
		f.check("pending", f.Pending(), 0)
	})
}
