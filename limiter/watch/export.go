package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"postern/limiter/watch/internal/codec"
)

// exportVersion is the version of an export. Raise it when the fields change that are exported: [Watch.Import] takes no
// later version. Version 1 ends before what is known of other gateways, and version 2 before what was counted by TLS
// fingerprint.
const exportVersion = 3

// An export begins with this text and its version in decimal on a line. A hash follows that depends on the key of the
// installation, then the content, and the CRC-32C of all of it in four octets, in little endian.
const exportPrefix = "postern watch export "

// exportSize is the size of most exports, in octets.
const exportSize = 6 << 20

// exportHeader returns what the exports of a version begin with.
func exportHeader(version int) string { return fmt.Sprintf("%s%d\n", exportPrefix, version) }

// exportKey is what is hashed to tell installations apart. No account has such a name.
const exportKey = "\x00export"

// Export returns the whole state of w at time t, for [Watch.Import] in the process that takes over: it goes on as if it were
// the same process. What is only learned is in [Watch.Snapshot]. An export has 5 MB and, at a site with many accounts or
// during an attack, up to 20 MB.
func (w *Watch) Export(t time.Time) []byte {
	w.lock(t)
	defer w.mu.Unlock()
	c := codec.Encoder(append(make([]byte, 0, exportSize), exportHeader(exportVersion)...), w.location)
	key := w.hash.account(exportKey)
	c.Hash(&key)
	w.code(c)
	w.codeSharing(c)
	w.codeJA4(c)
	data := c.Data()
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// Import replaces the state of w by an export that was made at time t or before, of a Watch with the same key.
// On error nothing has changed.
func (w *Watch) Import(t time.Time, data []byte) error {
	next, err := w.decode(t, data)
	if err != nil {
		return fmt.Errorf("take over the detector: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = next
	w.hours.own = w.own
	return nil
}

// decode returns the content of an export.
func (w *Watch) decode(t time.Time, data []byte) (content, error) {
	header, body := exportHeader(exportVersion), len(data)-4
	version := exportVersion
	for version > 0 && !bytes.HasPrefix(data, []byte(exportHeader(version))) {
		version--
	}
	if version == 0 {
		got, _, _ := bytes.Cut(data[:min(len(data), len(header)+8)], []byte("\n"))
		return content{}, fmt.Errorf("state of another version: got %q, want %q", got, header[:len(header)-1])
	}
	if body < len(header) || binary.LittleEndian.Uint32(data[body:]) != crc32.Checksum(data[:body], castagnoli) {
		return content{}, fmt.Errorf("wrong checksum of %d octets", len(data))
	}
	c := codec.Decoder(data[len(header):body], w.location)
	var key uint64
	if c.Hash(&key); c.Err() == nil && key != w.hash.account(exportKey) {
		return content{}, errors.New("the state is of an installation with another key")
	}
	next := newContent(w.hash)
	next.code(c)
	if version > 1 {
		next.codeSharing(c)
	}
	if version > 2 {
		next.codeJA4(c)
	}
	c.Check(len(c.Data()) == 0, "number of octets")
	if next.latest.After(t.Add(gap)) { // the clock was set back: begin another tick, or there would be none for long
		next.latest, next.started = t, time.Time{}
	}
	return next, c.Err()
}

// code encodes or decodes w.
func (w *content) code(c *codec.Codec) {
	c.Times(&w.latest, &w.started)
	w.counts.code(c)
	w.guesses.code(c)
	w.detector.code(c)
	w.hours.code(c)
	w.habits.code(c)
	w.spray.code(c)
	w.minute.Code(c)
	w.out.code(c)
	c.Check(!w.started.After(w.latest), "start of the tick")
}

// codeSharing encodes or decodes what w knows of other gateways.
func (w *content) codeSharing(c *codec.Codec) {
	w.before.code(c)
	w.others.code(c)
	for _, n := range []*int{&w.counts.more, &w.before.more, &w.others.more, &w.site.added, &w.site.joined, &w.site.abused, &w.site.abusedLast} {
		codec.Count(c, n)
	}
	c.Times(&w.site.alone, &w.site.abuseUntil)
	d := w.detector
	c.Floats(&w.site.own, &w.site.all, &d.view.share, &d.part)
	c.Bools(&w.lagging, &d.view.whole, &d.view.alone)
	c.Check(d.part >= shareLeast && d.part <= 1/shareLeast && (d.view.share == 0 || d.view.share >= shareLeast), "part of the site")
}

// exportPeriods bounds the minutes and hours that [Watch.Tick] has not returned yet.
const exportPeriods = 10_000

// code encodes or decodes r.
func (r *Reading) code(c *codec.Codec) {
	r.State.code(c)
	c.Bools(&r.Ticked)
	codec.Slice(c, &r.Minutes, exportPeriods, func(m *Minute) { m.Code(c) })
	codec.Slice(c, &r.Hours, exportPeriods, func(h *Hour) { h.Code(c) })
}

// code encodes or decodes s.
func (s *State) code(c *codec.Codec) {
	c.Times(&s.Time, &s.Since, &s.Onset)
	s.Class.code(c)
	c.Bools(&s.Tighten, &s.SingleSource, &s.Storm, &s.BackendFault, &s.AuthFault, &s.AccountAbuse, &s.SlowSpray,
		&s.Impaired, &s.Protecting, &s.Frozen)
	s.Observed.code(c)
	s.Expected.code(c)
	c.Floats(&s.Busy, &s.Excess, &s.Score, &s.DeniedShare, &s.Learned, &s.Drift)
	s.Users.code(c)
	codec.Count(c, &s.Abused)
}

// code encodes or decodes n.
func (c *counts) code(x *codec.Codec) {
	c.known.code(x)
	c.stranger.code(x)
	c.users.code(x)
	for _, v := range []*int{&c.denied, &c.waited, &c.opened, &c.closed} {
		codec.Count(x, v)
	}
	codec.Map(x, &c.networks, tickNetworks, func(network *netip.Prefix, s *suspects) {
		x.Prefix(network)
		s.code(x)
	})
	c.beyond.code(x)
}

// code encodes or decodes s.
func (s *suspects) code(c *codec.Codec) {
	codec.Count(c, &s.guesses)
	codec.Count(c, &s.unanswered)
}

// code encodes or decodes g.
func (g *guesses) code(c *codec.Codec) {
	for _, blocks := range [][]guessBlock{g.now, g.old} {
		for i := range blocks {
			codec.Fixed(c, blocks[i][:])
		}
	}
	codec.Count(c, &g.n)
	c.Times(&g.began)
}
