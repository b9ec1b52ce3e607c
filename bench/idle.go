package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"postern/bench/client"
)

// idle is the scenario: many sessions that are logged in and silent, as those of
// telephones are all day.
var idle = Scenario{
	Name:  "idle",
	About: "logged-in sessions that are silent: memory, descriptors, wake-up latency, also after transfers",
	Works: idleWorks,
}

const (
	transfer      = 256 << 10 // octets that every session fetches, then sends
	openAtOnce    = 32        // clients that log in at the same time
	moveAtOnce    = 16        // sessions that transfer at the same time
	wakeRate      = 200.0     // a second
	wakeDuration  = 2 * time.Second
	holdPatience  = 10 * time.Minute
	warmingLogins = 64
)

func idleWorks(o *Options) ([]Work, error) {
	about := fmt.Sprintf("%d clients log in and stay silent. Memory is the proportional set size (PSS) of all the target's processes, read %v later, "+
		"less what it was before, per session. Then single sessions are woken, %g a second.", o.Sessions, o.Settle, wakeRate)
	rounds := (o.Rounds + 1) / 2 // for memory hardly wanders
	return []Work{
		{
			Name: "idle, plain", About: about, Rounds: rounds, Fresh: true,
			Measure: func(ctx context.Context, t *Target, s *Sample) error {
				return holdIdle(ctx, t, s, o, client.Plain, false)
			},
		},
		{
			Name:   "idle, TLS",
			About:  about + fmt.Sprintf(" Then every session fetches %d KB, later sends %d KB, and is silent again.", transfer>>10, transfer>>10),
			Rounds: rounds, Fresh: true,
			Measure: func(ctx context.Context, t *Target, s *Sample) error {
				return holdIdle(ctx, t, s, o, client.TLS, true)
			},
		},
	}, nil
}

// holdIdle does one round at a target that has just been started.
func holdIdle(ctx context.Context, t *Target, s *Sample, o *Options, sec client.Security, transfers bool) error {
	if t.Name == direct {
		return fmt.Errorf("%s: the mail server is not started afresh, its memory tells nothing: %w", t.Name, ErrLeftOut)
	}
	caller, err := t.Caller(client.IMAP, sec)
	if err != nil {
		return err
	}
	h := &held{t: t, o: o, sessions: make([]*client.Session, o.Sessions)}
	defer h.release()
	if err := h.fill(ctx, s, caller); err != nil {
		return err
	}
	if err := h.wake(ctx, s); err != nil || !transfers {
		return err
	}
	if err := h.each(ctx, fetchOne); err != nil {
		return err
	}
	if err := h.weigh(ctx, s, fmt.Sprintf("after fetching %d KB", transfer>>10)); err != nil {
		return err
	}
	if err := h.each(ctx, func(c *client.Session) error { return c.Upload("INBOX", transfer) }); err != nil {
		return err
	}
	return h.weigh(ctx, s, fmt.Sprintf("after sending %d KB", transfer>>10))
}

// held is the sessions at one target.
type held struct {
	t           *Target
	o           *Options
	sessions    []*client.Session
	memory      int64 // before there were any
	weighed     int64 // memory when they were last weighed
	descriptors int64
}

// fill logs in all sessions, at a target that has had its first clients, and weighs
// them.
func (h *held) fill(ctx context.Context, s *Sample, c *client.Caller) error {
	if err := h.warm(ctx, c); err != nil {
		return err
	}
	if err := h.baseline(ctx); err != nil {
		return err
	}
	if err := h.open(ctx, c); err != nil {
		return err
	}
	return h.weigh(ctx, s, "memory per session")
}

// warm lets a few log in and out: whatever a program sets up at the first clients
// is not the sessions'.
func (h *held) warm(ctx context.Context, c *client.Caller) error {
	return each(ctx, warmingLogins, openAtOnce, func(i int) error { return loginOnce(ctx, h.t, c, i, client.Login).err })
}

// baseline reads what the target needs without sessions.
func (h *held) baseline(ctx context.Context) (err error) {
	if h.t.pid == 0 {
		return nil
	}
	if err := pause(ctx, h.o.Settle); err != nil {
		return err
	}
	if h.memory, err = h.t.Memory(); err != nil {
		return err
	}
	h.descriptors, err = h.t.Descriptors()
	return err
}

// open logs everybody in.
func (h *held) open(ctx context.Context, c *client.Caller) error {
	return each(ctx, len(h.sessions), openAtOnce, func(i int) error {
		s, err := c.Call(ctx, h.t.Source(i))
		if err != nil {
			return err
		}
		h.sessions[i] = s
		account, secret := h.t.Account(i)
		a, err := s.Login(account, secret, client.Login)
		s.Patience(holdPatience)
		if err == nil && a != client.Accepted {
			err = fmt.Errorf("session %d: login %s", i, outcome(a, nil))
		}
		return err
	})
}

// weigh reads what a session costs now.
func (h *held) weigh(ctx context.Context, s *Sample, name string) error {
	if h.t.pid == 0 {
		return nil
	}
	if err := pause(ctx, h.o.Settle); err != nil {
		return err
	}
	memory, err := h.t.Memory()
	if err != nil {
		return err
	}
	h.weighed = memory
	n := float64(len(h.sessions))
	s.Figure(name, "KB", Lower, float64(memory-h.memory)/1024/n)
	if s.has("descriptors per session") {
		return nil
	}
	descriptors, err := h.t.Descriptors()
	s.Figure("descriptors per session", "", Lower, float64(descriptors-h.descriptors)/n)
	return err
}

// wake asks single sessions for an answer.
func (h *held) wake(ctx context.Context, s *Sample) error {
	tally := NewTally(time.Now())
	order := rand.Perm(len(h.sessions))
	duration := min(wakeDuration, time.Duration(float64(len(order))/wakeRate*float64(time.Second)))
	openLoop(ctx, wakeRate, duration, func(i int, due time.Time) {
		err := h.sessions[order[i]].Noop()
		tally.Add(due, time.Since(due), client.Accepted, err)
	})
	s.Figure("wake-up, median", "ms", Lower, tally.Millis(50))
	s.Figure("wake-up, 99 %", "ms", Lower, tally.Millis(99))
	s.Latency("wake-up", tally)
	if what := tally.Failures(); what != "" {
		s.Problem("of %d sessions woken: %s", tally.All(), what)
	}
	return ctx.Err()
}

// each lets every session do something.
func (h *held) each(ctx context.Context, do func(*client.Session) error) error {
	return each(ctx, len(h.sessions), moveAtOnce, func(i int) error { return do(h.sessions[i]) })
}

// fetchOne downloads a message of the size of a transfer.
func fetchOne(c *client.Session) error {
	if err := c.Select(strconv.Itoa(transfer)); err != nil {
		return err
	}
	_, err := c.Download()
	return err
}

// release lets all sessions go.
func (h *held) release() {
	for _, s := range h.sessions {
		if s != nil {
			s.Close()
		}
	}
}
