package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// abusedHours returns the hours of an incident in which n accounts are abused: the first in both hours, the others in one.
func abusedHours(n int) []watch.Hour {
	hours := []watch.Hour{{Start: monday}, {Start: monday.Add(time.Hour), AbusedMissed: 3}, {Start: monday.Add(5 * time.Hour)}}
	for i := range n {
		a := watch.Abuse{Time: monday, Account: fmt.Sprint("user", i), Logins: 30 + i, Habit: i, Networks: 5}
		hours[i%2].Abused = append(hours[i%2].Abused, a)
	}
	hours[1].Abused = append(hours[1].Abused, watch.Abuse{Account: "user0", Logins: 9000, Networks: 40})
	hours[2].Abused = []watch.Abuse{{Account: "later"}}
	return hours
}

// TestReportListsAbusedAccounts: each account of the incident once, with the hour of most logins; at most 500; none of it is
// public.
func TestReportListsAbusedAccounts(t *testing.T) {
	s := Subject{Hours: abusedHours(700)}
	s.Incident = incident.Incident{ID: "i1", Class: watch.ClassAccountAbuse, Started: monday, Ended: monday.Add(2 * time.Hour)}
	r := New(monday.Add(6*time.Hour), s, Internal)
	a := r.Abused
	if a.Count != 700 || len(a.Accounts) != abuseRows || a.Missed != 3+200 {
		t.Errorf("%d accounts, %d listed, %d missed", a.Count, len(a.Accounts), a.Missed)
	}
	if first := a.Accounts[0]; first.Account != "user0" || first.Logins != 9000 || first.Networks != 40 || first.Hours != 2 {
		t.Errorf("the first is %+v", first)
	}
	text := string(r.Markdown())
	for _, want := range []string{"700 accounts", "| `user0` | 9000 | unknown | about 40 | 2 |", "| `user699` | 729 | up to 699 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%.3000s", want, text)
		}
	}
	public := New(monday.Add(6*time.Hour), s, Public)
	line, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{string(line), string(public.Markdown())} {
		if strings.Contains(form, "user0") || strings.Contains(form, "abused") || strings.Contains(form, "700") {
			t.Errorf("the public form has accounts or their number:\n%.2000s", form)
		}
	}
}
