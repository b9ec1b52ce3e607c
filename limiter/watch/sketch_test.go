package watch

import (
	"bytes"
	"encoding/json"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// TestSketch: few and many things are counted within 3 standard errors, also in two sketches that are merged.
func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1)) // always the same: three standard errors are exceeded by chance now and then
	for _, n := range []int{0, 1, 10, 100, 1000, 3000, 50_000, 1_000_000} {
		var a, b Sketch
		for i := range n {
			h := r.Uint64()
			if i%2 == 0 || i%10 == 1 {
				a.add(h)
			}
			if i%2 == 1 {
				b.add(h)
			}
		}
		a.merge(b)
		if got := a.Count(); math.Abs(float64(got-n)) > 3*1.04/32*float64(n)+1 {
			t.Errorf("%d things: got %d", n, got)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back Sketch
		if err := json.Unmarshal(text, &back); err != nil || back.Count() != a.Count() {
			t.Errorf("%d things: %v, read %d, want %d", n, err, back.Count(), a.Count())
		}
	}
	for _, text := range []string{"AAAA", "?", string(make([]byte, 1366))} {
		var s Sketch
		if err := s.UnmarshalText([]byte(text)); err == nil || s.ranks != nil {
			t.Errorf("read %q as a sketch", text)
		}
	}
}

// TestSpread: few and many things are counted within 3 standard errors, also in two spreads that are merged.
func TestSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{0, 1, 2, 5, 20, 60, 100, 200, 1000, 100_000} {
		var a, b Spread
		for i := range n {
			h := r.Uint64()
			if i%2 == 0 || i%10 == 1 {
				a.add(h)
			}
			if i%2 == 1 {
				b.add(h)
			}
		}
		a.merge(b)
		if got := a.Count(); math.Abs(float64(got-n)) > 0.35*float64(n) {
			t.Errorf("%d things: got %d", n, got)
		}
		text, err := json.Marshal(a)
		if err != nil || len(text) > 45 {
			t.Errorf("%d things: %s, %v", n, text, err)
		}
		var back Spread
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Errorf("%d things: %v, read %d, want %d", n, err, back.Count(), a.Count())
		}
	}
	for _, text := range []string{"xyz", "AAAAAAAAAAAAAAAAAAAA", "????????????????????"} {
		var s Spread
		if err := s.UnmarshalText([]byte(text)); err == nil || s != (Spread{}) {
			t.Errorf("read %q as a spread", text)
		}
	}
}

// TestSpreadReadsBitmaps: the bitmaps of earlier versions are read with the estimate that they had then.
func TestSpreadReadsBitmaps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for n := range 65 {
		var bitmap uint64
		for bits.OnesCount64(bitmap) < n {
			bitmap |= 1 << r.IntN(64)
		}
		var s Spread
		if err := s.UnmarshalText(strconv.AppendUint(nil, bitmap, 16)); err != nil {
			t.Fatal(err)
		}
		want := int(64*math.Log(64/float64(max(1, 64-n))) + 0.5)
		if got := s.Count(); got != want {
			t.Errorf("%d bits: got %d, want %d", n, got, want)
		}
	}
}

// TestHourOfEarlierVersionIsRead reads an hour that an earlier version wrote, with bitmaps as spreads and a sample that
// was taken in another way, and merges it with a new part.
func TestHourOfEarlierVersionIsRead(t *testing.T) {
	line, err := os.ReadFile("testdata/hour_bitmap.json")
	if err != nil {
		t.Fatal(err)
	}
	var h Hour
	if err := json.Unmarshal(line, &h); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target Target
		name   string
		spread int
	}{
		{h.Sources[0], "0.0.7.1/32", 266}, {h.Sources[1], "0.0.0.0/32", 1},
		{h.Networks[0], "0.0.7.0/24", 266}, {h.Networks[1], "0.0.0.0/24", 2},
		{h.Accounts[0], "user0", 13}, {h.Accounts[1], "user1", 17},
	} {
		if c.target.Name != c.name || c.target.Spread.Count() != c.spread {
			t.Errorf("got %s with %d, want %s with %d", c.target.Name, c.target.Spread.Count(), c.name, c.spread)
		}
	}
	d := h.Distinct
	if got := [3]int{d.Sources.Count(), d.Networks.Count(), d.Accounts.Count()}; got != [3]int{2740, 280, 338} {
		t.Errorf("distinct: got %v", got)
	}
	if len(h.Sampled) != 8 || len(h.Accepted) != 1 || len(h.Rules) != 1 {
		t.Errorf("%d sampled, %d accepted, %d rules", len(h.Sampled), len(h.Accepted), len(h.Rules))
	}
	part := partOfAnHour(monday, "a", 2)
	part.Networks[0].Name = "0.0.7.0/24"
	if sum := h.Merge(part); sum.Networks[0].Spread.Count() < 266 || sum.Networks[0].Denials != 312 {
		t.Errorf("merged: %+v", sum.Networks[0])
	}
	again, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Hour
	if err := json.Unmarshal(again, &back); err != nil || back.Networks[0] != h.Networks[0] {
		t.Errorf("%v: got %+v, want %+v", err, back.Networks[0], h.Networks[0])
	}
	if bytes.Equal(line, again) {
		t.Error("written in the form of the earlier version")
	}
}

// TestSampleIgnoresFrequency samples hours in which system A has 30 % of the networks. Each of these comes early and ten
// times, each other one once and late. A sample of attempts would have 81 % from A.
func TestSampleIgnoresFrequency(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, networks := range []int{20, 200, 2000, 6000} {
		const hours = 50
		ofA, sampled := 0, 0
		for range hours {
			var s networkSketch
			for i := range networks {
				_, network := blocks(uint32(i), 1)
				hash, times := r.Uint64(), 1
				if i < networks*3/10 {
					times = 10
				}
				for range times {
					s.add(network, hash)
				}
			}
			sample := s.sample(hourSample)
			if want := min(networks, hourSample); len(sample) < want*85/100 || len(sample) > want {
				t.Errorf("%d networks: sampled %d, want about %d", networks, len(sample), want)
			}
			for _, network := range sample {
				a := network.Addr().As4()
				if i := int(a[0])<<16 | int(a[1])<<8 | int(a[2]); i < networks*3/10 {
					ofA++
				}
			}
			sampled += len(sample)
		}
		share := float64(ofA) / float64(sampled)
		if chance := math.Sqrt(0.3 * 0.7 / float64(sampled)); math.Abs(share-0.3) > 3*chance {
			t.Errorf("%d networks: got a share of %.3f for A, want 0.3", networks, share)
		}
	}
}
