package incident

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"postern/limiter/watch"
)

// monday is 00:00 UTC on a Monday.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// tick is the time between two states of a watch.
const tick = 10 * time.Second

// A logTest feeds states and commands to a Log, keeps the lines of the file, and checks after each event that Replay gives
// the same incidents.
type logTest struct {
	*testing.T
	log   *Log
	now   time.Time
	lines []byte
}

func newLogTest(t *testing.T) *logTest {
	l, _ := Replay(nil, 30*time.Second)
	return &logTest{T: t, log: l, now: monday}
}

// feed observes the same state in each tick for some time, and returns the new events.
func (d *logTest) feed(s watch.State, lasts time.Duration) (made []Event) {
	d.Helper()
	for end := d.now.Add(lasts); d.now.Before(end); {
		d.now = d.now.Add(tick)
		s.Time = d.now
		made = append(made, d.checkReplay(d.log.Observe(s))...)
	}
	return made
}

// do executes a command.
func (d *logTest) do(a Action, text string, class watch.Class) []Event {
	d.Helper()
	made, err := d.log.Do(d.now, Command{Action: a, By: "kari", Text: text, Class: class, Force: a == ActResolve})
	if err != nil {
		d.Fatal(err)
	}
	return d.checkReplay(made)
}

// checkReplay appends events to the lines, and replays all lines.
func (d *logTest) checkReplay(made []Event) []Event {
	d.Helper()
	for _, e := range made {
		line, err := json.Marshal(e)
		if err != nil {
			d.Fatal(err)
		}
		d.lines = append(append(d.lines, line...), '\n')
	}
	if len(made) == 0 {
		return nil
	}
	again, r := Replay(d.lines, 30*time.Second)
	if r.Torn || r.Bad != nil {
		d.Fatalf("replay: %+v", r)
	}
	if a, b := again.All(), d.log.All(); !reflect.DeepEqual(a, b) {
		d.Fatalf("replayed:\n%+v\nwere:\n%+v", a, b)
	}
	return made
}

// phase checks the phase of the latest incident.
func (d *logTest) phase(want Phase) Incident {
	d.Helper()
	all := d.log.All()
	if len(all) == 0 || all[0].Phase != want {
		d.Fatalf("at %s: want an incident in phase %s, have %+v", d.now.Format(time.TimeOnly), want, all)
	}
	return all[0]
}

// The states of the tests.
var (
	normal       = watch.State{Class: watch.ClassNormal, Users: watch.Users{Good: 100}}
	noticed      = watch.State{Class: watch.ClassNotice, Tighten: true, Excess: 0.05, Users: watch.Users{Good: 100}}
	attack       = watch.State{Class: watch.ClassAttack, Tighten: true, Excess: 0.5, Protecting: true, Users: watch.Users{Good: 100}}
	notServed    = watch.State{Class: watch.ClassAttack, Tighten: true, Excess: 2, Protecting: true, Impaired: true, Users: watch.Users{Good: 50, Limited: 50}}
	backendsFail = watch.State{Class: watch.ClassBackendFault, BackendFault: true, Users: watch.Users{Good: 100, Fault: 5}}
	backendsDown = watch.State{Class: watch.ClassBackendFault, BackendFault: true, Impaired: true, Users: watch.Users{Fault: 100}}
	knownDenied  = watch.State{Class: watch.ClassAuthFault, AuthFault: true, DeniedShare: 0.9, Users: watch.Users{Good: 10, Denied: 90}}
	both         = watch.State{Class: watch.ClassAttack, Tighten: true, Excess: 0.5, Protecting: true, BackendFault: true, Users: watch.Users{Good: 100}}
)

// TestAttackFromNoticeToEnd: all phases of an attack in which users were served.
func TestAttackFromNoticeToEnd(t *testing.T) {
	d := newLogTest(t)
	if made := d.feed(normal, time.Hour); made != nil {
		t.Fatalf("events of a normal state: %+v", made)
	}
	d.feed(noticed, time.Minute)
	if i := d.phase(Suspected); i.Phase.Alarming() || i.Public() {
		t.Errorf("alert for a notice: %+v", i)
	}
	d.feed(attack, tick)
	d.phase(Detected)
	d.feed(attack, 30*time.Second)
	if i := d.phase(Investigating); !i.Public() || i.Published.Sub(i.Detected) != 30*time.Second {
		t.Errorf("not public in time: %+v", i)
	}
	d.feed(attack, 5*time.Minute)
	d.phase(Mitigating)
	d.feed(attack, 3*time.Hour)
	d.feed(normal, tick)
	d.phase(Monitoring)
	d.feed(attack, time.Minute)
	d.phase(Mitigating)
	d.feed(normal, tick)
	d.phase(Monitoring)
	d.feed(normal, time.Hour)
	first := d.phase(Resolved)
	d.feed(normal, time.Hour)
	if made := d.feed(attack, tick); len(made) != 1 || made[0].Kind != KindReopen || made[0].Incident != first.ID {
		t.Fatalf("did not reopen: %+v", made)
	}
	d.feed(normal, 2*time.Hour)
	d.phase(Resolved)
	d.feed(normal, 3*time.Hour)
	d.feed(attack, tick)
	if i := d.phase(Detected); i.ID == first.ID {
		t.Errorf("reopened after hours: %+v", i)
	}
}

// TestNoticeIsDismissed: a notice causes no alert and is dismissed half an hour after it ended.
func TestNoticeIsDismissed(t *testing.T) {
	d := newLogTest(t)
	made := d.feed(noticed, 10*time.Minute)
	made = append(made, d.feed(normal, time.Hour)...)
	d.phase(Dismissed)
	if len(made) != 2 {
		t.Errorf("%d events: %+v", len(made), made)
	}
}

// TestAttackOutranksBackendFault: failing backends, which hid the attack of 2022, are a symptom of it. An attack that
// begins later becomes the class.
func TestAttackOutranksBackendFault(t *testing.T) {
	d := newLogTest(t)
	d.feed(attack, 10*time.Minute)
	d.feed(both, 20*time.Minute)
	d.feed(attack, 20*time.Minute)
	i := d.phase(Mitigating)
	if i.Class != watch.ClassAttack || len(i.Symptoms) != 1 || i.Symptoms[0].Class != watch.ClassBackendFault || i.Symptoms[0].To.IsZero() {
		t.Errorf("attack, then backends: %+v", i)
	}

	d = newLogTest(t)
	d.feed(backendsDown, 20*time.Minute)
	if i := d.phase(Investigating); i.Class != watch.ClassBackendFault {
		t.Errorf("backends: %+v", i)
	}
	d.feed(both, time.Minute)
	if i := d.phase(Investigating); i.Class != watch.ClassAttack || len(i.Symptoms) != 1 {
		t.Errorf("backends, then an attack: %+v", i)
	}
}

// TestFaultsAreDetected: a fault of backends is detected when users are not served, one of authentication after 3 min.
func TestFaultsAreDetected(t *testing.T) {
	d := newLogTest(t)
	d.feed(backendsFail, time.Hour)
	d.phase(Suspected)
	d.feed(backendsDown, tick)
	d.phase(Detected)
	d.feed(normal, 31*time.Minute)
	d.phase(Mitigating) // served for 5 min at first, and then it must be quiet for 30
	d.feed(normal, 30*time.Minute)
	d.phase(Monitoring)

	d = newLogTest(t)
	d.feed(knownDenied, 2*time.Minute)
	d.phase(Suspected)
	d.feed(knownDenied, 2*time.Minute)
	if i := d.phase(Investigating); i.Class != watch.ClassAuthFault {
		t.Errorf("%+v", i)
	}
}

// TestNotMitigatedWhileNotServed: an attack is not mitigated as long as the known are not served.
func TestNotMitigatedWhileNotServed(t *testing.T) {
	d := newLogTest(t)
	d.feed(notServed, time.Hour)
	d.phase(Investigating)
	d.feed(attack, 6*time.Minute)
	if i := d.phase(Mitigating); i.Peak.Excess != 2 || i.Peak.Served != 0.5 {
		t.Errorf("peak: %+v", i.Peak)
	}
}

// TestCommandsOverrideStates executes every action.
func TestCommandsOverrideStates(t *testing.T) {
	d := newLogTest(t)
	d.feed(attack, tick)
	d.do(ActHold, "", "")
	d.feed(attack, 20*time.Minute)
	if i := d.phase(Mitigating); i.Public() || !i.Held {
		t.Errorf("public although held: %+v", i)
	}
	d.do(ActAck, "", "")
	d.do(ActNote, "the list was made by hand", "")
	d.do(ActPublish, "We see many logins.", "")
	d.do(ActReclassify, "a backup program", watch.ClassSingleSource)
	d.feed(attack, time.Minute)
	i := d.phase(Mitigating)
	if !i.Public() || i.Held || i.AckedBy != "kari" || i.Class != watch.ClassSingleSource || !i.Classified || !i.has(watch.ClassAttack) {
		t.Errorf("%+v", i)
	}
	d.do(ActResolve, "", "")
	if made := d.feed(attack, time.Hour); made != nil {
		t.Errorf("reopened although resolved by a person: %+v", made)
	}
	d.feed(normal, 6*time.Minute)
	if made := d.feed(attack, tick); len(made) != 1 || made[0].Kind != KindReopen {
		t.Errorf("not reopened by new trouble: %+v", made)
	}
	d.do(ActFalseAlarm, "load test", "")
	if i := d.phase(Resolved); !i.False {
		t.Errorf("%+v", i)
	}
	d.feed(normal, 6*time.Minute)
	d.feed(attack, tick)
	if i := d.phase(Detected); i.False {
		t.Errorf("a false alarm was reopened: %+v", i)
	}
	d.do(ActResolve, "", "")
	d.now = d.now.Add(3 * time.Hour)
	d.do(ActOpen, "the disks are full", watch.ClassBackendFault)
	d.do(ActMitigate, "", "")
	if i := d.phase(Mitigating); i.Class != watch.ClassBackendFault || i.Events[0].By != "kari" {
		t.Errorf("%+v", i)
	}
}

// TestInvalidCommands: each command is refused and makes no event.
func TestInvalidCommands(t *testing.T) {
	d := newLogTest(t)
	for _, c := range []struct {
		command Command
		want    error
	}{
		{Command{Action: ActAck, By: "kari"}, errNotFound},
		{Command{Action: ActAck}, nil},
		{Command{Action: ActAck, By: byWatch}, nil},
		{Command{Action: "burn", By: "kari"}, nil},
		{Command{Action: ActNote, By: "kari"}, nil},
		{Command{Action: ActOpen, By: "kari", Class: "weather"}, nil},
		{Command{Action: ActNote, By: "kari", Text: string(make([]byte, 2001))}, nil},
		{Command{Action: ActNote, By: "kari", Text: "\xff"}, nil},
	} {
		made, err := d.log.Do(d.now, c.command)
		if err == nil || made != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, made %v", c.command, err, made)
		}
	}
	d.feed(attack, tick)
	d.do(ActResolve, "", "")
	id := d.phase(Resolved).ID
	if _, err := d.log.Do(d.now, Command{Action: ActAck, By: "kari", Incident: id}); !errors.Is(err, errOver) {
		t.Errorf("acknowledged after the end: %v", err)
	}
	if made, err := d.log.Do(d.now, Command{Action: ActNote, By: "kari", Incident: id, Text: "late"}); err != nil || len(made) != 1 {
		t.Errorf("a late note: %v", err)
	}
	if i, ok := d.log.Find(id); !ok || !slices.ContainsFunc(i.Events, func(e Event) bool { return e.Text == "late" }) {
		t.Errorf("the late note is not there: %+v", i)
	}
}
