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
