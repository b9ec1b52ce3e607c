package bench

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"postern/bench/client"
)

// capacity is the scenario: a process that is full.
var capacity = Scenario{
	Name:  "capacity",
	About: "sessions and attackers made to wait, as many as one process has descriptors for: memory, and whether sessions live on",
	Works: capacityWorks,
}

// Sessions and attempts are held in the proportion of 9,000 to 5,000, the most
// that is wanted of one process.
const (
	shareSessions = 9
	shareAttempts = 5
	shareMost     = 1000
	// filesEach is what a share needs: a session has a connection to either side,
	// an attempt that waits has one to its client.
	filesEach = 2*shareSessions + shareAttempts
	// filesSpare is left for everything else, as attempts that are at the mail
	// server.
	filesSpare = 400
)

// descriptorLimit is how many descriptors a process may have.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return filesSpare + filesEach
	}
	return int(min(limit.Max, 1<<20))
}

// crew is how many sessions and how many attempts are to be held.
func (o *Options) crew() (sessions, attempts int) {
	n := min((o.Files-filesSpare)/filesEach, shareMost)
	return shareSessions * n, shareAttempts * n
}

func capacityWorks(o *Options) ([]Work, error) {
	sessions, attempts := o.crew()
	return []Work{{
		Name: "capacity, TLS",
		About: fmt.Sprintf("%d clients log in and stay silent. Then %d attackers, each with an address in a network of its own, guess wrong passwords and are made to wait before each guess but the first. "+
			"They have the proportion of 9,000 to 5,000 and fill %d descriptors, if a session needs two and an attempt that waits one. "+
			"Memory is the proportional set size (PSS), read %v after the last has come. Then every session is woken.", sessions, attempts, o.Files, o.Settle),
		Rounds:   1,
		Fresh:    true,
		Announce: true,
		// The network's limit makes attempts wait and never refuses; no other limit binds, lest attackers be gone before they are weighed.
		Settings: []string{fmt.Sprintf("TRIES=%d", guesses+1), "LIMIT_NETWORK=4/10m", "LIMIT_SOURCE=off", "LIMIT_PAIR=off", "LIMIT_ACCOUNT=off",
			"LIMIT_GLOBAL=1000000/1s", "BACKEND_LOGINS=100000"},
		Measure: func(ctx context.Context, t *Target, s *Sample) error { return fill(ctx, t, s, o) },
	}}, nil
}

// many sessions are more than one machine of this kind can play clients for: their
// memory is reckoned from that of fewer.
const many = 100_000

// fill does one round at a target that has just been started.
func fill(ctx context.Context, t *Target, s *Sample, o *Options) error {
	if t.Name != "postern" {
		return fmt.Errorf("%s: it keeps nobody waiting: %w", t.Name, ErrLeftOut)
	}
	caller, err := t.Caller(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	sessions, attempts := o.crew()
	h := &held{t: t, o: o, sessions: make([]*client.Session, sessions)}
	defer h.release()
	if err := h.fill(ctx, s, caller); err != nil {
		return err
	}
	k := &stuck{sessions: make([]*client.Session, attempts)}
	defer k.release()
	if err := k.come(ctx, t, caller); err != nil {
		return err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return err
	}
	if err := k.weighBeside(s, h); err != nil {
		return err
	}
	return h.wakeAll(ctx, s)
}

// weighBeside reads what attempts cost that wait in a process full of sessions.
func (k *stuck) weighBeside(s *Sample, h *held) error {
	waiting := k.waiting.Load()
	s.Figure("sessions", "", Neither, float64(len(h.sessions)))
	s.Figure("attempts that wait", "", Higher, float64(waiting))
	if missing := int64(len(k.sessions)) - waiting; missing > int64(len(k.sessions)/100) {
		s.Problem("%d of %d attackers are not made to wait; %d have been sent away", missing, len(k.sessions), int64(len(k.sessions))-k.connected.Load())
	}
	if h.t.pid == 0 {
		return nil
	}
	memory, err := h.t.Memory()
	if err != nil {
		return err
	}
	descriptors, err := h.t.Descriptors()
	if err != nil {
		return err
	}
	s.Figure("memory per attempt, on top", "KB", Lower, float64(memory-h.weighed)/1024/float64(max(1, waiting)))
	s.Figure("memory in all", "MB", Lower, float64(memory)/(1<<20))
	s.Figure("descriptors in all", "", Neither, float64(descriptors))
	session := float64(h.weighed-h.memory) / float64(len(h.sessions))
	s.Figure("memory of 100,000 sessions, at that rate", "MB", Lower, (float64(h.memory)+many*session)/(1<<20))
	return nil
}

// wakeAll asks every session for an answer.
func (h *held) wakeAll(ctx context.Context, s *Sample) error {
	tally := NewTally(time.Now())
	_ = h.each(ctx, func(c *client.Session) error {
		begun := time.Now()
		err := c.Noop()
		tally.Add(begun, time.Since(begun), client.Accepted, err)
		return nil // all are to be asked
	})
	s.Figure("sessions that are alive", "%", Higher, tally.Share())
	s.Figure("wake-up, 99 %", "ms", Lower, tally.Millis(99))
	s.Latency("wake-up", tally)
	if what := tally.Failures(); what != "" {
		s.Problem("of %d sessions woken: %s", tally.All(), what)
	}
	return ctx.Err()
}
