package incident

import (
	"sync"
	"testing"
	"time"
)

// TestConcurrentUse lets states and commands come at once, while others ask.
func TestConcurrentUse(t *testing.T) {
	l, _ := Replay(nil, 0)
	var done sync.WaitGroup
	done.Go(func() {
		s := attack
		for i := range 1000 {
			s.Time = monday.Add(time.Duration(i) * tick)
			l.Observe(s)
		}
	})
	var notes int
	done.Go(func() {
		for i := range 1000 {
			if _, err := l.Do(monday.Add(time.Duration(i)*tick), Command{Action: ActNote, By: "kari", Text: "x"}); err == nil {
				notes++
			}
		}
	})
	for range 2 {
		done.Go(func() {
			for range 1000 {
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
		t.Errorf("%d notes were taken, %d are there", notes, made)
	}
}
