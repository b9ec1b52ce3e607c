package limiter

import (
	"testing"
	"time"
)

// start is when every statement begins.
var start = time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)

// at returns the time d after start, for d in the form of [time.ParseDuration].
func at(d string) time.Time {
	after, err := time.ParseDuration(d)
	if err != nil {
		panic(err)
	}
	return start.Add(after)
}

// A posting is one line of a bucket's statement: what is done at a time, and what is spent and held after it.
type posting struct {
	at          string
	do          string
	spent, held int
	empty       bool
}

func play(t *testing.T, b *bucket, r Rate, postings []posting) {
	t.Helper()
	for i, p := range postings {
		switch p.do {
		case "hold":
			b.holds++
		case "void":
			b.holds--
		case "denied":
			b.holds--
			b.spend(at(p.at), r)
		case "spend":
			b.spend(at(p.at), r)
		}
		spent, empty := b.spent(at(p.at), r), b.empty(at(p.at), r)
		if spent != p.spent || b.holds != p.held || empty != p.empty {
			t.Errorf("line %d: %s %s: spent %d, held %d, empty %v; want %d, %d, %v",
				i, p.at, p.do, spent, b.holds, empty, p.spent, p.held, p.empty)
		}
		if idle := b.idle(at(p.at), r); idle != (p.spent == 0 && p.held == 0) {
			t.Errorf("line %d: %s %s: idle %v", i, p.at, p.do, idle)
		}
	}
}

func TestBucketSpends(t *testing.T) {
	play(t, new(bucket), Rate{3, 3 * time.Minute}, []posting{
		{"0s", "look", 0, 0, false},
		{"0s", "spend", 1, 0, false},
		{"0s", "spend", 2, 0, false},
		{"0s", "spend", 3, 0, true},
		{"0s", "spend", 3, 0, true}, // stops at zero
		{"59s", "look", 3, 0, true},
		{"60s", "look", 2, 0, false}, // back after a minute, not a rounding error later
		{"60s", "spend", 3, 0, true},
		{"2m", "look", 2, 0, false},
		{"4m", "look", 0, 0, false},
		{"9h", "look", 0, 0, false},
	})
}

func TestBucketCountsPartOfATokenAsSpent(t *testing.T) {
	play(t, new(bucket), Rate{10, 10 * time.Minute}, []posting{
		{"0s", "spend", 1, 0, false},
		{"1ms", "look", 1, 0, false},
		{"30s", "look", 1, 0, false},
		{"30s", "spend", 2, 0, false}, // 1.5
		{"59.9s", "look", 2, 0, false},
		{"60s", "look", 1, 0, false}, // 1.0
		{"119.9s", "look", 1, 0, false},
		{"120s", "look", 0, 0, false},
	})
}

// Whatever the numbers: each token is back when its time has come, and none before.
func TestBucketRefillsOnTime(t *testing.T) {
	for tokens := 1; tokens <= 60; tokens++ {
		for _, each := range []time.Duration{time.Millisecond, 7 * time.Second, time.Minute, time.Hour / 7} {
			b, r := new(bucket), Rate{tokens, each * time.Duration(tokens)}
			for range tokens {
				b.spend(start, r)
			}
			for back := 1; back <= tokens; back++ {
				due := start.Add(each * time.Duration(back))
				if early := b.spent(due.Add(-each/100), r); early != tokens-back+1 {
					t.Fatalf("%v: %d spent just before token %d is due", r, early, back)
				}
				if late := b.spent(due, r); late != tokens-back {
					t.Fatalf("%v: %d spent when token %d is due", r, late, back)
				}
			}
		}
	}
}

func TestBucketHolds(t *testing.T) {
	play(t, new(bucket), Rate{3, 3 * time.Minute}, []posting{
		{"0s", "hold", 0, 1, false},
		{"0s", "hold", 0, 2, false},
		{"0s", "hold", 0, 3, true}, // nothing spent, nothing free
		{"1s", "void", 0, 2, false},
		{"1s", "hold", 0, 3, true},
		{"2s", "denied", 1, 2, true},
		{"2s", "void", 1, 1, false},
		{"9m", "look", 0, 1, false}, // a hold lasts until it is settled
		{"9m", "denied", 1, 0, false},
		{"10m", "look", 0, 0, false},
	})
}

func TestBucketHoldsMayExceedTokens(t *testing.T) {
	play(t, new(bucket), Rate{1, time.Minute}, []posting{
		{"0s", "hold", 0, 1, true},
		{"0s", "hold", 0, 2, true},
		{"0s", "denied", 1, 1, true},
		{"0s", "denied", 1, 0, true}, // spending stops at zero
		{"60s", "look", 0, 0, false},
	})
}

func TestBucketWithoutRate(t *testing.T) {
	b := new(bucket)
	play(t, b, Rate{}, []posting{
		{"0s", "hold", 0, 1, false},
		{"0s", "denied", 0, 0, false},
		{"0s", "spend", 0, 0, false},
	})
	b.restore(start, Rate{})
	if left := b.left(start, Rate{}); left != 0 {
		t.Errorf("%v tokens left of none", left)
	}
}

func TestBucketChangesRate(t *testing.T) {
	rates := []struct {
		at    string
		rate  Rate
		spent int
		left  int
	}{
		{"0s", Rate{10, 10 * time.Minute}, 3, 7},
		{"0s", Rate{20, 10 * time.Minute}, 3, 17}, // a wider bucket: the rest is free
		{"0s", Rate{5, 10 * time.Minute}, 3, 2},
		{"0s", Rate{2, 10 * time.Minute}, 2, 0}, // a narrower one is at worst empty
		{"0s", Rate{}, 0, 0},
		{"0s", Rate{2, 2 * time.Minute}, 2, 0}, // switched on again: still empty
		{"1m", Rate{2, 2 * time.Minute}, 1, 1},
		{"1m", Rate{2, time.Second}, 1, 1},
		{"61s", Rate{2, time.Second}, 0, 2},
	}
	b := new(bucket)
	for range 3 {
		b.spend(start, rates[0].rate)
	}
	for i, c := range rates {
		if got := b.spent(at(c.at), c.rate); got != c.spent {
			t.Errorf("line %d: %s %v: spent %d, want %d", i, c.at, c.rate, got, c.spent)
		}
		if got := b.left(at(c.at), c.rate); got < float64(c.left)-dust || got > float64(c.left)+dust {
			t.Errorf("line %d: %s %v: %v left, want %d", i, c.at, c.rate, got, c.left)
		}
	}
}

func TestBucketReserves(t *testing.T) {
	b, r := new(bucket), Rate{2, 2 * time.Second}
	for i, line := range []struct {
		at      string
		longest time.Duration
		wait    time.Duration
		ok      bool
		left    float64
	}{
		{"0s", 2 * time.Second, 0, true, 1},
		{"0s", 2 * time.Second, 0, true, 0},
		{"0s", 2 * time.Second, time.Second, true, -1},
		{"0s", 2 * time.Second, 2 * time.Second, true, -2},
		{"0s", 2 * time.Second, 0, false, -2}, // three seconds: nothing taken
		{"0s", 3 * time.Second, 3 * time.Second, true, -3},
		{"3s", 0, 0, false, 0},
		{"4s", 0, 0, true, 0},
	} {
		wait, ok := b.reserve(at(line.at), r, line.longest)
		left := b.left(at(line.at), r)
		if wait != line.wait || ok != line.ok || left != line.left {
			t.Errorf("line %d: %s: wait %v, %v, %v left; want %v, %v, %v",
				i, line.at, wait, ok, left, line.wait, line.ok, line.left)
		}
	}
}

// A reservation others have queued behind comes back whole: [rate.Reservation.CancelAt] would return nothing.
func TestBucketRestores(t *testing.T) {
	b, r := new(bucket), Rate{2, 2 * time.Second}
	for range 6 {
		b.reserve(start, r, time.Minute)
	}
	for i, want := range []float64{-3, -2, -1, 0, 1, 2, 2} {
		b.restore(start, r)
		if got := b.left(start, r); got != want {
			t.Errorf("restored %d: %v left, want %v", i+1, got, want)
		}
	}
	if wait, ok := b.reserve(start, r, 0); wait != 0 || !ok {
		t.Errorf("reserve = %v, %v after everything was put back", wait, ok)
	}
}

func TestRestoreToANewBucket(t *testing.T) {
	b, r := new(bucket), Rate{2, 2 * time.Second}
	b.restore(start, r)
	if got := b.left(start, r); got != 2 {
		t.Errorf("%v left of a bucket nobody used", got)
	}
}
