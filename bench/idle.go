package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"postern/bench/client"
)

// idleScenario measures many sessions that are logged in and idle, as those of
// phones are all day.
var idleScenario = Scenario{
	Name:  "idle",
	About: "idle sessions that are logged in: memory, file descriptors, wake-up latency, also after transfers",
	works: idleWorks,
}

const (
	transfer     = 256 << 10 // octets that every session fetches, then sends
	openAtOnce   = 32        // clients that log in at the same time
	moveAtOnce   = 16        // sessions that transfer at the same time
	wakeRate     = 200.0     // a second
	wakeDuration = 2 * time.Second
	holdTimeout  = 10 * time.Minute
	warmUpLogins = 64
)

func idleWorks(o *Options) ([]Work, error) {
	about := fmt.Sprintf("%d clients log in and are idle. Memory is the proportional set size (PSS) of all processes of the target, read %v later, "+
		"minus what it was before, per session. Then single sessions are woken by NOOP, %g a second.", o.Sessions, o.Settle, wakeRate)
	rounds := (o.Rounds + 1) / 2 // memory varies little
	return []Work{
		{
			Name: "idle, plain", about: about, rounds: rounds, fresh: true,
			measure: func(ctx context.Context, t *target, s *sample) error {
				return measureIdle(ctx, t, s, o, client.Plain, false)
			},
		},
		{
			Name:   "idle, TLS",
			about:  about + fmt.Sprintf(" Then every session fetches %d KB, later sends %d KB, and is idle again.", transfer>>10, transfer>>10),
			rounds: rounds, fresh: true,
			measure: func(ctx context.Context, t *target, s *sample) error {
				return measureIdle(ctx, t, s, o, client.TLS, true)
			},
		},
	}, nil
}

// measureIdle does one round at a freshly started target.
func measureIdle(ctx context.Context, t *target, s *sample, o *Options, sec client.Security, transfers bool) error {
	if t.name == direct {
		return fmt.Errorf("%s: the mail server is not started for every round, its memory says nothing: %w", t.name, errLeftOut)
	}
	dialer, err := t.dialer(client.IMAP, sec)
	if err != nil {
		return err
	}
	h := &heldSessions{t: t, o: o, sessions: make([]*client.Session, o.Sessions)}
	defer h.close()
	if err := h.openAndMeasure(ctx, s, dialer); err != nil {
		return err
	}
	if err := h.measureWakeups(ctx, s); err != nil || !transfers {
		return err
	}
	if err := h.forEach(ctx, fetchMessage); err != nil {
		return err
	}
	if err := h.measureMemory(ctx, s, fmt.Sprintf("after fetching %d KB", transfer>>10)); err != nil {
		return err
	}
	if err := h.forEach(ctx, func(c *client.Session) error { return c.Upload("INBOX", transfer) }); err != nil {
		return err
	}
	return h.measureMemory(ctx, s, fmt.Sprintf("after sending %d KB", transfer>>10))
}

// heldSessions is sessions that are logged in at one target.
type heldSessions struct {
	t                 *target
	o                 *Options
	sessions          []*client.Session
	memoryBefore      int64 // octets, without sessions
	memoryNow         int64 // octets, when it was measured last
	descriptorsBefore int64
}

// openAndMeasure warms the target up, logs all sessions in, and measures their
// memory.
func (h *heldSessions) openAndMeasure(ctx context.Context, s *sample, d *client.Dialer) error {
	if err := h.warmUp(ctx, d); err != nil {
		return err
	}
	if err := h.measureEmpty(ctx); err != nil {
		return err
	}
	if err := h.logIn(ctx, d); err != nil {
		return err
	}
	return h.measureMemory(ctx, s, "memory per session")
}

// warmUp logs a few clients in and out, so that what a target allocates once
// does not count as memory of sessions.
func (h *heldSessions) warmUp(ctx context.Context, d *client.Dialer) error {
	return forEach(ctx, warmUpLogins, openAtOnce, func(i int) error { return loginOnce(ctx, h.t, d, i, client.Login).err })
}

// measureEmpty reads what the target uses without sessions.
func (h *heldSessions) measureEmpty(ctx context.Context) (err error) {
	if h.t.pid == 0 {
		return nil
	}
	if err := pause(ctx, h.o.Settle); err != nil {
		return err
	}
	if h.memoryBefore, err = h.t.memory(); err != nil {
		return err
	}
	h.descriptorsBefore, err = h.t.descriptors()
	return err
}

// logIn opens all sessions.
func (h *heldSessions) logIn(ctx context.Context, d *client.Dialer) error {
	return forEach(ctx, len(h.sessions), openAtOnce, func(i int) error {
		s, err := d.Dial(ctx, h.t.source(i))
		if err != nil {
			return err
		}
		h.sessions[i] = s
		account, secret := h.t.account(i)
		a, err := s.Login(account, secret, client.Login)
		s.SetTimeout(holdTimeout)
		if err == nil && a != client.Accepted {
			err = fmt.Errorf("session %d: got login %s, want %s", i, outcome(a, nil), accepted)
		}
		return err
	})
}

// measureMemory adds what a session uses now to s, under that name.
func (h *heldSessions) measureMemory(ctx context.Context, s *sample, name string) error {
	if h.t.pid == 0 {
		return nil
	}
	if err := pause(ctx, h.o.Settle); err != nil {
		return err
	}
	memory, err := h.t.memory()
	if err != nil {
		return err
	}
	h.memoryNow = memory
	n := float64(len(h.sessions))
	s.figure(name, "KB", lower, float64(memory-h.memoryBefore)/1024/n)
	if s.has("descriptors per session") {
		return nil
	}
	descriptors, err := h.t.descriptors()
	s.figure("descriptors per session", "", lower, float64(descriptors-h.descriptorsBefore)/n)
	return err
}

// measureWakeups sends a command on single sessions and waits for the answer.
func (h *heldSessions) measureWakeups(ctx context.Context, s *sample) error {
	res := newResults(time.Now())
	order := rand.Perm(len(h.sessions))
	duration := min(wakeDuration, time.Duration(float64(len(order))/wakeRate*float64(time.Second)))
	openLoop(ctx, wakeRate, duration, func(i int, due time.Time) {
		err := h.sessions[order[i]].Noop()
		res.add(due, time.Since(due), client.Accepted, err)
	})
	s.figure("wake-up, median", "ms", lower, res.millis(50))
	s.figure("wake-up, 99 %", "ms", lower, res.millis(99))
	s.latency("wake-up", res)
	if what := res.failures(); what != "" {
		s.problem("of %d sessions woken: %s", res.all(), what)
	}
	return ctx.Err()
}

// forEach calls do for all sessions, a few at the same time.
func (h *heldSessions) forEach(ctx context.Context, do func(*client.Session) error) error {
	return forEach(ctx, len(h.sessions), moveAtOnce, func(i int) error { return do(h.sessions[i]) })
}

// fetchMessage downloads a message of the size of a transfer.
func fetchMessage(c *client.Session) error {
	if err := c.Select(strconv.Itoa(transfer)); err != nil {
		return err
	}
	_, err := c.Download()
	return err
}

// close closes all sessions.
func (h *heldSessions) close() {
	for _, s := range h.sessions {
		if s != nil {
			s.Close()
		}
	}
}
