package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"postern/bench/client"
)

// viewersScenario measures what an operator who watches costs the logins.
var viewersScenario = Scenario{
	Name:  "viewers",
	About: "CPU per login of postern while the page and `postern top` are open, as a multiple of that without",
	works: viewersWorks,
}

const (
	viewersWork  = "viewers, TLS"
	viewersRatio = "CPU per login, with viewers, against without"

	// viewersToken is the admin token of a postern on loopback that lives for one
	// measurement.
	viewersToken = "token-of-a-measurement"
	pollPeriod   = 2 * time.Second // of `postern top`
	// viewTimeout is how long a viewer waits for its first view. Views come every
	// second.
	viewTimeout = 10 * time.Second
)

// viewersWorks lists one work.
func viewersWorks(o *Options) ([]Work, error) {
	w := Work{
		Name: viewersWork,
		about: fmt.Sprintf("%g clients a second log in at one process, four times for %v: with viewers, twice without, and with viewers. Viewers are an operator's page, "+
			"which reads server-sent events from GET /v1/live, and `postern top`, which gets /v1/view every %v. The bench is the viewers, so their own CPU time does not count.",
			o.Rate, o.Duration, pollPeriod),
		rounds: o.Rounds, adminToken: viewersToken,
		measure: func(ctx context.Context, t *target, s *sample) error { return measureViewers(ctx, t, s, o) },
	}
	return []Work{w.onlyAt("postern")}, nil
}

// cpuPerLogin is the CPU time of some logins.
type cpuPerLogin struct {
	cpu    time.Duration
	logins int
}

// micros is the CPU time of one login in microseconds.
func (c cpuPerLogin) micros() float64 {
	return float64(c.cpu.Microseconds()) / float64(max(1, c.logins))
}

// measureViewers does one round. The order of its parts makes a steady change of
// the machine's speed count for both alike.
func measureViewers(ctx context.Context, t *target, s *sample, o *Options) error {
	if t.admin == "" || t.pid == 0 {
		return fmt.Errorf("%s: its admin API or its CPU time: %w", t.name, errNotOffered)
	}
	dialer, err := t.dialer(client.IMAP, client.TLS)
	if err != nil {
		return err
	}
	h := &heldSessions{t: t, o: o}
	if err := h.warmUp(ctx, dialer); err != nil {
		return err
	}
	var with, without cpuPerLogin
	views := int64(0)
	for _, watched := range []bool{true, false, false, true} {
		part := &without
		if watched {
			part = &with
		}
		n, err := part.measure(ctx, t, s, o, dialer, watched)
		if err != nil {
			return err
		}
		views += n
	}
	if with.logins == 0 || without.logins == 0 {
		return errors.New("no login was accepted")
	}
	s.figure("CPU per login, without viewers", "µs", lower, without.micros())
	s.figure("CPU per login, with viewers", "µs", lower, with.micros())
	s.figure(viewersRatio, "×", lower, with.micros()/without.micros())
	s.figure("views received", "/s", neither, float64(views)/(2*o.Duration.Seconds()))
	return ctx.Err()
}

// measure logs clients in at the rate of o, with viewers or without, and adds
// their CPU time to c. It returns how many views there were.
func (c *cpuPerLogin) measure(ctx context.Context, t *target, s *sample, o *Options, d *client.Dialer, watched bool) (views int64, err error) {
	if watched {
		v, err := openViewers(ctx, t.admin)
		if err != nil {
			return 0, err
		}
		if _, err := c.measure(ctx, t, s, o, d, false); err != nil {
			_ = v.close()
			return 0, err
		}
		return v.received.Load(), v.close()
	}
	m, err := t.meter(ctx)
	if err != nil {
		return 0, err
	}
	res := newResults(time.Now())
	openLoop(ctx, o.Rate, o.Duration, func(i int, due time.Time) {
		l := loginOnce(ctx, t, d, i, client.Login)
		res.add(due, l.answered.Sub(due), l.answer, l.err)
	})
	cpu, known := m.cpu()
	if !known {
		return 0, errors.New("read the CPU time of postern: the process has ended")
	}
	c.cpu += cpu
	c.logins += res.accepted()
	if what := res.failures(); what != "" {
		s.problem("of %d logins: %s", res.all(), what)
	}
	return 0, ctx.Err()
}

// viewers are a page and a `postern top` of one postern. The function that opens
// them must close them.
type viewers struct {
	base     string
	http     *http.Client
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	received atomic.Int64 // views, by events and by polls
	mu       sync.Mutex
	err      error // the first one
}

// openViewers opens viewers of the postern whose admin API is at addr. It
// returns once both have received a view.
func openViewers(ctx context.Context, addr string) (*viewers, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &viewers{base: "http://" + addr, http: &http.Client{Transport: &http.Transport{}}, cancel: cancel}
	seen := make(chan struct{}, 2)
	for _, run := range []func(context.Context, func()) error{v.page, v.top} {
		v.wg.Go(func() {
			first := sync.OnceFunc(func() { seen <- struct{}{} })
			if err := run(ctx, func() { v.received.Add(1); first() }); err != nil && ctx.Err() == nil {
				v.fail(err)
			}
		})
	}
	timer := time.NewTimer(viewTimeout)
	defer timer.Stop()
	for range 2 {
		select {
		case <-seen:
		case <-ctx.Done():
		case <-timer.C:
			v.fail(fmt.Errorf("got no view from %s within %v", v.base, viewTimeout))
		}
	}
	if err := v.failure(); err != nil {
		_ = v.close()
		return nil, err
	}
	return v, nil
}

// fail keeps the first error and ends all viewers.
func (v *viewers) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	v.cancel()
}

// failure returns the first error.
func (v *viewers) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// close ends the viewers and returns their first error.
func (v *viewers) close() error {
	v.cancel()
	v.wg.Wait()
	v.http.CloseIdleConnections()
	return v.failure()
}

// get requests a path. The caller closes the body.
func (v *viewers) get(ctx context.Context, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+viewersToken)
	response, err := v.http.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("GET %s: got %s, want 200: this postern has no such view", path, response.Status)
	}
	return response.Body, nil
}

// page reads server-sent events until ctx ends and calls viewed for each view.
func (v *viewers) page(ctx context.Context, viewed func()) error {
	body, err := v.get(ctx, "/v1/live")
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for begins := true; ; { // a view is one long line, read in parts
		part, more, err := lines.ReadLine()
		if err != nil {
			return fmt.Errorf("GET /v1/live: the events end: %w", err)
		}
		if name, found := bytes.CutPrefix(part, []byte("event:")); begins && found && string(bytes.TrimSpace(name)) == "view" {
			viewed()
		}
		begins = !more
	}
}

// top gets the view every pollPeriod until ctx ends and calls viewed for each.
func (v *viewers) top(ctx context.Context, viewed func()) error {
	for {
		body, err := v.get(ctx, "/v1/view")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, body)
		body.Close()
		if err != nil {
			return fmt.Errorf("GET /v1/view: %w", err)
		}
		viewed()
		if err := pause(ctx, pollPeriod); err != nil {
			return err
		}
	}
}
