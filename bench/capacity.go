package bench

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"postern/bench/client"
)

// capacityScenario measures a process that uses all its file descriptors.
var capacityScenario = Scenario{
	Name:  "capacity",
	About: "as many sessions and waiting attackers as one process has file descriptors for: memory, sessions alive",
	works: capacityWorks,
}

// Sessions and attempts are held in the ratio of 9,000 to 5,000, the most that
// one process must hold.
const (
	shareSessions = 9
	shareAttempts = 5
	maxShares     = 1000
	// filesPerShare: a session has a connection on either side, an attempt that
	// waits has one.
	filesPerShare = 2*shareSessions + shareAttempts
	// filesReserved is left for everything else, as attempts that are at the mail
	// server.
	filesReserved = 400
)

// descriptorLimit returns how many file descriptors a process may have.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return filesReserved + filesPerShare
	}
	return int(min(limit.Max, 1<<20))
}

// capacityCounts returns how many sessions and attempts are held.
func (o *Options) capacityCounts() (sessions, attempts int) {
	n := min((o.Files-filesReserved)/filesPerShare, maxShares)
	return shareSessions * n, shareAttempts * n
}

func capacityWorks(o *Options) ([]Work, error) {
	sessions, attempts := o.capacityCounts()
	return []Work{{
		Name: "capacity, TLS",
		about: fmt.Sprintf("%d clients log in and are idle. Then %d attackers, each with an address in a network of its own, guess wrong passwords and must wait before each guess but the first. "+
			"Their ratio is 9,000 to 5,000. They use %d file descriptors, if a session needs two and an attempt that waits needs one. "+
			"Memory is the proportional set size (PSS), read %v after the last attacker has connected. Then every session is woken.", sessions, attempts, o.Files, o.Settle),
		rounds:      1,
		fresh:       true,
		proxyHeader: true,
		// The network's limit makes attempts wait and never refuses. All other limits are off, so that attackers remain connected.
		settings: []string{fmt.Sprintf("TRIES=%d", guesses+1), "LIMIT_NETWORK=4/10m", "LIMIT_SOURCE=off", "LIMIT_PAIR=off", "LIMIT_ACCOUNT=off",
			"LIMIT_GLOBAL=1000000/1s", "BACKEND_LOGINS=100000"},
		measure: func(ctx context.Context, t *target, s *sample) error { return measureCapacity(ctx, t, s, o) },
	}}, nil
}

// measureCapacity does one round at a freshly started target.
func measureCapacity(ctx context.Context, t *target, s *sample, o *Options) error {
	if t.name != "postern" {
		return fmt.Errorf("%s: it has no tarpit: %w", t.name, errLeftOut)
	}
	dialer, err := t.dialer(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	sessions, attempts := o.capacityCounts()
	h := &heldSessions{t: t, o: o, sessions: make([]*client.Session, sessions)}
	defer h.close()
	if err := h.openAndMeasure(ctx, s, dialer); err != nil {
		return err
	}
	w := &waitingAttackers{sessions: make([]*client.Session, attempts)}
	defer w.close()
	if err := w.connect(ctx, t, dialer, attackerLogins(attempts)); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	if err := w.measureBeside(s, h); err != nil {
		return err
	}
	return h.wakeAll(ctx, s)
}

// extrapolatedSessions is more sessions than this machine can run clients for.
// Their memory is computed from that of fewer.
const extrapolatedSessions = 100_000

// measureBeside adds what waiting attempts use in a process full of sessions.
func (w *waitingAttackers) measureBeside(s *sample, h *heldSessions) error {
	waiting, attackers := w.waiting.Load(), int64(len(w.sessions))
	s.figure("sessions", "", neither, float64(len(h.sessions)))
	s.figure("attempts that wait", "", higher, float64(waiting))
	if missing := attackers - waiting; missing > attackers/100 {
		s.problem("%d of %d attackers do not wait; %d of them are disconnected", missing, attackers, attackers-w.connected.Load())
	}
	if h.t.pid == 0 {
		return nil
	}
	memory, err := h.t.memory()
	if err != nil {
		return err
	}
	descriptors, err := h.t.descriptors()
	if err != nil {
		return err
	}
	s.figure("memory per attempt, on top", "KB", lower, float64(memory-h.memoryNow)/1024/float64(max(1, waiting)))
	s.figure("memory in all", "MB", lower, float64(memory)/(1<<20))
	s.figure("descriptors in all", "", neither, float64(descriptors))
	session := float64(h.memoryNow-h.memoryBefore) / float64(len(h.sessions))
	s.figure("memory of 100,000 sessions, at that rate", "MB", lower, (float64(h.memoryBefore)+extrapolatedSessions*session)/(1<<20))
	return nil
}

// wakeAll sends a command on every session and waits for the answers.
func (h *heldSessions) wakeAll(ctx context.Context, s *sample) error {
	res := newResults(time.Now())
	_ = h.forEach(ctx, func(c *client.Session) error {
		start := time.Now()
		err := c.Noop()
		res.add(start, time.Since(start), client.Accepted, err)
		return nil // a lost session must not end the loop
	})
	s.figure("sessions that are alive", "%", higher, res.acceptedShare())
	s.figure("wake-up, 99 %", "ms", lower, res.millis(99))
	s.latency("wake-up", res)
	if what := res.failures(); what != "" {
		s.problem("of %d sessions woken: %s", res.all(), what)
	}
	return ctx.Err()
}
