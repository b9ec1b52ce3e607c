package limiter_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"postern/limiter"
)

// A site is a number of gateways that share through a model of the engine, in virtual time. Each batch of a gateway takes
// a while to the engine, which puts it into one of two streams, and a while to each reader, the sender included. Readers
// do what the receiver of a gateway does: they drop what comes twice, and repair what is missing with a snapshot.
type site struct {
	*timeline
	tb       testing.TB
	rnd      *rand.Rand
	gateways []*gateway
	link     link
	arrival  map[path]time.Time // of the latest batch of each path
	lost     int                // batches that some gateway has not got
	repairs  int

	sentBatch func(b batch) // called with each batch; may be nil
}

// A link says how batches get to the engine and to the readers.
type link struct {
	delay     func(rnd *rand.Rand) time.Duration // to the engine, and from there to a reader: each half of it
	uneven    bool                               // the batches of gateway 0 are at once in the engine
	unordered bool                               // readers see the batches of different gateways in different order
	grace     time.Duration                      // after which a batch that has come back is acknowledged
	repeats   float64                            // the part of the batches that a reader gets twice
	drops     float64                            // the part of the batches that a reader does not get
}

// The delays of links.
func constant(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func random(most time.Duration) func(*rand.Rand) time.Duration {
	return func(rnd *rand.Rand) time.Duration { return time.Duration(rnd.Int64N(int64(most))) }
}

// The streams of the engine.
const (
	denialStream = iota
	knownStream
	streams
)

// A gateway is a limiter with what the gateway knows of the streams.
type gateway struct {
	*limiter.Limiter
	number  int
	feeds   [streams]*limiter.Feed
	sent    [streams]uint64         // the number of the latest own batch
	own     [streams][]batch        // those that have not come back
	seen    map[int][streams]uint64 // the latest batch of each gateway
	side    int                     // gateways on different sides of a partition use different engines
	cut     bool                    // it cannot reach the engine
	waiting []batch                 // what it could not send
	holds   bool                    // it reads nothing for now
	held    []batch                 // what it has not read
}

// A batch is what one gateway has published at a time.
type batch struct {
	from, stream int
	number       uint64
	made         time.Time
	events       []byte
}

// acknowledgedAfter is how long after a batch has come back a gateway acknowledges it, as package sharing does: by then the
// batches that other gateways had under way at the same time have arrived.
const acknowledgedAfter = 2 * time.Second

// A path is a way on which batches do not overtake each other.
type path struct{ to, from, stream int }

// engine is the end of a path to the engine; as the start of one it stands for all gateways.
const engine = -1

// newSite returns n gateways under p at time t, which share.
func newSite(tb testing.TB, t time.Time, n int, p limiter.Policy, l link) *site {
	tb.Helper()
	s := &site{timeline: &timeline{now: t}, tb: tb, rnd: rand.New(rand.NewPCG(16, uint64(n))), link: l, arrival: map[path]time.Time{}}
	for i := range n {
		g := &gateway{Limiter: newLimiterOf(tb, p), number: i, seen: map[int][streams]uint64{}}
		g.feeds[denialStream], g.feeds[knownStream] = g.ShareFeeds()
		s.gateways = append(s.gateways, g)
	}
	s.share(n, false)
	return s
}

// share tells all gateways that n count together, and whether each is alone.
func (s *site) share(n int, alone bool) {
	for _, g := range s.gateways {
		g.SetSharing(s.now, limiter.Sharing{Gateways: n, Alone: alone, Global: 1 / float64(n)})
	}
}

// publish sends what the gateways have to say.
func (s *site) publish() {
	for _, g := range s.gateways {
		s.publishOf(g)
	}
}

func (s *site) publishOf(g *gateway) {
	for stream, f := range g.feeds {
		events := f.Take(1 << 20)
		if events == nil {
			continue
		}
		g.sent[stream]++
		b := batch{g.number, stream, g.sent[stream], s.now, events}
		if s.sentBatch != nil {
			s.sentBatch(b)
		}
		g.own[stream] = append(g.own[stream], b)
		g.waiting = append(g.waiting, b)
	}
	if g.cut || len(g.waiting) == 0 {
		return
	}
	for _, b := range g.waiting {
		d := s.link.delay(s.rnd) / 2
		if s.link.uneven && g.number == 0 {
			d = 0
		}
		s.at(s.inOrder(path{engine, b.from, b.stream}, d), func() { s.append(b) })
	}
	g.waiting = nil
}

// inOrder returns when what is sent now on p arrives, if it takes d and overtakes nothing.
func (s *site) inOrder(p path, d time.Duration) time.Time {
	t := s.now.Add(d)
	if latest := s.arrival[p]; !t.After(latest) {
		t = latest.Add(1)
	}
	s.arrival[p] = t
	return t
}

// append adds b to its stream in the engine, and sends it to all readers on the side of its gateway.
func (s *site) append(b batch) {
	for _, to := range s.gateways {
		p := path{to.number, engine, b.stream}
		if s.link.unordered {
			p.from = b.from
		}
		if to.side != s.gateways[b.from].side || to.number != b.from && s.rnd.Float64() < s.link.drops {
			s.lost++
			continue
		}
		s.deliver(s.inOrder(p, s.link.delay(s.rnd)/2), b, to)
		if s.rnd.Float64() < s.link.repeats {
			s.deliver(s.now.Add(s.link.delay(s.rnd)+time.Second), b, to)
		}
	}
}

// deliver lets a gateway read b at time t, or as soon as it reaches the engine again.
func (s *site) deliver(t time.Time, b batch, to *gateway) {
	s.at(t, func() {
		switch {
		case to.holds:
			to.held = append(to.held, b)
		case to.cut:
			s.deliver(s.now.Add(100*time.Millisecond), b, to)
		default:
			s.receive(b, to)
		}
	})
}

// readShuffled lets g read what it has not read, in any order in which each gateway's batches of one stream are in order.
func (s *site) readShuffled(g *gateway) {
	for g.holds = false; len(g.held) > 0; {
		i := s.rnd.IntN(len(g.held))
		for j := range i {
			if g.held[j].from == g.held[i].from && g.held[j].stream == g.held[i].stream {
				i = j
				break
			}
		}
		s.receive(g.held[i], g)
		g.held = append(g.held[:i:i], g.held[i+1:]...)
	}
}

// receive lets a gateway do what b says.
func (s *site) receive(b batch, g *gateway) {
	seen := g.seen[b.from]
	if b.number <= seen[b.stream] {
		return
	}
	gap := b.number > seen[b.stream]+1
	seen[b.stream] = b.number
	g.seen[b.from] = seen
	if b.from == g.number {
		s.at(s.now.Add(s.link.grace), func() { g.acknowledge(b.stream, b.number) })
		return
	}
	if err := g.ApplyShared(b.made, b.events); err != nil {
		s.tb.Errorf("gateway %d applies what %d has published: %v", g.number, b.from, err)
	}
	if gap {
		s.at(s.now.Add(time.Second), func() { s.repair(g, s.gateways[b.from]) })
	}
}

// acknowledge acknowledges all own batches up to a number.
func (g *gateway) acknowledge(stream int, number uint64) {
	own := g.own[stream]
	for len(own) > 0 && own[0].number <= number {
		g.Acknowledge(own[0].events)
		own = own[1:]
	}
	g.own[stream] = own
}

// repair lets g read a snapshot of another gateway, which says up to which batches it has counted.
func (s *site) repair(g, of *gateway) {
	if g.cut || of.cut || g.side != of.side {
		s.at(s.now.Add(time.Second), func() { s.repair(g, of) })
		return
	}
	s.repairs++
	s.publishOf(of)
	if err := g.MergeBuckets(s.now, of.Buckets(s.now)); err != nil {
		s.tb.Errorf("gateway %d merges the buckets of %d: %v", g.number, of.number, err)
	}
	if err := g.MergeShared(s.now, of.Snapshot(s.now)); err != nil {
		s.tb.Errorf("gateway %d merges the known table of %d: %v", g.number, of.number, err)
	}
	for _, other := range s.gateways {
		counted := of.seen[other.number]
		if other == of {
			counted = of.sent
		}
		seen := g.seen[other.number]
		for stream, n := range counted {
			seen[stream] = max(seen[stream], n)
		}
		g.seen[other.number] = seen
	}
	for stream := range g.own {
		g.acknowledge(stream, g.seen[g.number][stream])
	}
}

// heal ends all faults, and lets every gateway read the snapshots of all others, until nothing is under way.
func (s *site) heal() {
	s.link.drops, s.link.repeats = 0, 0
	for _, g := range s.gateways {
		g.side, g.cut = 0, false
	}
	s.settle()
	s.share(len(s.gateways), false)
	for _, of := range s.gateways {
		for _, g := range s.gateways {
			if g != of {
				s.repair(g, of)
			}
		}
	}
	s.settle()
}

// settle publishes and advances the time until nothing is under way.
func (s *site) settle() {
	s.publish()
	for len(s.events) > 0 {
		s.run(s.events[0].at)
		s.publish()
	}
}
