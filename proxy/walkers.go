package proxy

// walkersKept is how many goroutines are kept that have nothing to do.
const idleWorkers = 8

// walkers are the goroutines that walk. A few of those that have ended a walk wait
// for the next: to grow a stack to what a handshake takes costs more than to wait.
type workers struct {
	work chan runner   // nil if none are kept
	idle chan struct{} // has room for those who are kept
}

// walker is a session or a direction that has something to do, which takes as long
// as walk does.
type runner interface{ run() }

func newWorkers() workers { return workers{make(chan runner), make(chan struct{}, idleWorkers)} }

// begin has w walk.
func (k workers) run(w runner) {
	select {
	case k.work <- w:
	default:
		go k.run1(w)
	}
}

// walk has w walk, and then whoever comes next.
func (k workers) run1(w runner) {
	for more := true; more; {
		w.run()
		select {
		case k.idle <- struct{}{}:
		default:
			return
		}
		w, more = <-k.work
		<-k.idle
	}
}

// end sends those home who have nothing to do. Nobody will walk any more.
func (k workers) end() { close(k.work) }
