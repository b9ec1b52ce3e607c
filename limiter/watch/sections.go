package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// From version 2 on, a snapshot has sections after the image: one of the habits of accounts, one of slow sprays, and one of
// what people said. If what was learned is of the whole site, and not of one gateway alone, an empty one follows. Each is its length in four octets, in little endian, and so many octets. The checksum is of all of them.
const sectionCount = 3

// habitSize is the size of the entry of one account.
const habitSize = 15

// A habitsImage is the fixed part of the section of habits. The entries of the accounts with a habit follow.
type habitsImage struct {
	Hour   uint32
	Hours  int64
	Before int64
	Active int64
	Top    float64
	Usual  float64
}

// A sprayImage is the section of slow sprays.
type sprayImage struct {
	History [weekHours][sprayWeeks]float64
	Weeks   [weekHours]uint8
	Bins    [sprayBins]struct {
		Hour  int64
		Found float64
		Flags uint8 // 1: neutral, 2: odd
	}
	Number  int64
	Hour    int64
	Ticks   int64
	Found   float64
	Pending struct {
		Hour int64
		Sum  float64
		Bins int64
	}
	RecentVar float64
	DayVar    float64
}

// A toldImage is the section of what people said.
type toldImage struct {
	Suspects float64 // a tick, that are usual
}

// sections are what was read from the sections of a snapshot.
type sections struct {
	habits  habitsImage
	entries []byte // of habitSize each
	spray   sprayImage
	told    toldImage
	whole   bool // of the whole site
}

// appendSections appends the sections to a snapshot.
func (w *Watch) appendSections(data []byte) []byte {
	told := func(data []byte) []byte { return appendFixed(data, toldImage{w.detector.told}) }
	all := []func([]byte) []byte{w.habits.appendTo, w.spray.appendTo, told}
	if w.detector.view.whole {
		all = append(all, func(data []byte) []byte { return data })
	}
	for _, section := range all {
		start := len(data)
		data = section(append(data, 0, 0, 0, 0))
		binary.LittleEndian.PutUint32(data[start:], uint32(len(data)-start-4))
	}
	return data
}

// readSections reads and checks the sections, which are the whole of data.
func readSections(data []byte) (*sections, error) {
	var parts [sectionCount][]byte
	for i := range parts {
		if len(data) < 4 || uint64(len(data)-4) < uint64(binary.LittleEndian.Uint32(data)) {
			return nil, fmt.Errorf("section %d: got %d octets, want more", i+1, len(data))
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		parts[i], data = data[4:end], data[end:]
	}
	s := &sections{whole: len(data) == 4 && binary.LittleEndian.Uint32(data) == 0}
	if len(data) > 0 && !s.whole {
		return nil, fmt.Errorf("got %d octets, want none after the sections", len(data))
	}
	fixed := binary.Size(&s.habits)
	if len(parts[0]) < fixed || (len(parts[0])-fixed)%habitSize != 0 {
		return nil, fmt.Errorf("section of habits: got %d octets, want %d and a multiple of %d", len(parts[0]), fixed, habitSize)
	}
	if _, err := binary.Decode(parts[0], binary.LittleEndian, &s.habits); err != nil {
		return nil, err
	}
	s.entries = parts[0][fixed:]
	if got, want := len(parts[1]), binary.Size(&s.spray); got != want {
		return nil, fmt.Errorf("section of slow sprays: got %d octets, want %d", got, want)
	}
	if _, err := binary.Decode(parts[1], binary.LittleEndian, &s.spray); err != nil {
		return nil, err
	}
	if got, want := len(parts[2]), binary.Size(&s.told); got != want {
		return nil, fmt.Errorf("section of what people said: got %d octets, want %d", got, want)
	}
	if _, err := binary.Decode(parts[2], binary.LittleEndian, &s.told); err != nil {
		return nil, err
	}
	return s, s.check()
}

// check returns an error if s has values that cannot have been learned.
func (s *sections) check() error {
	h, p := &s.habits, &s.spray
	ok := h.Hours >= 0 && h.Before >= 0 && h.Active >= 0 && plausible(h.Top, h.Usual) && h.Top < levelCount && p.Number >= 0 && p.Number < math.MaxInt32 &&
		p.Hour >= 0 && p.Hour < weekHours && p.Ticks >= 0 && p.Ticks <= int64(sprayTicks) &&
		p.Pending.Hour >= 0 && p.Pending.Hour < weekHours && p.Pending.Bins >= 0 &&
		plausible(math.Abs(p.Found), math.Abs(p.Pending.Sum), p.RecentVar, p.DayVar, s.told.Suspects)
	for hour, weeks := range p.Weeks {
		ok = ok && weeks <= sprayWeeks && plausible(p.History[hour][:]...)
	}
	for _, b := range p.Bins {
		ok = ok && b.Hour >= 0 && b.Hour < weekHours && plausible(math.Abs(b.Found))
	}
	if !ok {
		return errors.New("number in a section out of range")
	}
	return nil
}

// restoreSections sets what was learned to the content of s. With nil, as of version 1, nothing of it is known.
func (w *Watch) restoreSections(s *sections) {
	w.habits, w.spray = newHabits(), newSlowSpray()
	if s != nil {
		w.habits.restore(&s.habits, s.entries)
		w.spray.restore(&s.spray)
		w.detector.told = s.told.Suspects
		w.detector.view.whole = s.whole
	}
}

// appendTo appends the section of habits.
func (h *habits) appendTo(data []byte) []byte {
	m := habitsImage{Hour: h.hour, Hours: int64(h.hours), Before: int64(h.before), Active: int64(h.activeBefore), Top: h.top, Usual: h.usual}
	data = appendFixed(data, m)
	for set := range h.table {
		for i := range h.table[set] {
			e := &h.table[set][i]
			if e.hour == 0 {
				continue
			}
			data = binary.LittleEndian.AppendUint16(data, uint16(set))
			data = binary.LittleEndian.AppendUint32(data, e.tag)
			data = binary.LittleEndian.AppendUint32(data, e.hour)
			data = binary.LittleEndian.AppendUint16(data, e.logins)
			data = append(data, e.fresh, e.most, e.hours)
		}
	}
	return data
}

// restore restores the section of habits.
func (h *habits) restore(m *habitsImage, entries []byte) {
	h.hour, h.hours, h.top, h.usual = m.Hour, int(m.Hours), m.Top, m.Usual
	h.before, h.activeBefore = int(m.Before), int(m.Active)
	for ; len(entries) > 0; entries = entries[habitSize:] {
		set := &h.table[binary.LittleEndian.Uint16(entries)%habitSets]
		e := habit{
			tag: binary.LittleEndian.Uint32(entries[2:]), hour: binary.LittleEndian.Uint32(entries[6:]),
			logins: binary.LittleEndian.Uint16(entries[10:]), fresh: entries[12], most: min(entries[13], levelCount-1), hours: entries[14],
		}
		for i := range set {
			if set[i].hour == 0 {
				set[i] = e
				h.resume(&set[i])
				break
			}
		}
	}
}

// resume counts the logins of a restored account if they are of the current hour.
func (h *habits) resume(e *habit) {
	if e.hour != h.hour {
		return
	}
	h.recount(e, 1)
	if e.abused = h.exceeded(e); e.abused {
		h.abused++
	}
}

// appendTo appends the section of slow sprays.
func (s *slowSpray) appendTo(data []byte) []byte {
	m := sprayImage{
		History: s.history, Weeks: s.weeks, Number: s.number, Hour: int64(s.hour), Ticks: int64(s.ticks), Found: s.found,
		RecentVar: s.recentVar, DayVar: s.dayVar,
	}
	m.Pending.Hour, m.Pending.Sum, m.Pending.Bins = int64(s.pending.hour), s.pending.sum, int64(s.pending.bins)
	for i, b := range s.bins {
		m.Bins[i].Hour, m.Bins[i].Found = int64(b.hour), b.found
		if b.neutral {
			m.Bins[i].Flags |= 1
		}
		if b.odd {
			m.Bins[i].Flags |= 2
		}
	}
	return appendFixed(data, &m)
}

// restore restores the section of slow sprays.
func (s *slowSpray) restore(m *sprayImage) {
	s.history, s.weeks, s.number, s.hour = m.History, m.Weeks, m.Number, int(m.Hour)
	s.ticks, s.found, s.recentVar, s.dayVar = int(m.Ticks), m.Found, m.RecentVar, m.DayVar
	s.pending = sprayHour{hour: int(m.Pending.Hour), sum: m.Pending.Sum, bins: int(m.Pending.Bins)}
	for i, b := range m.Bins {
		s.bins[i] = sprayCount{hour: int(b.Hour), found: b.Found, neutral: b.Flags&1 != 0, odd: b.Flags&2 != 0}
	}
}
