package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/bench/client"
)

// sharingScenario measures what it costs to share with other gateways.
var sharingScenario = Scenario{
	Name:  "sharing",
	About: "CPU per login of several gateways that share, as a multiple of that without; what the engine gets",
	works: sharingWorks,
}

// sharingSizes are the sites that are measured, by their gateways.
var sharingSizes = []int{2, 3, 8}

// sharingKinds are the kinds of logins: those that others need not know of, and those of which
// each is an event.
var sharingKinds = []struct {
	name   string
	first  int  // number of the first account
	fresh  bool // each login is of another account, in all rounds
	wrong  bool // wrong passwords
	repeat int  // accounts that log in again and again, if not fresh
}{
	{name: "known", repeat: 500},
	{name: "newcomers", first: 100_000, fresh: true},
	{name: "denied", first: 500_000, fresh: true, wrong: true},
}

// The names of works and figures.
func sharingWork(size int) string     { return fmt.Sprintf("sharing, %d gateways", size) }
func sharingRatio(kind string) string { return "CPU per login, " + kind + ", sharing, against without" }
func sharingBatches(kind string) string {
	return "XADD per gateway, " + kind
}

const (
	sharingCPUMost     = 1.05
	sharingBatchesMost = 50 // a second
	// sharingJoin is how long gateways may take until they count together.
	sharingJoin = 15 * time.Second
)

// sharingGoals are the goals of the scenario.
func sharingGoals() (all []goal) {
	for _, size := range sharingSizes {
		for _, kind := range sharingKinds {
			if !kind.fresh {
				all = append(all, goal{Name: fmt.Sprintf("CPU per login, %s, %d gateways that share, against without", kind.name, size), Work: sharingWork(size), Figure: sharingRatio(kind.name), AtMost: sharingCPUMost})
			}
			all = append(all, goal{Name: fmt.Sprintf("XADD per gateway, %s, %d gateways", kind.name, size), Work: sharingWork(size), Figure: sharingBatches(kind.name), AtMost: sharingBatchesMost})
		}
	}
	return all
}

// sharingWorks lists one work for each size.
func sharingWorks(o *Options) (all []Work, err error) {
	for _, size := range sharingSizes {
		w := Work{
			Name: sharingWork(size),
			about: fmt.Sprintf("%g clients a second log in at %d gateways in turn, four times for %v: at gateways that share over an engine, twice at others that do not, and at the first ones. "+
				"Known users log in again and again, newcomers once each, and denied clients try one wrong password each. The engine is another process and does not count as postern.", o.Rate, size, o.Duration),
			rounds: o.Rounds, fresh: true,
			measure: func(ctx context.Context, t *target, s *sample) error { return measureSharing(ctx, t, s, o, size) },
		}
		all = append(all, w.onlyAt("postern"))
	}
	return all, nil
}

// gateways are several gateways with their clients.
type gateways struct {
	targets []*target
	dialers []*client.Dialer
	engine  *engine // nil if they do not share
	dir     string
	stops   []func()
}

// close ends the gateways, and then the engine.
func (g *gateways) close() {
	for _, stop := range g.stops {
		stop()
	}
	if g.engine != nil {
		g.engine.stop()
	}
	os.RemoveAll(g.dir)
}

// openGateways starts gateways beside t. The caller closes them.
func openGateways(ctx context.Context, t *target, size int, share bool) (g *gateways, err error) {
	g = &gateways{}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return g, err
	}
	var settings []string
	if share {
		if g.engine, err = startEngine(ctx, g.dir); err != nil {
			return g, err
		}
		key := make([]byte, 32)
		rand.Read(key)
		keyFile := filepath.Join(g.dir, "key")
		if err := os.WriteFile(keyFile, key, 0o600); err != nil {
			return g, err
		}
		settings = []string{"SHARE_URL=unix://" + g.engine.socket, "KEY_FILE=" + keyFile}
	}
	for i := range size {
		own := append([]string{fmt.Sprintf("GATEWAY=gateway%d", i)}, settings...)
		other, stop, err := t.another(ctx, own...)
		if err != nil {
			return g, err
		}
		g.stops = append(g.stops, stop)
		other.timeout = t.timeout
		dialer, err := other.dialer(client.IMAP, client.TLS)
		if err != nil {
			return g, err
		}
		g.targets, g.dialers = append(g.targets, other), append(g.dialers, dialer)
	}
	return g, nil
}

// awaitSharing waits until what one gateway sends comes to all: each has sent something.
func (g *gateways) awaitSharing(ctx context.Context) error {
	for deadline := time.Now().Add(sharingJoin); ; {
		c, err := g.engine.counts()
		if err == nil && c.appended >= int64(2*len(g.targets)) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("gateways do not share: too few batches in the engine"), err)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// makeKnown logs all accounts of users in that are known.
func (g *gateways) makeKnown(ctx context.Context) error {
	return forEach(ctx, sharingKinds[0].repeat, openAtOnce, func(i int) error {
		n := i % len(g.targets)
		return loginOnce(ctx, g.targets[n], g.dialers[n], i, client.Login).err
	})
}

// sharingPart is what was measured of one kind of logins, at gateways that share or do not.
type sharingPart struct {
	cpu    cpuPerLogin
	took   time.Duration
	engine engineCounts
}

// measureSharing does one round. The order of its parts makes a steady change of the
// machine's speed count for both alike.
func measureSharing(ctx context.Context, t *target, s *sample, o *Options, size int) error {
	if t.another == nil {
		return fmt.Errorf("%s: several gateways: %w", t.name, errNotOffered)
	}
	var both [2]*gateways // without and with
	for i := range both {
		g, err := openGateways(ctx, t, size, i == 1)
		if err != nil {
			return err
		}
		defer g.close()
		both[i] = g
	}
	if err := both[1].awaitSharing(ctx); err != nil {
		return err
	}
	for _, g := range both {
		if err := g.makeKnown(ctx); err != nil {
			return err
		}
	}
	for k := range sharingKinds {
		kind := &sharingKinds[k]
		var parts [2]sharingPart
		for part, share := range []int{1, 0, 0, 1} {
			if err := parts[share].measure(ctx, both[share], s, o, k, part); err != nil {
				return err
			}
		}
		without, with := &parts[0], &parts[1]
		if with.cpu.logins == 0 || without.cpu.logins == 0 {
			return fmt.Errorf("%s: no login was answered", kind.name)
		}
		seconds := float64(size) * with.took.Seconds()
		s.figure("CPU per login, "+kind.name+", without", "µs", lower, without.cpu.micros())
		s.figure("CPU per login, "+kind.name+", sharing", "µs", lower, with.cpu.micros())
		s.figure(sharingRatio(kind.name), "×", lower, with.cpu.micros()/without.cpu.micros())
		s.figure(sharingBatches(kind.name), "/s", lower, float64(with.engine.appended)/seconds)
		s.figure("sent per gateway, "+kind.name, "KB/s", lower, float64(with.engine.in)/1000/seconds)
		s.figure("received per gateway, "+kind.name, "KB/s", lower, float64(with.engine.out)/1000/seconds)
		s.figure("CPU of the engine, "+kind.name, "%", lower, 100*with.engine.cpu.Seconds()/with.took.Seconds())
	}
	return ctx.Err()
}

// measure logs clients of one kind in at the rate of o, and adds what that costs.
func (p *sharingPart) measure(ctx context.Context, g *gateways, s *sample, o *Options, kindIndex, part int) error {
	kind := &sharingKinds[kindIndex]
	meters := make([]meter, len(g.targets))
	var before engineCounts
	var err error
	if g.engine != nil {
		if before, err = g.engine.counts(); err != nil {
			return err
		}
	}
	for i, t := range g.targets {
		if meters[i], err = t.meter(ctx); err != nil {
			return err
		}
	}
	begin := time.Now()
	res := newResults(begin)
	openLoop(ctx, o.Rate, o.Duration, func(i int, due time.Time) {
		number := kind.first + part*20_000 + i
		if !kind.fresh {
			number = i % kind.repeat
		}
		n := i % len(g.targets)
		l := loginWith(ctx, g.targets[n], g.dialers[n], number, kind.wrong)
		res.add(due, l.answered.Sub(due), l.answer, l.err)
	})
	p.took += time.Since(begin)
	for i := range meters {
		cpu, known := meters[i].cpu()
		if !known {
			return errors.New("read the CPU time of postern: the process has ended")
		}
		p.cpu.cpu += cpu
	}
	if g.engine != nil {
		after, err := g.engine.counts()
		if err != nil {
			return err
		}
		p.engine.add(after.sub(before))
	}
	if kind.wrong {
		p.cpu.logins += res.outcomes[denied]
	} else {
		p.cpu.logins += res.accepted()
		if what := res.failures(); what != "" {
			s.problem("of %d logins: %s", res.all(), what)
		}
	}
	return ctx.Err()
}

// loginWith is loginOnce, or a try of a wrong password.
func loginWith(ctx context.Context, t *target, d *client.Dialer, i int, wrong bool) (l loginResult) {
	if !wrong {
		return loginOnce(ctx, t, d, i, client.Login)
	}
	session, err := d.Dial(ctx, t.source(i))
	if err != nil {
		return loginResult{answered: time.Now(), err: err}
	}
	defer session.Close()
	account, _ := t.account(i)
	l.answer, l.err = session.Login(account, "wrong", client.Login)
	l.answered = time.Now()
	return l
}
