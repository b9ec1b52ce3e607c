package proxy

// walkersKept is how many goroutines are kept that have nothing to do.
const walkersKept = 8

// walkers are the goroutines that walk. A few of those that have ended a walk wait
// for the next: to grow a stack to what a handshake takes costs more than to wait.
type walkers struct {
	work chan walker   // nil if none are kept
	idle chan struct{} // has room for those who are kept
}

// walker is a session or a direction that has something to do, which takes as long
// as walk does.
type walker interface{ walk() }

func newWalkers() walkers { return walkers{make(chan walker), make(chan struct{}, walkersKept)} }

// begin has w walk.
func (k walkers) begin(w walker) {
	select {
	case k.work <- w:
	default:
		go k.walk(w)
	}
}

// walk has w walk, and then whoever comes next.
func (k walkers) walk(w walker) {
	for more := true; more; {
		w.walk()
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
func (k walkers) end() { close(k.work) }
