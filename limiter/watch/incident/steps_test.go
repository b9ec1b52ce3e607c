package incident

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
)

// A step is one step of a test: a restart, a command, or a state for some time.
type step struct {
	restart bool
	do      Command
	refused error // that the command is refused with
	state   watch.State
	lasts   time.Duration
	want    Phase       // of the latest incident; empty if there is none
	class   watch.Class // likewise
	started float64     // minutes after the start of the test; -1 if it does not matter
	count   int         // of incidents
}

// restart replays the lines.
func (d *logTest) restart() {
	d.Helper()
	d.log, _ = Replay(d.lines, 30*time.Second)
}

// play executes steps and checks the latest incident after each.
func (d *logTest) play(steps []step) {
	d.Helper()
	for n, s := range steps {
		if s.restart {
			d.restart()
		}
		if s.do.Action != "" {
			s.do.By = "kari"
			made, err := d.log.Do(d.now, s.do)
			if !errors.Is(err, s.refused) {
				d.Fatalf("step %d: %s: %v, want %v", n, s.do.Action, err, s.refused)
			}
			d.checkReplay(made)
		}
		d.feed(s.state, s.lasts)
		var last Incident
		all := d.log.All()
		if len(all) > 0 {
			last = all[0]
		}
		started := last.Started.Sub(monday).Minutes()
		if last.Phase != s.want || last.Class != s.class || len(all) != s.count || s.started >= 0 && started-s.started > 0.2 || s.started >= 0 && started < s.started {
			d.Fatalf("step %d, at %s: %d incidents, the latest %s, %s, started after %.1f min; want %d, %s, %s, %.1f min",
				n, d.now.Format(time.TimeOnly), len(all), last.Phase, last.Class, started, s.count, s.want, s.class, s.started)
		}
	}
}

// Further states of the tests.
var (
	noticeOnset = watch.State{Class: watch.ClassNotice, Tighten: true, Excess: 0.05, Onset: monday, Users: watch.Users{Good: 100}}
	fewDenied   = watch.State{Class: watch.ClassAuthFault, AuthFault: true, DeniedShare: 0.1, Users: watch.Users{Good: 95, Denied: 5}}
	spray       = watch.State{Class: watch.ClassSlowSpray, SlowSpray: true, Users: watch.Users{Good: 100}}
	abuse       = watch.State{Class: watch.ClassAccountAbuse, AccountAbuse: true, Abused: 900, Users: watch.Users{Good: 100}}
	impaired    = watch.State{Class: watch.ClassImpaired, Impaired: true, Users: watch.Users{Good: 80, Limited: 20}}
	learning    = watch.State{Class: watch.ClassLearning, Users: watch.Users{Good: 100}}
)

const (
	none   = watch.Class("")
	fault  = watch.ClassBackendFault
	raid   = watch.ClassAttack
	minute = time.Minute

	anyTime = -1.0
)

// TestSteps has sequences of states, commands and restarts, with the incident after each.
func TestSteps(t *testing.T) {
	open := func(class watch.Class) Command { return Command{Action: ActOpen, Class: class, Text: "users call"} }
	resolve, force := Command{Action: ActResolve}, Command{Action: ActResolve, Force: true}
	for name, steps := range map[string][]step{
		"a suspected fault ends within minutes of its end": {
			{state: backendsFail, lasts: 5 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: normal, lasts: 2 * minute, want: Dismissed, class: fault, started: 0, count: 1},
		},
		"and across a restart": {
			{state: backendsFail, lasts: 10 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{restart: true, state: learning, lasts: 4 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: learning, lasts: 2 * minute, want: Dismissed, class: fault, started: 0, count: 1},
		},
		"faults that come and go are one incident, and begin where the latest does": {
			{state: backendsFail, lasts: 5 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: normal, lasts: 5 * minute, want: Dismissed, class: fault, started: 0, count: 1},
			{state: backendsFail, lasts: 5 * minute, want: Suspected, class: fault, started: 10, count: 1},
			{state: normal, lasts: 5 * minute, want: Dismissed, class: fault, started: 10, count: 1},
			{state: backendsFail, lasts: 5 * minute, want: Suspected, class: fault, started: 20, count: 1},
			{state: backendsDown, lasts: minute, want: Investigating, class: fault, started: 20, count: 1},
		},
		"an attack hours after a suspected fault does not begin with the fault": {
			{state: backendsFail, lasts: 180 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: both, lasts: minute, want: Investigating, class: raid, started: 180, count: 1},
		},
		"an attack that was a notice before begins with it": {
			{state: noticeOnset, lasts: 20 * minute, want: Suspected, class: watch.ClassNotice, started: 0, count: 1},
			{state: attack, lasts: minute, want: Investigating, class: raid, started: anyTime, count: 1},
		},
		"a notice outlasts a fault": {
			{state: backendsFail, lasts: 10 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: noticed, lasts: 5 * minute, want: Suspected, class: watch.ClassNotice, started: 10, count: 1},
		},
		"a person takes over a suspected fault as something else": {
			{state: backendsFail, lasts: 60 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{do: open(watch.ClassStorm), want: Detected, class: watch.ClassStorm, started: 60, count: 1},
			{do: open(watch.ClassStorm), refused: errOpen, want: Detected, class: watch.ClassStorm, started: 60, count: 1},
			{state: both, lasts: minute, want: Investigating, class: raid, started: 60, count: 1},
		},
		"a person confirms a suspected fault": {
			{state: backendsFail, lasts: 60 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{do: open(fault), want: Detected, class: fault, started: 0, count: 1},
		},
		"a person says that a notice is an attack": {
			{state: backendsFail, lasts: 10 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{state: noticed, lasts: 10 * minute, want: Suspected, class: watch.ClassNotice, started: 10, count: 1},
			{do: open(raid), want: Detected, class: raid, started: 10, count: 1},
		},
		"a person opens an incident about a storm that is on": {
			{state: watch.State{Class: watch.ClassStorm, Storm: true}, lasts: 10 * minute, want: "", class: none, started: anyTime, count: 0},
			{do: open(watch.ClassStorm), want: Detected, class: watch.ClassStorm, started: 0, count: 1},
		},
		"a fault suspected before a restart is published with the beginning of now": {
			{state: backendsFail, lasts: 60 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{restart: true, do: Command{Action: ActPublish}, want: Investigating, class: fault, started: 60, count: 1},
		},
		"a fault that is on is published with its beginning": {
			{state: backendsFail, lasts: 60 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{do: Command{Action: ActPublish}, want: Investigating, class: fault, started: 0, count: 1},
		},
		"a restart does not end an attack": {
			{state: attack, lasts: 60 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{restart: true, state: learning, lasts: 2 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{state: attack, lasts: 60 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{state: normal, lasts: minute, want: Monitoring, class: raid, started: 0, count: 1},
			{restart: true, state: normal, lasts: 61 * minute, want: Resolved, class: raid, started: 0, count: 1},
		},
		"an attack that ended during a restart ends": {
			{state: attack, lasts: 60 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{restart: true, do: resolve, refused: ErrStillOn, state: normal, lasts: 31 * minute, want: Monitoring, class: raid, started: 0, count: 1},
			{state: normal, lasts: 61 * minute, want: Resolved, class: raid, started: 0, count: 1},
		},
		"the quiet time before a restart counts": {
			{state: backendsDown, lasts: 60 * minute, want: Investigating, class: fault, started: 0, count: 1},
			{state: normal, lasts: 25 * minute, want: Mitigating, class: fault, started: 0, count: 1},
			{restart: true, state: normal, lasts: 11 * minute, want: Monitoring, class: fault, started: 0, count: 1},
		},
		"an incident that a person opened does not end at once": {
			{state: normal, lasts: minute, want: "", class: none, started: anyTime, count: 0},
			{do: open(raid), state: normal, lasts: 20 * minute, want: Investigating, class: raid, started: 1, count: 1},
			{restart: true, do: resolve, want: Resolved, class: raid, started: 1, count: 1},
		},
		"resolving during an attack needs force, and causes no alert until it was quiet": {
			{state: attack, lasts: 10 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{do: resolve, refused: ErrStillOn, want: Mitigating, class: raid, started: 0, count: 1},
			{do: force, state: attack, lasts: 180 * minute, want: Resolved, class: raid, started: 0, count: 1},
			{restart: true, state: normal, lasts: 2 * minute, want: Resolved, class: raid, started: 0, count: 1},
			{state: attack, lasts: 180 * minute, want: Resolved, class: raid, started: 0, count: 1},
			{state: normal, lasts: 6 * minute, want: Resolved, class: raid, started: 0, count: 1},
			{state: attack, lasts: minute, want: Investigating, class: raid, started: 378, count: 2},
		},
		"other trouble after that is an alert": {
			{state: attack, lasts: 10 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{do: force, state: attack, lasts: minute, want: Resolved, class: raid, started: 0, count: 1},
			{state: notServed, lasts: tick, want: Investigating, class: raid, started: 0, count: 1},
		},
		"an attack is an alert although a person had classified the fault": {
			{state: backendsDown, lasts: 10 * minute, want: Investigating, class: fault, started: 0, count: 1},
			{do: Command{Action: ActReclassify, Class: watch.ClassStorm}, state: backendsDown, lasts: 10 * minute, want: Investigating, class: watch.ClassStorm, started: 0, count: 1},
			{state: both, lasts: minute, want: Investigating, class: raid, started: 0, count: 1},
			{do: Command{Action: ActReclassify, Class: fault}, state: both, lasts: 60 * minute, want: Mitigating, class: fault, started: 0, count: 1},
		},
		"a greater attack after a false alarm is an alert": {
			{state: attack, lasts: 10 * minute, want: Mitigating, class: raid, started: 0, count: 1},
			{do: Command{Action: ActFalseAlarm}, state: attack, lasts: tick, want: Resolved, class: raid, started: 0, count: 1},
			{state: normal, lasts: minute, want: Resolved, class: raid, started: 0, count: 1},
			{state: attack, lasts: tick, want: Detected, class: raid, started: anyTime, count: 2},
		},
		"a hold is not about an attack that follows": {
			{state: backendsFail, lasts: 10 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{do: Command{Action: ActHold}, state: both, lasts: minute, want: Investigating, class: raid, started: 10, count: 1},
		},
		"a suspected fault that a person ended does not come back": {
			{state: backendsFail, lasts: 10 * minute, want: Suspected, class: fault, started: 0, count: 1},
			{do: resolve, state: backendsFail, lasts: 60 * minute, want: Dismissed, class: fault, started: 0, count: 1},
			{state: backendsDown, lasts: minute, want: Investigating, class: fault, started: 0, count: 2},
		},
		"few correct passwords refused: suspected, no alert": {
			{state: fewDenied, lasts: 60 * minute, want: Suspected, class: watch.ClassAuthFault, started: 0, count: 1},
			{state: knownDenied, lasts: 4 * minute, want: Investigating, class: watch.ClassAuthFault, started: 0, count: 1},
		},
		"slow spraying and abuse of accounts are alerts, in the order of their gravity": {
			{state: abuse, lasts: tick, want: Detected, class: watch.ClassAccountAbuse, started: 0, count: 1},
			{state: spray, lasts: 60 * minute, want: Mitigating, class: watch.ClassSlowSpray, started: 0, count: 1},
			{restart: true, state: normal, lasts: 59 * minute, want: Mitigating, class: watch.ClassSlowSpray, started: 0, count: 1},
			{state: normal, lasts: 2 * minute, want: Monitoring, class: watch.ClassSlowSpray, started: 0, count: 1},
		},
	} {
		t.Run(name, func(t *testing.T) { newLogTest(t).play(steps) })
	}
}

// TestFlappingIsOneIncident: trouble that comes and goes every two minutes for hours is one incident with one alert.
func TestFlappingIsOneIncident(t *testing.T) {
	for name, state := range map[string]watch.State{"users not served": impaired, "attack": attack, "backends": backendsDown, "abuse": abuse} {
		d := newLogTest(t)
		alerts := 0
		for range 6 * 15 {
			for _, e := range append(d.feed(state, 2*minute), d.feed(normal, 2*minute)...) {
				if e.Kind == KindReopen || e.To == Detected {
					alerts++
				}
			}
		}
		if all := d.log.All(); len(all) != 1 || alerts != 1 || len(all[0].Events) > maxEvents {
			t.Errorf("%s: %d incidents, %d alerts", name, len(all), alerts)
		}
	}
}

// TestSuspectedDoNotDisplaceDetected: an attacker who causes many faults cannot remove an attack from the log.
func TestSuspectedDoNotDisplaceDetected(t *testing.T) {
	d := newLogTest(t)
	d.feed(attack, 10*minute)
	d.feed(normal, 200*minute)
	for range maxIncidents + 10 {
		d.now = d.now.Add(time.Hour)
		for n := range 50 {
			s := normal
			if n == 0 {
				s = backendsFail
			}
			s.Time = d.now.Add(tick)
			d.now = s.Time
			d.log.Observe(s)
		}
	}
	all := d.log.All()
	if len(all) != maxIncidents || all[len(all)-1].Class != raid {
		t.Errorf("%d incidents, the oldest %+v", len(all), all[len(all)-1])
	}
}

// TestTakenOverFaultIsSymptom: what was suspected is a symptom of what a person reports, from its beginning.
func TestTakenOverFaultIsSymptom(t *testing.T) {
	d := newLogTest(t)
	d.feed(backendsFail, time.Hour)
	d.do(ActOpen, "users call", watch.ClassStorm)
	i := d.phase(Detected)
	if len(i.Symptoms) != 1 || i.Symptoms[0].Class != fault || !i.Symptoms[0].From.Equal(monday.Add(tick)) {
		t.Errorf("symptoms %+v", i.Symptoms)
	}
	if e := i.Events[len(i.Events)-1]; e.By != "kari" || e.Text != "users call" || i.Classified {
		t.Errorf("event %+v of %+v", e, i)
	}
}

// TestRefusalNamesWhatIsOn: the error says what is still on; a forced end says it in the incident until it is over.
func TestRefusalNamesWhatIsOn(t *testing.T) {
	d := newLogTest(t)
	d.feed(notServed, 10*minute)
	_, err := d.log.Do(d.now, Command{Action: ActResolve, By: "kari"})
	if err == nil || !strings.Contains(err.Error(), "the attack on logins is on") || !strings.Contains(err.Error(), "known users were not served") {
		t.Fatalf("got %v", err)
	}
	d.do(ActResolve, "I know", "")
	if i := d.phase(Resolved); !i.StillOn() || len(i.Still) != 2 {
		t.Errorf("still %q", i.Still)
	}
	d.feed(attack, 10*minute)
	if i := d.phase(Resolved); len(i.Still) != 1 || i.Still[0] != raid {
		t.Errorf("still %q", i.Still)
	}
	d.feed(normal, 10*minute)
	if i := d.phase(Resolved); i.StillOn() {
		t.Errorf("still %q", i.Still)
	}
}

// TestFiguresCoverTheWindow: rates are the means of a minute, not those of the latest tick.
func TestFiguresCoverTheWindow(t *testing.T) {
	d := newLogTest(t)
	if _, ok := d.log.Figures(); ok {
		t.Error("figures before the first state")
	}
	s := attack
	s.Observed.Logins, s.Expected.Logins = 100, 50
	d.feed(s, RateWindow/2)
	s.Observed.Logins = 300
	d.feed(s, RateWindow/2)
	if f, ok := d.log.Figures(); !ok || f.Observed.Logins != 200 || f.Expected.Logins != 50 {
		t.Errorf("got %+v", f)
	}
}
