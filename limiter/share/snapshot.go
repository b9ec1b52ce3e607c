package share

import (
	"crypto/sha256"
	"time"
)

// A Sort says what a snapshot contains.
type Sort string

// The sorts of snapshots.
const (
	SortBuckets   Sort = "buckets"
	SortKnown     Sort = "known"
	SortWatch     Sort = "watch"
	SortDecisions Sort = "decisions"
	SortIncidents Sort = "incidents"
)

// Limits of snapshots.
const (
	ChunkSize      = 256 << 10        // octets of data in each chunk but the last
	SnapshotMax    = 1 << 30          // octets of data
	SnapshotMaxAge = 90 * time.Minute // an older one does not open
)

// A Position is the ID of an entry in a stream: what is after it is not in the snapshot.
type Position struct {
	Milliseconds uint64 // since 1970, by the engine
	Sequence     uint64
}

// A Manifest describes a snapshot.
type Manifest struct {
	Sort       Sort
	Generation uint64            // part of the names of its chunks: one that no other snapshot of the last hour has
	Positions  [Streams]Position // up to which it contains the streams
	Made       time.Time         // by the engine, when its data was made
	Gateway    string            // that has made it
	Length     int               // octets of data
	Hash       [sha256.Size]byte // of the data
}

// Chunks returns how many chunks there are.
func (m *Manifest) Chunks() int { return (m.Length + ChunkSize - 1) / ChunkSize }

// SealManifest seals m after it has set its Length and Hash to those of data.
func (k *Keys) SealManifest(m *Manifest, data []byte) ([]byte, error) { return nil, nil }

// SealChunk seals chunk i of the data for which m was sealed. Write all chunks to the engine, then the manifest.
func (k *Keys) SealChunk(m *Manifest, i int, data []byte) []byte { return nil }

// OpenManifest opens the manifest of a snapshot of that sort. engine is the time of the engine now. The error is
// [ErrSealed], [ErrFormat] or [ErrStale], with details.
func (k *Keys) OpenManifest(engine time.Time, sort Sort, sealed []byte) (Manifest, error) {
	return Manifest{}, nil
}

// OpenChunk opens chunk i of the snapshot m and appends its data to data. A chunk of another snapshot is [ErrSealed].
func (k *Keys) OpenChunk(m *Manifest, i int, data, sealed []byte) ([]byte, error) { return nil, nil }

// Check returns an error if data, of all chunks, is not what m was made for.
func (m *Manifest) Check(data []byte) error { return nil }
