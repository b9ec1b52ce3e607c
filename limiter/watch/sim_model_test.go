package watch

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
	_ "time/tzdata" // for machines without time zones
)

// oslo is the time zone of the simulated mail services.
const oslo = "Europe/Oslo"

// A simulation is a model of a mail service with its users and the usual strangers. It generates the attempts of each tick
// and reports them to a Watch: those of known users in bulk, those of suspects one by one.
type simulation struct {
	*Watch
	rand     *rand.Rand
	random   *rand.PCG // its state
	rate     float64   // logins a second at the peak of a common day
	now      time.Time
	location *time.Location

	slow   float64 // noise that lasts for minutes
	minute float64 // noise of this minute
	wave   wave    // the latest small wave of bots
	open   float64 // sessions
	events []event
}

// A wave is usual on every day: some hundred networks try some accounts for some minutes, and repeat some guesses.
type wave struct {
	until    time.Time
	rate     float64 // of the peak
	networks int
	first    uint32
	fresh    float64 // share of the guesses that are new; the others are repeats
	latest   Attempt // of its new guesses
}

// An event changes the load from its start on.
type event struct {
	start time.Time
	apply func(s *simulation, since time.Duration, l *load)
}

// A load is the mean number of attempts in one tick.
type load struct {
	known     float64 // of known users
	newcomers float64 // of users who are not known: a new telephone, an Internet café
	bots      float64 // of bots and of users who mistype
	attack    float64 // of the attack, each from a network of its own
	imitated  float64 // share of the attack that counts as known
	single    float64 // of one network
	gone      float64 // of strangers that hang up before the answer, each from a network of its own
	held      float64 // connections without an attempt, each from a network of its own
	impatient float64 // share of the newcomers that hang up or are refused because something is full
	repeated  float64 // repeats of the guesses of a wave of bots
	up        float64 // share of backends that work
	database  bool    // the password database refuses everybody
	refused   float64 // share of the right passwords that the password database refuses
	lost      float64 // share of sessions lost
}

// Shares of the attempts of users.
const (
	knownDenied    = 0.01 // with an old password stored
	newcomersRight = 0.90 // with the right password
)

// newSimulation returns a simulation that begins at t, with a Watch that has learned nothing.
func newSimulation(seed uint64, rate float64, t time.Time, zone string) *simulation {
	location, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	random := rand.NewPCG(seed, 1)
	return &simulation{
		Watch: New(Config{Location: location}), rand: rand.New(random), random: random, rate: rate, now: t, location: location,
	}
}

// fork returns an independent copy of w, without events.
func (w *simulation) fork() *simulation {
	c := newSimulation(0, w.rate, w.now, w.location.String())
	*c.random = *w.random
	*c.detector = *w.detector
	c.detector.pace.last.now, c.detector.pace.last.old = maps.Clone(w.detector.pace.last.now), maps.Clone(w.detector.pace.last.old)
	c.guesses = w.guesses
	c.guesses.now, c.guesses.old = slices.Clone(w.guesses.now), slices.Clone(w.guesses.old)
	c.latest, c.started = w.latest, w.started
	c.slow, c.minute, c.wave, c.open = w.slow, w.minute, w.wave, w.open
	return c
}

// day is the rate of logins in each hour, as a share of the peak.
var day = [24]float64{
	.25, .20, .18, .17, .18, .25, .40, .65, .85, .95, 1, .98, .92, .93, .95, .93, .90, .85, .75, .68, .62, .55, .45, .33,
}

// shape is the rate of logins at t as a share of the peak of a common day.
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

// nextLoad returns the load of the tick that begins now.
func (w *simulation) nextLoad() load {
	t := w.now.In(w.location)
	if t.Second() == 0 {
		w.slow = w.slow*0.9 + w.rand.NormFloat64()*0.02
		w.minute = w.rand.NormFloat64() * 0.07
	}
	s := shape(t)
	users := w.rate * 10 * s * math.Exp(w.slow+w.minute)
	if t.Minute()%15 == 0 {
		users *= 1.25 // programs with a fixed schedule
	}
	p := load{known: users * 0.95, newcomers: users * 0.03, bots: w.rate * 10 * (0.01*s + 0.01), gone: users * 0.002, up: 1}
	if t.After(w.wave.until) && w.rand.Float64() < 28.0/(7*24*360) { // 28 a week
		w.wave = wave{
			until:    t.Add(time.Duration(5+w.rand.IntN(55)) * time.Minute),
			rate:     min(w.rand.ExpFloat64()*0.017, 0.07),
			networks: 100 + w.rand.IntN(900),
			first:    w.rand.Uint32(),
			fresh:    w.rand.Float64(),
		}
	}
	for _, e := range w.events {
		if since := w.now.Sub(e.start); since >= 0 {
			e.apply(w, since, &p)
		}
	}
	return p
}

// tick simulates 10 s and returns the reading of the watch.
func (w *simulation) tick() Reading {
	w.generate(w.nextLoad())
	w.now = w.now.Add(tick)
	return w.Tick(w.now)
}

// generate reports attempts and sessions to the watch, at random with the means of p.
func (w *simulation) generate(p load) {
	knownRight, newRight := (1-knownDenied)*(1-p.refused), newcomersRight*(1-p.refused)
	w.lock(w.now)
	c := &w.counts
	known := w.poisson(p.known)
	served := w.share(known, p.up)
	c.known.Fault += known - served
	c.known.Accepted += w.share(served, knownRight)
	c.known.Denied += known - c.known.Fault - c.known.Accepted
	newcomers := w.poisson(p.newcomers)
	impatient := w.share(newcomers, p.impatient)
	newcomers -= impatient
	answered := w.share(newcomers, p.up)
	accepted := w.share(answered, newRight)
	c.stranger.Fault += newcomers - answered
	c.stranger.Accepted += accepted
	c.known.Denied += w.poisson(p.attack * p.imitated * p.up)
	c.denied = c.known.Denied
	c.users.Good, c.users.Fault, c.users.Denied = c.known.Accepted, c.known.Fault, c.known.Denied
	w.sessions(c, p)
	w.mu.Unlock()

	w.suspects(answered-accepted, 1<<22, Denied)
	w.suspects(impatient, 1<<22, Gone)
	w.suspects(w.poisson(p.gone), 1<<24, Gone)
	w.suspects(w.poisson(p.bots*p.up), 1<<18, Denied)
	w.suspects(w.poisson(p.attack*(1-p.imitated)*p.up), 1<<24, Denied)
	w.suspects(w.poisson(p.single*p.up), 1, Denied)
	if w.now.Before(w.wave.until) {
		w.waves(w.poisson(w.wave.rate * w.rate * 10 * p.up))
	}
	for range w.poisson(p.held) {
		source, network := blocks(w.rand.Uint32(), byte(w.rand.Uint32()))
		w.Held(w.now, source, network)
	}
	since := float64(w.now.Unix()/10) * p.repeated / 12
	for range w.poisson(p.repeated) { // each guess some twelve times within a minute, from 300 networks
		guess := uint64(since) + w.rand.Uint64N(uint64(p.repeated/2)+1)
		a := Attempt{Outcome: Denied, Credential: guess}
		a.Source, a.Network = blocks(uint32(guess%300), byte(guess/300))
		w.countAttempt(a)
	}
}

// waves reports n attempts of the latest wave. A share of them are new guesses.
func (w *simulation) waves(n int) {
	fresh := w.share(n, w.wave.fresh)
	w.suspects(fresh, w.wave.networks, Denied)
	for range n - fresh {
		if a := w.wave.latest; a.Credential != 0 {
			w.countAttempt(a)
		}
	}
}

// sessions opens and closes sessions.
func (w *simulation) sessions(c *counts, p load) {
	lost := w.poisson(w.open * p.lost)
	left := w.poisson(w.open * (1 - p.lost) / 60) // sessions of ten minutes
	c.opened = c.known.Accepted + c.stranger.Accepted
	c.closed = lost + left
	w.open = max(0, w.open+float64(c.opened-c.closed))
}

// suspects reports n suspects with this outcome, each from one of so many networks at random.
func (w *simulation) suspects(n, networks int, o Outcome) {
	for range n {
		at := w.wave.first + w.rand.Uint32N(uint32(networks))
		a := Attempt{Outcome: o, Credential: w.rand.Uint64()}
		a.Source, a.Network = blocks(at, byte(w.rand.Uint32()))
		w.count(w.now, &hashedAttempt{Attempt: &a}) // the hashes are for what proves a credential
		w.wave.latest = a
	}
}

// countAttempt reports an attempt to the part of the watch that counts by the tick.
func (w *simulation) countAttempt(a Attempt) {
	h := w.hash.attempt(&a)
	w.count(w.now, &h)
}

// blocks returns a source in the network with this number, and the network.
func blocks(network uint32, host byte) (source, wider netip.Prefix) {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], network<<8)
	wider = netip.PrefixFrom(netip.AddrFrom4(a), 24)
	a[3] = host
	return netip.PrefixFrom(netip.AddrFrom4(a), 32), wider
}

// poisson returns a random number with the Poisson distribution of this mean.
func (w *simulation) poisson(mean float64) int {
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

// share returns a random number of n things of which each counts with probability share.
func (w *simulation) share(n int, share float64) int {
	switch {
	case share >= 1:
		return n
	case share > 0.5:
		return max(0, n-w.poisson(float64(n)*(1-share)))
	}
	return min(n, w.poisson(float64(n)*share))
}
