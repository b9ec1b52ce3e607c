package share

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A SnapshotKind says what a snapshot contains.
type SnapshotKind string

// The kinds of snapshots.
const (
	SnapshotBuckets   SnapshotKind = "buckets"
	SnapshotKnown     SnapshotKind = "known"
	SnapshotWatch     SnapshotKind = "watch"
	SnapshotDecisions SnapshotKind = "decisions"
	SnapshotIncidents SnapshotKind = "incidents"
)

// Limits of snapshots.
const (
	ChunkSize      = 256 << 10              // octets of data in each chunk but the last
	snapshotMax    = 1 << 30                // octets of data
	snapshotMaxAge = time.Hour + staleAfter // an older one does not open
)

const (
	manifestFormat  = 1
	manifestMax     = 4 << 10 // octets, sealed
	chunkSealedSize = ChunkSize + nonceSize + sealSize
)

// A Position is the ID of an entry in a stream: what is after it is not in the snapshot.
type Position struct {
	Milliseconds uint64 `json:"ms"` // since 1970, by the engine
	Sequence     uint64 `json:"seq"`
}

// A Manifest describes a snapshot.
type Manifest struct {
	Kind      SnapshotKind      `json:"kind"`
	ID        uint64            `json:"id"`        // in the names of its chunks: one that no other of the last hour has
	Positions [Streams]Position `json:"positions"` // up to which it contains the streams
	Made      time.Time         `json:"made"`      // by the engine, when its data was made
	Gateway   string            `json:"gateway"`   // that has made it
	Length    int               `json:"length"`    // octets of data; SealManifest sets it
	Hash      [sha256.Size]byte `json:"-"`         // of the data; SealManifest sets it
}

// Chunks returns how many chunks there are.
func (m *Manifest) Chunks() int { return (m.Length + ChunkSize - 1) / ChunkSize }

// bounds returns where chunk i is in the data.
func (m *Manifest) bounds(i int) (from, to int) {
	return i * ChunkSize, min((i+1)*ChunkSize, m.Length)
}

// sealedManifest is the form of a manifest in JSON. Names that a reader does not know are ignored.
type sealedManifest struct {
	Format int    `json:"format"`
	Hash   []byte `json:"hash"`
	Manifest
}

// SealManifest sets the Length and Hash of m to those of data, and seals it. It fails if data is larger than 1 GB.
func (k *Keys) SealManifest(m *Manifest, data []byte) ([]byte, error) {
	if err := checkSize(len(data)); err != nil {
		return nil, fmt.Errorf("sealing a snapshot of %s: %w", m.Kind, err)
	}
	m.Length, m.Hash = len(data), sha256.Sum256(data)
	plain, err := json.Marshal(sealedManifest{manifestFormat, m.Hash[:], *m})
	if err != nil {
		return nil, fmt.Errorf("sealing a snapshot of %s: %w", m.Kind, err)
	}
	return k.seal(manifestHeader(m.Kind), plain), nil
}

// checkSize returns an error if a snapshot cannot have so many octets of data.
func checkSize(octets int) error {
	if octets < 0 || octets > snapshotMax {
		return fmt.Errorf("got %d octets, want at most %d", octets, snapshotMax)
	}
	return nil
}

// SealChunk seals chunk i of the data for which m was sealed. Write all chunks to the engine, then the manifest.
func (k *Keys) SealChunk(m *Manifest, i int, data []byte) []byte {
	from, to := m.bounds(i)
	return k.seal(m.chunkHeader(i), data[from:to])
}

// OpenManifest opens the manifest of a snapshot of that kind. engine is the time of the engine now. The error is
// [ErrSealed], [ErrFormat] or [ErrStale], with details.
func (k *Keys) OpenManifest(engine time.Time, kind SnapshotKind, sealed []byte) (Manifest, error) {
	m, err := k.openManifest(engine, kind, sealed)
	if err != nil {
		return Manifest{}, fmt.Errorf("opening the manifest of %s: %w", kind, err)
	}
	return m, nil
}

// openManifest is OpenManifest without the context of errors.
func (k *Keys) openManifest(engine time.Time, kind SnapshotKind, sealed []byte) (m Manifest, err error) {
	if len(sealed) > manifestMax {
		return m, ErrSealed
	}
	plain, ok := k.open(nil, manifestHeader(kind), sealed)
	if !ok {
		return m, ErrSealed
	}
	return parseManifest(engine, kind, plain)
}

// parseManifest decodes a manifest that has opened.
func parseManifest(engine time.Time, kind SnapshotKind, plain []byte) (Manifest, error) {
	var s sealedManifest
	if err := json.Unmarshal(plain, &s); err != nil {
		return s.Manifest, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch age := engine.Sub(s.Made); {
	case s.Format != manifestFormat:
		return s.Manifest, fmt.Errorf("%w: got %d, want %d", ErrFormat, s.Format, manifestFormat)
	case s.Kind != kind || len(s.Hash) != sha256.Size || checkSize(s.Length) != nil:
		return s.Manifest, fmt.Errorf("%w: value out of range", ErrFormat)
	case age > snapshotMaxAge || age < -staleAfter:
		return s.Manifest, fmt.Errorf("%w: it is %v old, want at most %v", ErrStale, age, snapshotMaxAge)
	}
	copy(s.Manifest.Hash[:], s.Hash)
	return s.Manifest, nil
}

// OpenChunk opens chunk i of the snapshot m and appends its data to data. A chunk of another snapshot, with another ID
// or another place is [ErrSealed]. So the data of all chunks in their order is that for which m was sealed.
func (k *Keys) OpenChunk(m *Manifest, i int, data, sealed []byte) ([]byte, error) {
	from, to := m.bounds(i)
	if i < 0 || from >= to || len(sealed) != to-from+nonceSize+sealSize {
		return data, fmt.Errorf("opening chunk %d of %d of %s: got %d octets: %w", i, m.Chunks(), m.Kind, len(sealed), ErrSealed)
	}
	opened, ok := k.open(data, m.chunkHeader(i), sealed)
	if !ok {
		return data, fmt.Errorf("opening chunk %d of %d of %s: %w", i, m.Chunks(), m.Kind, ErrSealed)
	}
	return opened, nil
}

// Check returns an error if data, of all chunks, is not that for which m was sealed.
func (m *Manifest) Check(data []byte) error {
	if hash := sha256.Sum256(data); len(data) != m.Length || hash != m.Hash {
		return fmt.Errorf("snapshot of %s: got %d octets with hash %x, want %d with %x", m.Kind, len(data), hash[:4], m.Length, m.Hash[:4])
	}
	return nil
}

// manifestHeader returns the associated data of manifests of that kind.
func manifestHeader(kind SnapshotKind) []byte { return []byte("manifest " + string(kind)) }

// chunkHeader returns the associated data of chunk i of m: what it belongs to.
func (m *Manifest) chunkHeader(i int) []byte {
	b := append([]byte("chunk "), m.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, m.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Length))
	b = binary.BigEndian.AppendUint32(b, uint32(i))
	return append(b, m.Kind...)
}

// seal returns the nonce and the sealed data. The nonce is derived from header and data, so it cannot be used for other
// data, whatever the IDs of snapshots that several gateways make.
func (k *Keys) seal(header, data []byte) []byte {
	mac := hmac.New(sha256.New, k.nonces[:])
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(header))))
	mac.Write(header)
	mac.Write(data)
	nonce := mac.Sum(nil)[:nonceSize]
	return k.snapshot.Seal(slices.Grow(bytes.Clone(nonce), len(data)+sealSize), nonce, data, header)
}

// open appends to data what seal has sealed with that header, false if it does not open.
func (k *Keys) open(data, header, sealed []byte) ([]byte, bool) {
	if len(sealed) < nonceSize {
		return nil, false
	}
	opened, err := k.snapshot.Open(data, sealed[:nonceSize], sealed[nonceSize:], header)
	return opened, err == nil
}
