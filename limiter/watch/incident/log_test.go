package incident

import (
	"bytes"
	"reflect"
	"sync"
	"testing"
	"time"

	"postern/limiter/watch"
)

// twoIncidents returns the lines of two incidents.
func twoIncidents(t *testing.T) []byte {
	d := newLogTest(t)
	d.feed(noticed, time.Minute)
	d.feed(attack, 10*time.Minute)
	d.feed(both, 10*time.Minute)
	d.do(ActAck, "", "")
	d.feed(normal, 3*time.Hour)
	d.feed(normal, 3*time.Hour)
	d.feed(noticed, time.Minute)
	return d.lines
}

// TestTornLine: an incomplete last line, as after a crash, is left out; all others are read.
func TestTornLine(t *testing.T) {
	lines := twoIncidents(t)
	whole, r := Replay(lines, 0)
	if r.Torn || r.Bad != nil || r.Events != bytes.Count(lines, []byte("\n")) {
		t.Fatalf("%+v", r)
	}
	l, r := Replay(lines[:len(lines)-9], 0)
	if !r.Torn || r.Bad != nil {
		t.Errorf("torn: %+v", r)
	}
	if len(l.All()) != len(whole.All())-1 {
		t.Errorf("%d incidents", len(l.All()))
	}
	if _, r := Replay(bytes.TrimRight(lines, "\n"), 0); r.Torn {
		t.Error("a complete last line without a line feed was left out")
	}
}

// TestBadLines: the numbers of invalid lines are returned; all others are read.
func TestBadLines(t *testing.T) {
	lines := append([]byte("invalid\n\n{\"time\":\"2026-03-02T00:00:00Z\",\"incident\":\"x\",\"kind\":\"note\"}\n"), twoIncidents(t)...)
	l, r := Replay(lines, 0)
	if !reflect.DeepEqual(r.Bad, []int{1, 3}) || r.Torn {
		t.Errorf("%+v", r)
	}
	want, _ := Replay(twoIncidents(t), 0)
	if !reflect.DeepEqual(l.All(), want.All()) {
		t.Errorf("have %+v", l.All())
	}
}

// TestLogIsBounded: the oldest incidents are removed.
func TestLogIsBounded(t *testing.T) {
	l, _ := Replay(nil, 0)
	now := monday
	for range maxIncidents + 5 {
		now = now.Add(3 * time.Hour)
		for _, c := range []Command{{Action: ActOpen, By: "kari", Class: watch.ClassStorm}, {Action: ActResolve, By: "kari"}} {
			if _, err := l.Do(now, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all := l.All(); len(all) != maxIncidents || !all[0].Opened.Equal(now) {
		t.Errorf("%d incidents, the latest of %s", len(all), all[0].Opened)
	}
}

// FuzzReplay: no lines make Replay panic, and the Log can be used afterwards.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("{\"time\":\"2026-03-02T00:00:00Z\",\"incident\":\"20260302-0000\",\"kind\":\"open\",\"to\":\"detected\",\"class\":\"attack\",\"by\":\"postern\"}\n"))
	f.Add([]byte("{\"time\":\"2026-03-02T00:00:00Z\",\"incident\":\"a\",\"kind\":\"open\",\"to\":\"resolved\",\"class\":\"storm\"}\n{\"kind\":"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, _ := Replay(data, 0)
		s := attack
		for i := range 5 {
			s.Time = monday.Add(time.Duration(i) * 20 * time.Minute)
			l.Observe(s)
		}
		l.All()
		if _, err := l.Do(monday, Command{Action: ActNote, By: "kari", Text: "x"}); err != nil && len(l.All()) == 0 {
			t.Error(err)
		}
	})
}

// TestConcurrentUse: notes added at the same time as states and queries are all kept.
func TestConcurrentUse(t *testing.T) {
	l, _ := Replay(nil, 0)
	var done sync.WaitGroup
	done.Go(func() {
		s := attack
		for i := range 300 {
			s.Time = monday.Add(time.Duration(i) * tick)
			l.Observe(s)
		}
	})
	var notes int
	done.Go(func() {
		for i := range 300 {
			if _, err := l.Do(monday.Add(time.Duration(i)*tick), Command{Action: ActNote, By: "kari", Text: "x"}); err == nil {
				notes++
			}
		}
	})
	for range 2 {
		done.Go(func() {
			for range 300 {
				l.Open()
				l.Find("")
				l.All()
			}
		})
	}
	done.Wait()
	made := 0
	for _, i := range l.All() {
		for _, e := range i.Events {
			if e.Kind == KindNote {
				made++
			}
		}
	}
	if made != notes {
		t.Errorf("added %d notes, got %d", notes, made)
	}
}
