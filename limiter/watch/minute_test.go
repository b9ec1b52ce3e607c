package watch

import (
	"testing"
	"time"
)

// TestPartsOfAMinute: two parts of one minute add up, as after a restart.
func TestPartsOfAMinute(t *testing.T) {
	m := Minute{Start: monday, Class: ClassNotice, Known: Outcomes{Accepted: 1}, Networks: 2, Expected: Signals{Logins: 3}}
	m.Add(Minute{Start: monday, Class: ClassNormal, Known: Outcomes{Denied: 1}, Networks: 1, Opened: 4, Expected: Signals{Logins: 2}})
	if m.Class != ClassNotice || m.Logins() != 2 || m.Networks != 3 || m.Opened != 4 || m.Expected.Logins != 5 {
		t.Errorf("%+v", m)
	}
}

// TestUsers: the field in which each outcome counts; times to the greeting are kept.
func TestUsers(t *testing.T) {
	var u Users
	if u.Served() != 1 {
		t.Errorf("without attempts: got %v, want 1", u.Served())
	}
	for _, a := range []Attempt{
		{Outcome: Accepted, Greeting: 40 * time.Millisecond},
		{Outcome: Accepted, Greeting: 3 * time.Second},
		{Outcome: Accepted, Waited: 4 * time.Second},
		{Outcome: Denied}, {Outcome: Repeat}, {Outcome: Rejected, Worked: true}, {Outcome: Rejected}, {Outcome: Shed}, {Outcome: Fault}, {Outcome: Gone},
	} {
		u.count(&a)
		a.Known = true
		u.count(&a)
	}
	want := Users{Good: 1, Slow: 2, Denied: 3, Limited: 2, Fault: 1, Greeted: u.Greeted}
	if u != want || u.Asked() != 6 || u.Served() != 0.5 || u.Greeted.total() != 4 {
		t.Errorf("%+v", u)
	}
}

// TestQuantile: within a bucket the quantile is interpolated.
func TestQuantile(t *testing.T) {
	var d Delays
	if d.Quantile(0.95) != 0 {
		t.Errorf("without times: %v", d.Quantile(0.95))
	}
	for range 10 {
		d.count(200 * time.Millisecond)
	}
	if got := d.Quantile(0.5); got != 175*time.Millisecond {
		t.Errorf("median: %v", got)
	}
	d.count(time.Hour)
	if got := d.Quantile(1); got != 30*time.Second {
		t.Errorf("the longest: %v", got)
	}
}
