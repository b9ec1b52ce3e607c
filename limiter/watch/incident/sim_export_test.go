//go:build !race

package incident

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"postern/limiter/watch"
)

// TestSimulationHandOverChangesNothing: a Log that is handed over again and again makes the same events from the same states and
// commands as one that is not, and has the same in every field.
func TestSimulationHandOverChangesNothing(t *testing.T) {
	states := []watch.State{normal, normal, noticed, attack, notServed, backendsFail, knownDenied, both}
	used := map[string]bool{}
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 0))
		straight, handed := newLog(30*time.Second), newLog(30*time.Second)
		now := monday
		for range 60 {
			s := states[r.IntN(len(states))]
			s.Observed.Logins, s.Score, s.Drift = r.Float64(), r.Float64(), r.Float64()
			for range 1 + r.IntN(60) {
				now = now.Add(tick)
				s.Time, s.Since, s.Onset = now, monday, monday.Add(time.Nanosecond)
				if r.IntN(5) == 0 {
					handed = handOver(t, handed)
				}
				equal(t, straight.Observe(s), handed.Observe(s))
			}
			if r.IntN(3) == 0 {
				c := Command{Action: Actions()[r.IntN(len(Actions()))], By: "kari", Text: "why", Class: watch.Classes()[r.IntN(len(watch.Classes()))]}
				made, err := straight.Do(now, c)
				other, err2 := handed.Do(now, c)
				equal(t, made, other)
				equal(t, err == nil, err2 == nil)
			}
			handed = handOver(t, handed)
			compareFields(t, straight, handed, used)
		}
	}
	restarted, _ := Replay([]byte(`{"time":"2026-03-02T09:00:00Z","incident":"a","kind":"open","to":"detected","class":"attack","by":"postern"}`), 0)
	compareFields(t, restarted, handOver(t, restarted), used)
	for i := range reflect.TypeFor[Log]().NumField() {
		if name := reflect.TypeFor[Log]().Field(i).Name; !used[name] && notExported[name] == "" {
			t.Errorf("field %s was zero all the time", name)
		}
	}
}

// compareFields compares the fields of two Logs, and notes which of them are in use.
func compareFields(t *testing.T, straight, handed *Log, used map[string]bool) {
	t.Helper()
	equal(t, incidentsOf(t, straight), incidentsOf(t, handed))
	a, b := reflect.ValueOf(straight).Elem(), reflect.ValueOf(handed).Elem()
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if notExported[name] != "" {
			continue
		}
		used[name] = used[name] || !a.Field(i).IsZero() && (a.Field(i).Kind() != reflect.Map || a.Field(i).Len() > 0)
		x, y := reflect.New(a.Field(i).Type()), reflect.New(a.Field(i).Type())
		x.Elem().Set(reflect.NewAt(a.Field(i).Type(), a.Field(i).Addr().UnsafePointer()).Elem())
		y.Elem().Set(reflect.NewAt(a.Field(i).Type(), b.Field(i).Addr().UnsafePointer()).Elem())
		if name != "all" && !reflect.DeepEqual(x.Interface(), y.Interface()) {
			t.Fatalf("field %s, straight through:\n%+v\nhanded over:\n%+v", name, x.Elem(), y.Elem())
		}
	}
}
