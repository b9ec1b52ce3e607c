package machine

import (
	"os"
	"runtime"
	"time"
)

// Watch tells how much of the machine others used while something was measured:
// everything but this process and its descendants.
type Watch struct {
	at        time.Time
	busy, own time.Duration
}

// NewWatch begins to watch.
func NewWatch() (Watch, error) {
	busy, err := Busy()
	if err != nil {
		return Watch{}, err
	}
	own, err := Spent(os.Getpid())
	return Watch{at: time.Now(), busy: busy, own: own}, err
}

// Others returns the part of the machine, from 0 to 1, that others used since w
// began. Interrupts that serve our own traffic are among it: a few per cent are
// nobody's fault.
func (w Watch) Others() (float64, error) {
	now, err := NewWatch()
	if err != nil {
		return 0, err
	}
	whole := float64(now.at.Sub(w.at)) * float64(runtime.NumCPU())
	if whole <= 0 {
		return 0, nil
	}
	others := float64(now.busy-w.busy) - float64(now.own-w.own)
	return min(max(others/whole, 0), 1), nil
}
