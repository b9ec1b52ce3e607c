package watch

import (
	"net/netip"
	"slices"

	"postern/limiter/watch/internal/codec"
)

// code encodes or decodes d.
func (d *detector) code(c *codec.Codec) {
	d.baseline.code(c)
	d.dayFactor.code(c)
	d.start.code(c)
	d.recent.code(c)
	d.suppressors.code(c)
	d.proven.code(c)
	c.Floats(&d.phi, &d.busy, &d.told, &d.score, &d.excess, &d.raw)
	c.Bools(&d.learnedBusy, &d.frozen, &d.ready)
	for i := range d.weekly {
		c.Floats(&d.weekly[i])
	}
	c.Times(&d.rising, &d.oddSince, &d.since)
	for _, a := range []*alarm{&d.notice, &d.attack, &d.single} {
		a.code(c)
	}
	d.class.code(c)
	d.latest.code(c)
	d.users.code(c)
	d.expected.code(c)
	d.hourly.code(c)
	d.pace.code(c)
	c.Check(d.phi >= 1 && d.phi <= phiMost, "variance of networks")
}

// code encodes or decodes the class of a state.
func (class *Class) code(c *codec.Codec) {
	codec.String(c, class, exportKind)
	c.Check(slices.Contains(Classes(), *class), "class")
}

// code encodes or decodes r.
func (r *rates) code(c *codec.Codec) {
	for i := range r {
		c.Floats(&r[i])
	}
}

// code encodes or decodes b.
func (b *baseline) code(c *codec.Codec) {
	for i := range b.week {
		b.week[i].code(c)
	}
	codec.Fixed(c, b.weeks[:])
	for i := range b.day {
		b.day[i].code(c)
		codec.Int(c, &b.dayTime[i])
	}
	b.current.code(c)
	b.last.code(c)
	if c.Decoding() {
		b.count()
	}
}

// code encodes or decodes m.
func (m *quarterMean) code(c *codec.Codec) {
	codec.Count(c, &m.index)
	m.sum.code(c)
	codec.Count(c, &m.ticks)
	codec.Int(c, &m.at)
	c.Check(m.index < weekQuarters, "quarter-hour")
}

// code encodes or decodes f.
func (f *dayFactor) code(c *codec.Codec) {
	f.observed.code(c)
	f.expected.code(c)
	for i := range f.past {
		f.past[i].code(c)
	}
	codec.Count(c, &f.ticks)
}

// code encodes or decodes s.
func (c *coldStart) code(x *codec.Codec) {
	c.mean.code(x)
	x.Floats(&c.most)
	codec.Count(x, &c.ticks)
}

// code encodes or decodes r.
func (r *recent) code(c *codec.Codec) {
	for i := range r.observations {
		r.observations[i].code(c)
		r.users[i].code(c)
	}
	codec.Count(c, &r.n)
}

// code encodes or decodes o.
func (o *observation) code(c *codec.Codec) {
	o.rates.code(c)
	c.Floats(&o.raw, &o.unanswered.capped, &o.unanswered.raw, &o.unanswered.networks)
	codec.Fixed(c, o.places[:])
	o.known.code(c)
	o.stranger.code(c)
	for _, n := range []*int{&o.denied, &o.checked, &o.opened, &o.closed} {
		codec.Count(c, n)
	}
}

// code encodes or decodes p.
func (p *suppressors) code(c *codec.Codec) {
	c.Times(&p.backendFault, &p.authFault, &p.storm)
	codec.Count(c, &p.open)
	c.Floats(&p.deniedShare)
}

// code encodes or decodes p.
func (p *proven) code(c *codec.Codec) {
	for _, sets := range [][]accountSet{p.accepted[:], p.denied[:], p.changed[:], p.deniedLately[:]} {
		for i := range sets {
			codec.Fixed(c, sets[i][:])
		}
	}
	codec.Count(c, &p.n)
	codec.Count(c, &p.latest)
	c.Floats(&p.changes)
	c.Times(&p.began)
}

// code encodes or decodes a.
func (a *alarm) code(c *codec.Codec) {
	c.Floats(&a.limit)
	codec.Count(c, &a.held)
	c.Bools(&a.on)
	c.Times(&a.active)
}

// code encodes or decodes f.
func (f *hourly) code(c *codec.Codec) {
	c.Bools(&f.accountAbuse, &f.slowSpray)
	codec.Count(c, &f.abused)
}

// code encodes or decodes p.
func (p *pace) code(c *codec.Codec) {
	codec.Count(c, &p.every)
	codec.Count(c, &p.tick)
	p.last.code(c, func(network *netip.Prefix, tick *int) {
		c.Prefix(network)
		codec.Count(c, tick)
	})
}

// code encodes or decodes g, and each entry by the function entry.
func (g *generations[K, V]) code(c *codec.Codec, entry func(*K, *V)) {
	codec.Map(c, &g.now, g.capacity, entry)
	codec.Map(c, &g.old, g.capacity, entry)
}

// code encodes or decodes s.
func (s *slowSpray) code(c *codec.Codec) {
	codec.Fixed(c, s.cells)
	for i := range s.bins {
		b := &s.bins[i]
		codec.Count(c, &b.hour)
		c.Floats(&b.found)
		c.Bools(&b.neutral, &b.odd)
		c.Check(b.hour < weekHours, "hour of a bin")
	}
	codec.Int(c, &s.number)
	for _, n := range []*int{&s.hour, &s.ticks, &s.pending.hour, &s.pending.bins} {
		codec.Count(c, n)
	}
	for hour := range s.history {
		for week := range s.history[hour] {
			c.Floats(&s.history[hour][week])
		}
		codec.Count(c, &s.weeks[hour])
		c.Check(s.weeks[hour] <= sprayWeeks, "number of weeks")
	}
	c.Floats(&s.found, &s.pending.sum, &s.recentVar, &s.dayVar, &s.by)
	c.Bools(&s.on)
	c.Times(&s.last)
	c.Check(s.hour < weekHours && s.pending.hour < weekHours && s.ticks <= sprayTicks, "slow spray")
}

// code encodes or decodes h. Of the table it has the entries in use.
func (h *habits) code(c *codec.Codec) {
	used := 0
	for set := range h.table {
		for way := range h.table[set] {
			if h.table[set][way] != (habit{}) {
				used++
			}
		}
	}
	codec.Count(c, &used)
	h.codeTable(c, used)
	codec.Count(c, &h.hour)
	for _, counts := range [][]int{h.byLogins[:], h.byRise[:]} {
		for i := range counts {
			codec.Count(c, &counts[i])
		}
	}
	for _, n := range []*int{&h.active, &h.frequent, &h.abused, &h.before, &h.activeBefore, &h.hours} {
		codec.Count(c, n)
	}
	c.Floats(&h.growth, &h.top, &h.usual)
	h.alarm.code(c)
}

// codeTable encodes or decodes the entries of the table that are in use, each with its place.
func (h *habits) codeTable(c *codec.Codec, used int) {
	place := -1
	for range used {
		if !c.Decoding() {
			for place++; h.table[place/habitWays][place%habitWays] == (habit{}); place++ {
			}
		}
		codec.Count(c, &place)
		if c.Check(place < habitSets*habitWays, "place of a habit"); c.Err() != nil {
			return
		}
		e := &h.table[place/habitWays][place%habitWays]
		codec.Count(c, &e.tag)
		codec.Count(c, &e.hour)
		codec.Count(c, &e.logins)
		for _, n := range []*uint8{&e.fresh, &e.most, &e.hours} {
			codec.Count(c, n)
		}
		c.Bools(&e.abused)
		c.Check(e.most < levelCount, "level of a habit")
	}
}
