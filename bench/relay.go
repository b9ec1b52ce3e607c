package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"postern/bench/client"
)

// relay is the scenario: much mail through few sessions.
var relay = Scenario{
	Name:  "relay",
	About: "large downloads and uploads after login: MB a second, CPU seconds per GB",
	Works: relayWorks,
}

// relaySessions move octets at the same time.
const relaySessions = 4

func relayWorks(o *Options) (works []Work, err error) {
	for _, k := range []struct {
		name string
		client.Security
	}{{"plain", client.Plain}, {"TLS", client.TLS}} {
		works = append(works, Work{
			Name: "relay, " + k.name,
			About: fmt.Sprintf("%d sessions together fetch, then send, %d MB. Client and mail server share the machine with the target: "+
				"its CPU time per GB is what to compare.", relaySessions, o.Volume>>20),
			Rounds: o.Rounds,
			Measure: func(ctx context.Context, t *Target, s *Sample) error {
				return moveMail(ctx, t, s, o.Volume, k.Security)
			},
		})
	}
	return works, nil
}

// moveMail does one round.
func moveMail(ctx context.Context, t *Target, s *Sample, volume int64, sec client.Security) error {
	caller, err := t.Caller(client.IMAP, sec)
	if err != nil {
		return err
	}
	share := volume / relaySessions
	h := &held{t: t, sessions: make([]*client.Session, relaySessions)}
	defer h.release()
	if err := h.open(ctx, caller); err != nil {
		return err
	}
	if err := h.each(ctx, func(c *client.Session) error { return c.Select(strconv.FormatInt(share, 10)) }); err != nil {
		return err
	}
	err = timeMove(ctx, t, s, "download", volume, func() error {
		return h.each(ctx, func(c *client.Session) error {
			n, err := c.Download()
			if err == nil && n != share {
				err = fmt.Errorf("fetched %d octets of %d", n, share)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return timeMove(ctx, t, s, "upload", volume, func() error {
		return h.each(ctx, func(c *client.Session) error { return c.Upload("INBOX", share) })
	})
}

// timeMove measures one direction.
func timeMove(ctx context.Context, t *Target, s *Sample, name string, volume int64, move func() error) error {
	meter, err := t.Meter(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := move(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(begun)
	if cpu, known := meter.CPU(); known {
		s.Figure(name+", CPU per GB", "s", Lower, cpu.Seconds()/(float64(volume)/1e9))
	}
	s.Figure(name, "MB/s", Higher, float64(volume)/1e6/took.Seconds())
	return nil
}
