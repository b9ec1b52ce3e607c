package proxy

import (
	"crypto/tls"
	"sync"
	"time"

	"postern/proxy/dormant"
)

// dozeAfter is how long a session in TLS is silent before its TLS is put to sleep,
// at least; at most it is twice as long. What wakes it costs a few microseconds.
const dozeAfter = 500 * time.Millisecond

// dozers are the relays that have fallen silent of late. One timer serves all of
// them.
type dozers struct {
	mu         sync.Mutex
	fresh, old []dozer // who came since the timer was set, and before
	awaited    bool    // the timer is set
}

// dozer is a relay, and how often it had fallen silent when it came.
type dozer struct {
	relay    *relay
	silences uint32
}

// add has r put to sleep if it remains silent.
func (z *dozers) add(r *relay, silences uint32) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.fresh = append(z.fresh, dozer{r, silences})
	z.await()
}

// await sets the timer, if there is anybody to wait for. z.mu must be held.
func (z *dozers) await() {
	if !z.awaited && len(z.fresh)+len(z.old) > 0 {
		z.awaited = true
		time.AfterFunc(dozeAfter, z.turn)
	}
}

// turn puts those to sleep who have been silent since the last turn.
func (z *dozers) turn() {
	z.mu.Lock()
	silent := z.old
	z.fresh, z.old, z.awaited = nil, z.fresh, false
	z.await()
	z.mu.Unlock()
	for _, d := range silent {
		d.relay.doze(d.silences)
	}
}

// rouse is to be called before a direction does anything: from then on the TLS of
// the client's side is awake.
func (r *relay) rouse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awake++
	if r.asleep != nil {
		r.client.conn = r.asleep.Wake(r.client.raw)
		r.asleep = nil
	}
}

// hush is the end of rouse, after which the direction does nothing until the next.
func (r *relay) hush() {
	r.mu.Lock()
	r.awake--
	r.silences++
	silences := r.silences
	_, secure := r.client.conn.(*tls.Conn)
	silent := secure && r.awake == 0
	r.mu.Unlock()
	if silent {
		r.server.dozers.add(r, silences)
	}
}

// doze puts TLS to sleep, if r has been silent since silences were counted.
func (r *relay) doze(silences uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if secure, ok := r.client.conn.(*tls.Conn); ok && r.awake == 0 && r.silences == silences {
		if r.asleep = dormant.Sleep(secure); r.asleep != nil {
			r.client.conn = nil
		}
	}
}

// doze puts TLS to sleep for as long as the attempt rests.
func (w *stay) doze() {
	if secure, ok := w.client.Conn.(*tls.Conn); ok {
		if w.asleep = dormant.Sleep(secure); w.asleep != nil {
			w.client.Conn = nil
		}
	}
}

// rouse is the end of doze.
func (w *stay) rouse() {
	if w.asleep != nil {
		w.client.Conn = w.asleep.Wake(w.raw)
		w.asleep = nil
	}
}
