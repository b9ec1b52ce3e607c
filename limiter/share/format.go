package share

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"time"
)

// The formats of batches that this version writes and reads. The header and the sealing are the same in all formats.
const (
	FormatOldest uint8 = 1
	FormatNewest uint8 = 1
)

// An origin is a process of a gateway.
type origin struct {
	Gateway string `json:"gateway"`
	Boot    Boot   `json:"boot"`
}

// check returns an error if o cannot be a process of a gateway.
func (o *origin) check() error { return CheckGateway(o.Gateway) }

// A header is the part of a batch that is not encrypted. See the package documentation for its layout.
type header struct {
	format   uint8
	stream   Stream
	gateway  []byte
	boot     Boot // of the process that has made the records
	sequence uint64
	attempt  uint32
	sealer   Boot // of the process that has sealed them: boot, or that of a process which took over
}

const (
	nonceSize   = 12
	headerMax   = 4 + GatewayMax + 16 + nonceSize + 16
	sealSize    = 16 // octets that sealing adds
	flagSealer  = 1  // in the header: the sealer is another process
	flagGap     = 1  // in the contents: records before this batch were lost
	contentsMax = batchMax + recordMax + 1024
	ageMax      = 30 * 24 * time.Hour
)

// appendTo appends the encoded h.
func (h *header) appendTo(b []byte) []byte {
	flags := byte(0)
	if h.sealer != h.boot {
		flags = flagSealer
	}
	b = append(b, h.format, flags, byte(h.stream), byte(len(h.gateway)))
	b = append(append(b, h.gateway...), h.boot[:]...)
	b = binary.BigEndian.AppendUint64(b, h.sequence)
	b = binary.BigEndian.AppendUint32(b, h.attempt)
	if flags == flagSealer {
		b = append(b, h.sealer[:]...)
	}
	return b
}

// parseHeader decodes the header of batch, of size octets, and does not copy the name of the gateway. It trusts nothing.
func parseHeader(batch []byte) (h header, size int, ok bool) {
	if len(batch) < 4 || batch[1]&^flagSealer != 0 || batch[3] == 0 || batch[3] > GatewayMax {
		return h, 0, false
	}
	hasSealer := batch[1] == flagSealer
	name := 4 + int(batch[3])
	size = name + 16 + nonceSize
	if hasSealer {
		size += 16
	}
	if len(batch) < size+sealSize || len(batch) > size+sealSize+contentsMax {
		return h, 0, false
	}
	h.format, h.stream, h.gateway = batch[0], Stream(batch[2]), batch[4:name]
	copy(h.boot[:], batch[name:])
	h.sequence = binary.BigEndian.Uint64(batch[name+16:])
	h.attempt = binary.BigEndian.Uint32(batch[name+24:])
	if h.sealer = h.boot; hasSealer {
		copy(h.sealer[:], batch[name+28:])
	}
	return h, size, true
}

// nonce returns the nonce of the batch: its sequence and attempt, as in the header.
func (h *header) nonce() (n [nonceSize]byte) {
	binary.BigEndian.PutUint64(n[:], h.sequence)
	binary.BigEndian.PutUint32(n[8:], h.attempt)
	return n
}

// aead returns what seals and opens batches of that stream, gateway, boot and sealer. Every combination has a key of its
// own, in which no nonce repeats.
func (k *Keys) aead(h *header) cipher.AEAD {
	var space [headerMax]byte
	b := append(space[:0], byte(h.stream), byte(len(h.gateway)))
	b = append(append(append(b, h.gateway...), h.boot[:]...), h.sealer[:]...)
	return newAEAD(derive(k.batches, b))
}

// contents are the part of a batch that is encrypted.
type contents struct {
	gap     bool      // records before these were lost
	sealed  time.Time // by the engine; in whole milliseconds
	records []Record  // with their ages at that time
	skipped int       // records of unknown types, which are not in records
}

// appendTo appends the encoded c, in the given format. All formats so far are the same.
func (c *contents) appendTo(b []byte) []byte {
	flags := byte(0)
	if c.gap {
		flags = flagGap
	}
	b = binary.AppendUvarint(append(b, flags), uint64(max(c.sealed.UnixMilli(), 0)))
	for i := range c.records {
		r := &c.records[i]
		b = binary.AppendUvarint(append(b, byte(r.Type)), uint64(min(max(r.Age, 0), ageMax).Milliseconds()))
		b = append(binary.AppendUvarint(b, uint64(len(r.Data))), r.Data...)
	}
	return b
}

// parseTime decodes the beginning of c and returns the encoded records.
func (c *contents) parseTime(b []byte) (records []byte, err error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: no contents", ErrFormat)
	}
	c.gap = b[0]&flagGap != 0
	rest, ms, ok := uvarint(b[1:], 1<<50)
	if !ok {
		return nil, fmt.Errorf("%w: bad time", ErrFormat)
	}
	c.sealed = time.UnixMilli(int64(ms))
	return rest, nil
}

// parseRecords decodes the records, whose data are parts of b.
func (c *contents) parseRecords(b []byte) error {
	c.records = make([]Record, 0, 4)
	for len(b) > 0 {
		kind := RecordType(b[0])
		rest, age, okAge := uvarint(b[1:], uint64(ageMax.Milliseconds()))
		rest, size, okSize := uvarint(rest, recordMax)
		if !okAge || !okSize || size > uint64(len(rest)) {
			return fmt.Errorf("%w: bad record", ErrFormat)
		}
		if b = rest[size:]; kind == 0 || kind >= recordTypeEnd {
			c.skipped++
			continue
		}
		c.records = append(c.records, Record{kind, rest[:size:size], time.Duration(age) * time.Millisecond})
	}
	return nil
}

// uvarint decodes a number of variable length, at most most, and returns what follows.
func uvarint(b []byte, most uint64) (rest []byte, n uint64, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > most {
		return nil, 0, false
	}
	return b[size:], n, true
}
