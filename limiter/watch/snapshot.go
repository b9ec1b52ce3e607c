package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// A snapshot is this text, the image in little endian, the sections, and the CRC-32C of all of it in four octets. The digit
// is the version. Version 1 has no sections.
const (
	snapshotMagic  = "postern watch 2\n"
	snapshotMagic1 = "postern watch 1\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An image is the content of a snapshot. All of it is of fixed size.
type image struct {
	Week     [weekQuarters]rates
	Weeks    [weekQuarters]uint16
	Day      [dayQuarters]rates
	DayTime  [dayQuarters]int64
	Current  imageMean
	Last     imageMean
	Observed rates
	Expected rates
	Past     [factorLag]rates
	Ticks    int64
	Cold     rates
	ColdMost float64
	ColdTick int64
	Phi      float64
	Weekly   [5]float64
}

// An imageMean is the form of a quarterMean in a snapshot.
type imageMean struct {
	Index int64
	Sum   rates
	Ticks int64
	At    int64
}

// Snapshot returns what w has learned, for [Watch.Restore] after a restart. It has about 42 KB, and 15 octets
// for each account with a habit, of which there are 2^18 at most.
// Alarms are not in it: after a restart they are raised again within two minutes if the cause persists.
func (w *Watch) Snapshot(t time.Time) []byte {
	w.lock(t)
	defer w.mu.Unlock()
	data := w.appendSections(appendFixed([]byte(snapshotMagic), w.detector.image()))
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// appendFixed appends an image, which is of fixed size, to a snapshot.
func appendFixed(data []byte, image any) []byte {
	data, err := binary.Append(data, binary.LittleEndian, image)
	if err != nil {
		panic("watch: " + err.Error())
	}
	return data
}

// Restore replaces what w has learned by a snapshot. On error nothing has changed.
func (w *Watch) Restore(t time.Time, data []byte) error {
	m, s, err := readSnapshot(data)
	if err != nil {
		return fmt.Errorf("restore the baseline: %w", err)
	}
	w.lock(t)
	defer w.mu.Unlock()
	w.detector = newDetector()
	w.detector.restore(m)
	w.restoreSections(s)
	return nil
}

// readSnapshot reads a snapshot and checks it. The sections are nil in version 1.
func readSnapshot(data []byte) (*image, *sections, error) {
	m, first := &image{}, bytes.HasPrefix(data, []byte(snapshotMagic1))
	fixed := len(snapshotMagic) + binary.Size(m)
	body := len(data) - 4
	switch {
	case !first && !bytes.HasPrefix(data, []byte(snapshotMagic)):
		return nil, nil, fmt.Errorf("not a snapshot of this version: want it to begin with %q", snapshotMagic)
	case body < fixed || first && body > fixed:
		return nil, nil, fmt.Errorf("got %d octets, want %d", len(data), fixed+4)
	case binary.LittleEndian.Uint32(data[body:]) != crc32.Checksum(data[:body], castagnoli):
		return nil, nil, errors.New("wrong checksum")
	}
	if _, err := binary.Decode(data[len(snapshotMagic):fixed], binary.LittleEndian, m); err != nil {
		return nil, nil, err
	}
	if err := m.check(); err != nil || first {
		return m, nil, err
	}
	s, err := readSections(data[fixed:body])
	return m, s, err
}

// check returns an error if m has values that no detector can have learned.
func (m *image) check() error {
	for _, all := range [][]rates{
		m.Week[:], m.Day[:], m.Past[:], {m.Current.Sum, m.Last.Sum, m.Observed, m.Expected, m.Cold},
	} {
		for _, r := range all {
			if !plausible(r[:]...) {
				return errors.New("rate out of range")
			}
		}
	}
	for _, mean := range []imageMean{m.Current, m.Last} {
		if mean.Index < 0 || mean.Index >= weekQuarters || mean.Ticks < 0 {
			return errors.New("quarter-hour out of range")
		}
	}
	if !plausible(m.Weekly[:]...) || !plausible(m.Phi, m.ColdMost) || m.Phi < 1 || m.Phi > phiMost || m.Ticks < 0 || m.ColdTick < 0 {
		return errors.New("number out of range")
	}
	return nil
}

// plausible reports whether no value is negative, too large, or not a number.
func plausible(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || v < 0 || v > 1e12 {
			return false
		}
	}
	return true
}

// image returns what d has learned as an image.
func (d *detector) image() *image {
	mean := func(m quarterMean) imageMean { return imageMean{Index: m.index, Sum: m.sum, Ticks: m.ticks, At: m.at} }
	return &image{
		Week: d.baseline.week, Weeks: d.baseline.weeks, Day: d.baseline.day, DayTime: d.baseline.dayTime,
		Current: mean(d.baseline.current), Last: mean(d.baseline.last),
		Observed: d.dayFactor.observed, Expected: d.dayFactor.expected, Past: d.dayFactor.past, Ticks: d.dayFactor.ticks,
		Cold: d.start.mean, ColdMost: d.start.most, ColdTick: d.start.ticks, Phi: d.phi, Weekly: d.weekly,
	}
}

// restore sets what d has learned to the content of m.
func (d *detector) restore(m *image) {
	mean := func(m imageMean) quarterMean {
		return quarterMean{index: m.Index, sum: m.Sum, ticks: m.Ticks, at: m.At}
	}
	d.baseline = baseline{
		week: m.Week, weeks: m.Weeks, day: m.Day, dayTime: m.DayTime, current: mean(m.Current), last: mean(m.Last),
	}
	d.baseline.count()
	d.dayFactor = dayFactor{observed: m.Observed, expected: m.Expected, past: m.Past, ticks: m.Ticks}
	d.start = coldStart{mean: m.Cold, most: m.ColdMost, ticks: m.ColdTick}
	d.phi, d.weekly = m.Phi, m.Weekly
	d.learnBusy()
}
