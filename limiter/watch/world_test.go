package watch

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
	_ "time/tzdata" // people live by it on machines without time zones too
)

// A world is a mail service with its users and the usual strangers, as the watch would be told of it. It is a model,
// not a measurement. It makes each tick's attempts and hands them to a real Watch: those of the known in bulk, those of
// suspects one by one.
type world struct {
	*Watch
	rand     *rand.Rand
	rate     float64 // logins a second at the peak of a common day
	now      time.Time
	location *time.Location

	slow   float64 // noise that lasts for minutes
	minute float64 // noise of this minute
	wave   wave    // the small wave of bots under way
	open   float64 // sessions
	scenes []scene

	full bool // suspects go all the way to the report, which costs time
}

// A wave is what strangers do every day: some hundred networks try some accounts and go.
type wave struct {
	until    time.Time
	rate     float64 // of the peak
	networks int
	first    uint32
}

// A scene changes what a tick brings, from its time on.
type scene struct {
	start time.Time
	play  func(w *world, since time.Duration, p *plan)
}

// A plan is what one tick is to bring, in means.
type plan struct {
	known    float64 // attempts of the known
	strays   float64 // of strangers who belong here: a new telephone, an Internet café
	bots     float64 // of bots and of people who mistype, each from some network
	attack   float64 // of the attack, each from a network of its own
	imitated float64 // share of the attack that passes for known
	one      float64 // of one network
	up       float64 // share of backends that are
	database bool    // the password database is broken
	lose     float64 // share of sessions lost
}

// Among those who belong here.
const (
	knownDenied = 0.01 // have an old password stored
	straysRight = 0.90
)

// newWorld returns a world at time t that nothing is known about.
func newWorld(seed uint64, rate float64, t time.Time, zone string) *world {
	location, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	return &world{
		Watch: New(Config{Location: location}), rand: rand.New(rand.NewPCG(seed, 1)), rate: rate, now: t, location: location,
	}
}

// The day of people who work and of those who do not, by the hour.
var day = [24]float64{
	.25, .20, .18, .17, .18, .25, .40, .65, .85, .95, 1, .98, .92, .93, .95, .93, .90, .85, .75, .68, .62, .55, .45, .33,
}

// shape is the share of the peak that people bring at t.
func shape(t time.Time) float64 {
	h, over := t.Hour(), (float64(t.Minute())+float64(t.Second())/60)/60
	s := day[h] + (day[(h+1)%24]-day[h])*over
	switch t.Weekday() {
	case time.Saturday, time.Sunday:
		s *= 0.6
	case time.Monday:
		if h >= 7 && h < 11 {
			s *= 1.4
		}
	}
	return s
}

// plan says what the tick that begins now is to bring on a common day.
func (w *world) plan() plan {
	t := w.now.In(w.location)
	if t.Second() == 0 {
		w.slow = w.slow*0.9 + w.rand.NormFloat64()*0.02
		w.minute = w.rand.NormFloat64() * 0.07
	}
	s := shape(t)
	people := w.rate * 10 * s * math.Exp(w.slow+w.minute)
	if t.Minute()%15 == 0 {
		people *= 1.25 // programs that ask by the clock
	}
	p := plan{known: people * 0.95, strays: people * 0.03, bots: w.rate * 10 * (0.01*s + 0.01), up: 1}
	if t.After(w.wave.until) && w.rand.Float64() < 28.0/(7*24*360) { // 28 a week
		w.wave = wave{
			until:    t.Add(time.Duration(5+w.rand.IntN(55)) * time.Minute),
			rate:     min(w.rand.ExpFloat64()*0.017, 0.07),
			networks: 100 + w.rand.IntN(900),
			first:    w.rand.Uint32(),
		}
	}
	for _, s := range w.scenes {
		if since := w.now.Sub(s.start); since >= 0 {
			s.play(w, since, &p)
		}
	}
	return p
}

// tick plays 10 s and returns what the watch says.
func (w *world) tick() Reading {
	w.play(w.plan())
	w.now = w.now.Add(tick)
	return w.Tick(w.now)
}

// play tells the watch of what p means.
func (w *world) play(p plan) {
	right, stray := 1-knownDenied, straysRight
	if p.database {
		right, stray = 0, 0
	}
	w.lock(w.now)
	c := &w.counts
	known := w.poisson(p.known)
	served := w.part(known, p.up)
	c.known.Fault += known - served
	c.known.Accepted += w.part(served, right)
	c.known.Denied += known - c.known.Fault - c.known.Accepted
	strays := w.poisson(p.strays)
	heard := w.part(strays, p.up)
	in := w.part(heard, stray)
	c.stranger.Fault += strays - heard
	c.stranger.Accepted += in
	imitating := w.poisson(p.attack * p.imitated * p.up)
	c.known.Denied += imitating
	c.users.Good, c.users.Fault, c.users.Denied = c.known.Accepted, c.known.Fault, c.known.Denied
	w.sessions(c, p)
	w.mu.Unlock()

	w.suspects(heard-in, 1<<22)
	w.suspects(w.poisson(p.bots*p.up), 1<<18)
	w.suspects(w.poisson(p.attack*(1-p.imitated)*p.up), 1<<24)
	w.suspects(w.poisson(p.one*p.up), 1)
	if w.now.Before(w.wave.until) {
		w.suspects(w.poisson(w.wave.rate*w.rate*10*p.up), w.wave.networks)
	}
}

// sessions opens and closes sessions.
func (w *world) sessions(c *counts, p plan) {
	lost := w.poisson(w.open * p.lose)
	left := w.poisson(w.open * (1 - p.lose) / 60) // ten minutes each
	c.opened = c.known.Accepted + c.stranger.Accepted
	c.closed = lost + left
	w.open = max(0, w.open+float64(c.opened-c.closed))
}

// suspects tells of n suspects from some of so many networks.
func (w *world) suspects(n, networks int) {
	for range n {
		at := w.wave.first + w.rand.Uint32N(uint32(networks))
		a := Attempt{Outcome: Denied}
		a.Source, a.Network = blocks(at, byte(w.rand.Uint32()))
		if w.full {
			a.Account = accountName(w.rand.IntN(50_000))
			w.Attempt(w.now, a)
		} else {
			w.counts.attempt(&a)
		}
	}
}

// blocks returns the source at and its network.
func blocks(network uint32, host byte) (source, wider netip.Prefix) {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], network<<8)
	wider = netip.PrefixFrom(netip.AddrFrom4(a), 24)
	a[3] = host
	return netip.PrefixFrom(netip.AddrFrom4(a), 32), wider
}

// accountName returns a name for the account with this number.
func accountName(n int) string {
	const letters = "abcdefghijklmnop"
	var name [6]byte
	for i := range name {
		name[i] = letters[n>>(4*i)&15]
	}
	return string(name[:])
}

// poisson draws how often something happens that does so mean times.
func (w *world) poisson(mean float64) int {
	switch {
	case mean <= 0:
		return 0
	case mean > 30:
		return int(max(0, mean+math.Sqrt(mean)*w.rand.NormFloat64()) + 0.5)
	}
	n, limit := 0, math.Exp(-mean)
	for product := w.rand.Float64(); product > limit; product *= w.rand.Float64() {
		n++
	}
	return n
}

// part draws how many of n are among a share of them.
func (w *world) part(n int, share float64) int {
	switch {
	case share >= 1:
		return n
	case share > 0.5:
		return max(0, n-w.poisson(float64(n)*(1-share)))
	}
	return min(n, w.poisson(float64(n)*share))
}
