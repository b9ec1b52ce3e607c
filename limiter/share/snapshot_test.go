package share

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// noise returns n octets that depend on seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// sealSnapshot returns the manifest and the chunks of data.
func sealSnapshot(t *testing.T, k *Keys, kind SnapshotKind, id uint64, data []byte) (manifest []byte, chunks [][]byte) {
	t.Helper()
	m := Manifest{
		Kind: kind, ID: id, Made: engineBegin, Gateway: "a",
		Positions: [Streams]Position{{Milliseconds: 1, Sequence: 2}, {Milliseconds: 1 << 60, Sequence: 1 << 63}},
	}
	manifest, err := k.SealManifest(&m, data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Chunks() {
		chunks = append(chunks, k.SealChunk(&m, i, data))
	}
	return manifest, chunks
}

func TestSnapshots(t *testing.T) {
	k := testKeys()
	for size, chunks := range map[int]int{0: 0, 1: 1, ChunkSize - 1: 1, ChunkSize: 1, ChunkSize + 1: 2, 3*ChunkSize + 1000: 4} {
		data := noise(size, 1)
		manifest, sealed := sealSnapshot(t, k, SnapshotKnown, 7, data)
		m, err := k.OpenManifest(engineBegin.Add(time.Minute), SnapshotKnown, manifest)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != SnapshotKnown || m.ID != 7 || !m.Made.Equal(engineBegin) || m.Gateway != "a" || m.Length != size ||
			m.Chunks() != chunks || len(sealed) != chunks || m.Positions[1] != (Position{1 << 60, 1 << 63}) {
			t.Errorf("%d octets: got %+v", size, m)
		}
		got := []byte{}
		for i, c := range sealed {
			if got, err = k.OpenChunk(&m, i, got, c); err != nil {
				t.Error(err)
			}
		}
		if err := m.Check(got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d octets: %v", size, err)
		}
		if err := m.Check(append(got, 0)); err == nil {
			t.Error("other data has passed the check")
		}
	}
}

// TestChunksOfTwoSnapshotsDoNotMix: whether the ID, the data, the kind or the place differs.
func TestChunksOfTwoSnapshotsDoNotMix(t *testing.T) {
	k := testKeys()
	data := noise(3*ChunkSize, 1)
	changed := slices.Clone(data)
	changed[len(changed)-1]++ // the other chunks have the same data
	manifest, chunks := sealSnapshot(t, k, SnapshotBuckets, 1, data)
	m, err := k.OpenManifest(engineBegin, SnapshotBuckets, manifest)
	if err != nil {
		t.Fatal(err)
	}
	_, id := sealSnapshot(t, k, SnapshotBuckets, 2, data)
	_, other := sealSnapshot(t, k, SnapshotBuckets, 1, changed)
	_, kind := sealSnapshot(t, k, SnapshotKnown, 1, data)
	_, longer := sealSnapshot(t, k, SnapshotBuckets, 1, append(slices.Clone(data), 0))
	_, key := sealSnapshot(t, NewKeys([32]byte{9}), SnapshotBuckets, 1, data)
	for name, chunk := range map[string][]byte{
		"id": id[0], "data": other[0], "kind": kind[0], "length": longer[0], "key": key[0], "place": chunks[1],
		"manifest": manifest, "none": nil, "short": chunks[0][:len(chunks[0])-1], "long": append(slices.Clone(chunks[0]), 0),
	} {
		if got, err := k.OpenChunk(&m, 0, []byte("kept"), chunk); !errors.Is(err, ErrSealed) || string(got) != "kept" {
			t.Errorf("a chunk of another %s: %v", name, err)
		}
	}
	for _, i := range []int{-1, 3, 1 << 40} {
		if _, err := k.OpenChunk(&m, i, nil, chunks[0]); !errors.Is(err, ErrSealed) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
}

func TestManifestsThatDoNotOpen(t *testing.T) {
	k := testKeys()
	manifest, _ := sealSnapshot(t, k, SnapshotBuckets, 1, noise(10, 1))
	want := func(what string, engine time.Time, kind SnapshotKind, sealed []byte, want error) {
		t.Helper()
		if m, err := k.OpenManifest(engine, kind, sealed); !errors.Is(err, want) || m != (Manifest{}) {
			t.Errorf("%s: got %+v, %v", what, m, err)
		}
	}
	want("another kind", engineBegin, SnapshotKnown, manifest, ErrSealed)
	for i := range manifest {
		changed := slices.Clone(manifest)
		changed[i] ^= 1
		want("changed", engineBegin, SnapshotBuckets, changed, ErrSealed)
	}
	want("empty", engineBegin, SnapshotBuckets, nil, ErrSealed)
	want("large", engineBegin, SnapshotBuckets, make([]byte, 1<<20), ErrSealed)
	want("old", engineBegin.Add(snapshotMaxAge+time.Second), SnapshotBuckets, manifest, ErrStale)
	want("of the future", engineBegin.Add(-staleAfter-time.Second), SnapshotBuckets, manifest, ErrStale)
	for _, plain := range []string{``, `{}`, `{"format":2,"kind":"buckets"}`, `{"format":1,"kind":"known"}`, `{"format":1,"kind":"buckets","hash":"AA=="}`, `[]`} {
		want(plain, engineBegin, SnapshotBuckets, k.seal(manifestHeader(SnapshotBuckets), []byte(plain)), ErrFormat)
	}
}

// TestNoncesOfSnapshotsDependOnTheData: two leaders may choose the same ID.
func TestNoncesOfSnapshotsDependOnTheData(t *testing.T) {
	k := testKeys()
	a, chunkA := sealSnapshot(t, k, SnapshotBuckets, 1, []byte("a"))
	b, chunkB := sealSnapshot(t, k, SnapshotBuckets, 1, []byte("b"))
	if bytes.Equal(a[:nonceSize], b[:nonceSize]) || bytes.Equal(chunkA[0][:nonceSize], chunkB[0][:nonceSize]) {
		t.Error("a nonce was used twice")
	}
}

func TestSnapshotsThatCannotBeSealed(t *testing.T) {
	if checkSize(snapshotMax) != nil || checkSize(snapshotMax+1) == nil || checkSize(-1) == nil {
		t.Error("the size is not checked")
	}
	m := Manifest{Kind: SnapshotKnown, Made: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := testKeys().SealManifest(&m, nil); err == nil {
		t.Error("a time without a form in JSON is sealed")
	}
}
