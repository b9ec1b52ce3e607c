package loginlog

import (
	"bytes"
	"time"
)

// halfYear distinguishes a change of the year from lines that are out of order.
const halfYear = 182 * 24 * time.Hour

// A clock reads the times of the lines of one file.
type clock struct {
	location  *time.Location // of times without a zone
	reference time.Time      // when the log ends, at the latest; gives the years of times without one
	year      int            // of the line before; 0 before the first
	before    time.Time      // time of the line before, of those without a year
	last      [15]byte       // the text that before was read from
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// syslog reads a time of the form "Nov 27 12:00:00", which has no year, and returns what follows it. The year of the
// first line is the latest for which it is not after the reference; after that it changes with each step back by more
// than half a year, as from December to January.
func (c *clock) syslog(line []byte) (t time.Time, rest []byte, ok bool) {
	if len(line) < 15 || line[3] != ' ' || line[6] != ' ' {
		return t, nil, false
	}
	if rest = line[15:]; [15]byte(line) == c.last && c.year != 0 {
		return c.before, rest, true
	}
	month := bytes.Index([]byte(months), line[:3])
	dayText := line[4:6]
	if dayText[0] == ' ' {
		dayText = dayText[1:]
	}
	day, okDay := number(dayText)
	seconds, okTime := timeOfDay(line[7:15])
	if month < 0 || month%3 != 0 || !okDay || !okTime || day < 1 || day > 31 {
		return t, nil, false
	}
	in := func(year int) time.Time {
		return time.Date(year, time.Month(month/3+1), day, seconds/3600, seconds/60%60, seconds%60, 0, c.location)
	}
	latest := c.reference.Add(24 * time.Hour)
	if c.year == 0 {
		c.year = c.reference.In(c.location).Year() + 1
		for c.year--; in(c.year).After(latest); c.year-- {
		}
		c.before = in(c.year)
	}
	t = in(c.year)
	switch next, former := in(c.year+1), in(c.year-1); {
	case t.Before(c.before.Add(-halfYear)) && !next.After(latest):
		c.year, t = c.year+1, next
	case t.After(c.before.Add(halfYear)) && former.After(c.before.Add(-24*time.Hour)):
		return former, rest, true // late, of the last hours of the old year
	}
	c.before, c.last = t, [15]byte(line)
	return t, rest, true
}

// iso reads a time of the form "2026-11-27T12:00:00.123456+01:00", also with a space instead of T, and with or without
// fraction and zone, and returns what follows it.
func (c *clock) iso(line []byte) (t time.Time, rest []byte, ok bool) {
	if len(line) < 19 || line[4] != '-' || line[7] != '-' || line[10] != 'T' && line[10] != ' ' {
		return t, nil, false
	}
	year, okYear := number(line[:4])
	month, okMonth := number(line[5:7])
	day, okDay := number(line[8:10])
	seconds, okTime := timeOfDay(line[11:19])
	if !okYear || !okMonth || !okDay || !okTime || year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 {
		return t, nil, false
	}
	nanoseconds, rest := fraction(line[19:])
	offset, rest, hasZone := zone(rest)
	if !hasZone {
		return time.Date(year, time.Month(month), day, seconds/3600, seconds/60%60, seconds%60, nanoseconds, c.location), rest, true
	}
	return time.Unix(86400*daysSince1970(year, month, day)+int64(seconds-offset), int64(nanoseconds)), rest, true
}

// daysSince1970 returns the number of days from the start of 1970 to a date. time.Date is ten times slower.
func daysSince1970(year, month, day int) int64 {
	if month < 3 { // count from March on, so that a leap day is the last of its year
		year, month = year-1, month+12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}

// timeOfDay reads hh:mm:ss as seconds.
func timeOfDay(b []byte) (seconds int, ok bool) {
	h, okH := number(b[:2])
	m, okM := number(b[3:5])
	s, okS := number(b[6:8])
	return h*3600 + m*60 + s, okH && okM && okS && b[2] == ':' && b[5] == ':' && h < 24 && m < 60 && s < 61
}

// fraction reads ".123456" or ",123", if there is one, as nanoseconds, and returns what follows it.
func fraction(b []byte) (nanoseconds int, rest []byte) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || b[1] < '0' || b[1] > '9' {
		return 0, b
	}
	i, unit := 1, int(time.Second)
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		unit /= 10
		nanoseconds += int(b[i]-'0') * unit
	}
	return nanoseconds, b[i:]
}

// zone reads Z, +01:00 or +0100, if there is one, as seconds east of Greenwich, and returns what follows it.
func zone(b []byte) (offset int, rest []byte, ok bool) {
	switch {
	case len(b) > 0 && b[0] == 'Z':
		return 0, b[1:], true
	case len(b) < 5 || b[0] != '+' && b[0] != '-':
		return 0, b, false
	}
	minutes := b[3:]
	if minutes[0] == ':' {
		minutes = minutes[1:]
	}
	if len(minutes) < 2 {
		return 0, b, false
	}
	h, okH := number(b[1:3])
	m, okM := number(minutes[:2])
	if !okH || !okM || h > 18 || m > 59 {
		return 0, b, false
	}
	offset = h*3600 + m*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, minutes[2:], true
}

// number reads a number of one to nine decimal digits.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
