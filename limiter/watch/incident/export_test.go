package incident

import (
	"bytes"
	"encoding/json"
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

// incidentsOf returns all incidents in JSON, which makes no difference between no symptoms and an empty list of them.
func incidentsOf(t *testing.T, l *Log) string {
	t.Helper()
	text, err := json.Marshal(l.All())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// equal fails unless both are the same.
func equal(t *testing.T, straight, handed any) {
	t.Helper()
	if !reflect.DeepEqual(straight, handed) {
		t.Fatalf("straight through:\n%+v\nhanded over:\n%+v", straight, handed)
	}
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
