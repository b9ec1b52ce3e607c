package report

import (
	"fmt"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/internal/codec"
)

// Export returns all that h has, for [ImportHistory] in the process that takes over.
func (h *History) Export() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := codec.Encoder(make([]byte, 0, 128*len(h.minutes.at)+16<<10*len(h.hours.at)), time.UTC)
	h.code(c)
	return c.Data()
}

// Clear deletes everything in h, of which another process has taken over a copy.
func (h *History) Clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	empty := NewHistory()
	h.minutes, h.hours = empty.minutes, empty.hours
}

// ImportHistory returns the History that [History.Export] has encoded.
func ImportHistory(data []byte) (*History, error) {
	h, c := NewHistory(), codec.Decoder(data, time.UTC)
	h.code(c)
	c.Check(len(c.Data()) == 0, "octets after the end")
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("import the history: %w", err)
	}
	return h, nil
}

// code encodes or decodes h.
func (h *History) code(c *codec.Codec) {
	h.minutes.code(c, (*watch.Minute).Code)
	h.hours.code(c, (*watch.Hour).Code)
	if !c.Decoding() || len(c.Data()) > 0 { // otherwise it is of a version without fingerprints
		h.codeJA4(c)
	}
}

// codeJA4 encodes or decodes the TLS fingerprints of hours.
func (h *History) codeJA4(c *codec.Codec) {
	all := map[int64]watch.JA4s{}
	for number := range h.hours.at {
		all[number] = h.hours.at[number].JA4
	}
	codec.Map(c, &all, len(h.hours.at), func(number *int64, s *watch.JA4s) {
		codec.Int(c, number)
		s.Code(c)
	})
	for number, s := range all {
		hour, there := h.hours.at[number]
		if c.Check(there, "hour of fingerprints"); !there {
			return
		}
		hour.JA4 = s
		h.hours.at[number] = hour
	}
}

// code encodes or decodes r, and each value by the function value.
func (r *series[V]) code(c *codec.Codec, value func(*V, *codec.Codec)) {
	codec.Count(c, &r.latest)
	codec.Int(c, &r.oldest)
	codec.Map(c, &r.at, int(historyDays*24*time.Hour/r.each)+1, func(number *int64, v *V) {
		codec.Int(c, number)
		c.Check(*number > r.oldest && *number <= r.latest, "time of a period")
		value(v, c)
	})
}
