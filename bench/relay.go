package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"postern/bench/client"
)

// relayScenario measures large transfers on few sessions.
var relayScenario = Scenario{
	Name:  "relay",
	About: "large downloads and uploads: MB a second, CPU seconds per GB",
	works: relayWorks,
}

// relaySessions is how many sessions transfer at the same time.
const relaySessions = 4

func relayWorks(o *Options) (works []Work, err error) {
	for _, k := range []struct {
		name string
		client.Security
	}{{"plain", client.Plain}, {"TLS", client.TLS}} {
		works = append(works, Work{
			Name: "relay, " + k.name,
			about: fmt.Sprintf("%d sessions together fetch, then send, %d MB. Clients and mail server share the machine with the target, "+
				"so compare its CPU time per GB.", relaySessions, o.Volume>>20),
			rounds: o.Rounds,
			measure: func(ctx context.Context, t *target, s *sample) error {
				return measureRelay(ctx, t, s, o.Volume, k.Security)
			},
		})
	}
	return works, nil
}

// measureRelay does one round.
func measureRelay(ctx context.Context, t *target, s *sample, volume int64, sec client.Security) error {
	dialer, err := t.dialer(client.IMAP, sec)
	if err != nil {
		return err
	}
	share := volume / relaySessions
	h := &heldSessions{t: t, sessions: make([]*client.Session, relaySessions)}
	defer h.close()
	if err := h.logIn(ctx, dialer); err != nil {
		return err
	}
	if err := h.forEach(ctx, func(c *client.Session) error { return c.Select(strconv.FormatInt(share, 10)) }); err != nil {
		return err
	}
	err = measureTransfer(ctx, t, s, "download", volume, func() error {
		return h.forEach(ctx, func(c *client.Session) error {
			n, err := c.Download()
			if err == nil && n != share {
				err = fmt.Errorf("got a message of %d octets, want %d", n, share)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return measureTransfer(ctx, t, s, "upload", volume, func() error {
		return h.forEach(ctx, func(c *client.Session) error { return c.Upload("INBOX", share) })
	})
}

// measureTransfer measures one direction.
func measureTransfer(ctx context.Context, t *target, s *sample, name string, volume int64, move func() error) error {
	meter, err := t.meter(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := move(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(start)
	if cpu, known := meter.cpu(); known {
		s.figure(name+", CPU per GB", "s", lower, cpu.Seconds()/(float64(volume)/1e9))
	}
	s.figure(name, "MB/s", higher, float64(volume)/1e6/took.Seconds())
	return nil
}
