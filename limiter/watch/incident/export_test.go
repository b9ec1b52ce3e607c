package incident

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
)

// handOver returns the Log that takes over from l.
func handOver(t testing.TB, l *Log) *Log {
	t.Helper()
	data, err := l.Export()
	if err != nil {
		t.Fatal(err)
	}
	next, err := Import(data, l.hold)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// notExported are the fields of a Log that an export does not have, with the reason.
var notExported = map[string]string{"mu": "a lock", "hold": "from the configuration", "made": "empty between calls"}

// TestHandOverChangesNothing: a Log that is handed over again and again makes the same events from the same states and
// commands as one that is not, and has the same in every field.
func TestHandOverChangesNothing(t *testing.T) {
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

// equal fails unless both are the same.
func equal(t *testing.T, straight, handed any) {
	t.Helper()
	if !reflect.DeepEqual(straight, handed) {
		t.Fatalf("straight through:\n%+v\nhanded over:\n%+v", straight, handed)
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

// incidentsOf returns all incidents in JSON, which makes no difference between no symptoms and an empty list of them.
func incidentsOf(t *testing.T, l *Log) string {
	t.Helper()
	text, err := json.Marshal(l.All())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRefusesInvalidExports: the error says what is wrong.
func TestRefusesInvalidExports(t *testing.T) {
	l, _ := Replay(twoIncidents(t), 0)
	good, err := l.Export()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"{", "", "import the incidents: "},
		{`"phase":"`, `"phase":"x`, "want a new ID, one of"},
		{`"all":[`, `"all":[null,`, "an incident is missing"},
		{`"class":"`, `"class":"x`, "want one of"},
		{`"n":0`, `"n":-1`, "want at most"},
		{`"observed":[`, `"observed":[{},`, "want at most"},
	} {
		if _, err := Import(bytes.Replace(good, []byte(c.from), []byte(c.to), 1), 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q instead of %q: got %v, want %q", c.to, c.from, err, c.want)
		}
	}
}

// FuzzImport: no data makes Import or what follows it panic.
func FuzzImport(f *testing.F) {
	l, _ := Replay(nil, 0)
	for n, s := range []watch.State{noticed, attack, both, normal} {
		s.Time = monday.Add(time.Duration(n) * tick)
		l.Observe(s)
	}
	good, err := l.Export()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(_ *testing.T, data []byte) {
		l, err := Import(data, 0)
		if err != nil {
			return
		}
		for n, s := range []watch.State{normal, attack, knownDenied, both, normal} {
			s.Time = monday.Add(time.Duration(n) * time.Hour)
			l.Observe(s)
			for _, a := range Actions() {
				_, _ = l.Do(s.Time, Command{Action: a, By: "kari", Text: "why", Class: watch.ClassStorm}) // refused or not
			}
		}
		l.All()
		l.Figures()
	})
}
