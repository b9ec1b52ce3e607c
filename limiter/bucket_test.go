package limiter

import (
	"math"
	"testing"
	"time"
)

// start is when every statement begins.
var start = time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)

// now returns the moment d after start, as a limiter tells it that was first told the time at start.
func now(d string) ticks {
	return new(origin).ticks(start).add(at(d).Sub(start))
}

// at returns the time d after start, for d in the form of [time.ParseDuration].
func at(d string) time.Time {
	after, err := time.ParseDuration(d)
	if err != nil {
		panic(err)
	}
	return start.Add(after)
}

// A posting is one line of a bucket's statement: what is done at a time, and what is spent after it.
type posting struct {
	at    string
	do    string
	spent int
}

func play(t *testing.T, b *bucket, r Rate, postings []posting) {
	t.Helper()
	limit := r.limit(RuleSource)
	for i, p := range postings {
		if p.do == "spend" {
			b.spend(now(p.at), &limit)
		}
		if spent := b.spent(now(p.at), &limit); spent != p.spent {
			t.Errorf("line %d: %s %s: spent %d, want %d", i, p.at, p.do, spent, p.spent)
		}
		if left := b.left(now(p.at), &limit); math.Floor(left) != float64(r.Tokens-p.spent) {
			t.Errorf("line %d: %s %s: %v left, want %d", i, p.at, p.do, left, r.Tokens-p.spent)
		}
	}
}

func TestBucketSpends(t *testing.T) {
	play(t, new(bucket), Rate{3, 3 * time.Minute}, []posting{
		{"0s", "look", 0},
		{"0s", "spend", 1},
		{"0s", "spend", 2},
		{"0s", "spend", 3},
		{"0s", "spend", 3}, // stops at zero
		{"59s", "look", 3},
		{"60s", "look", 2}, // back after a minute, not a nanosecond later
		{"60s", "spend", 3},
		{"2m", "look", 2},
		{"4m", "look", 0},
		{"9h", "look", 0},
	})
}

func TestBucketCountsPartOfATokenAsSpent(t *testing.T) {
	play(t, new(bucket), Rate{10, 10 * time.Minute}, []posting{
		{"0s", "spend", 1},
		{"1ms", "look", 1},
		{"30s", "look", 1},
		{"30s", "spend", 2}, // 1.5
		{"59.9s", "look", 2},
		{"60s", "look", 1}, // 1.0
		{"119.9s", "look", 1},
		{"120s", "look", 0},
	})
}

// A clock that steps back refills nothing, and keeps nobody out for longer than an empty bucket does.
func TestBucketInDisorder(t *testing.T) {
	b := new(bucket)
	play(t, b, Rate{3, 3 * time.Minute}, []posting{
		{"10m", "spend", 1},
		{"10m", "spend", 2},
		{"1m", "look", 3}, // eleven minutes are missing: as good as empty
		{"1m", "spend", 3},
		{"10m", "look", 2},
		{"12m", "look", 0},
	})
}

func TestBucketOff(t *testing.T) {
	play(t, new(bucket), Rate{}, []posting{{"0s", "look", 0}})
}

// Whatever the numbers: each token is back when its time has come, and none before.
func TestBucketRefillsOnTime(t *testing.T) {
	for tokens := 1; tokens <= 60; tokens++ {
		for _, each := range []time.Duration{time.Nanosecond, time.Millisecond, 7 * time.Second, time.Minute, time.Hour / 7} {
			b, limit := new(bucket), Rate{tokens, each * time.Duration(tokens)}.limit(RuleSource)
			for range tokens {
				b.spend(now("0s"), &limit)
			}
			for back := 1; back <= tokens; back++ {
				due := now("0s").add(each * time.Duration(back))
				if early := b.spent(due-1, &limit); early != tokens-back+1 {
					t.Fatalf("%v: %d spent just before token %d is due", limit, early, back)
				}
				if late := b.spent(due, &limit); late != tokens-back {
					t.Fatalf("%v: %d spent when token %d is due", limit, late, back)
				}
			}
		}
	}
}

// A rate that is no whole number of nanoseconds is never exceeded, and missed by a nanosecond a token.
func TestBucketRoundsUp(t *testing.T) {
	for _, r := range []Rate{{3, 10 * time.Second}, {7, 1}, {maxTokens, time.Nanosecond}, {maxTokens, maxPer}, {999_983, time.Hour}} {
		limit := r.limit(RuleSource)
		if over := limit.span() - r.Per; over < 0 || over >= time.Duration(r.Tokens) {
			t.Errorf("%v refills in %v", r, limit.span())
		}
	}
}

// A bucket that gets another rate keeps the time it needs, as far as the new one needs any.
func TestBucketChangesRate(t *testing.T) {
	b := new(bucket)
	three := Rate{10, 10 * time.Minute}.limit(RuleSource)
	for range 3 {
		b.spend(now("0s"), &three)
	}
	for i, c := range []struct {
		at    string
		rate  Rate
		spent int
	}{
		{"0s", Rate{10, 10 * time.Minute}, 3},
		{"0s", Rate{20, 20 * time.Minute}, 3},
		{"0s", Rate{10, time.Hour}, 1}, // three minutes, and a token takes six
		{"0s", Rate{2, 10 * time.Second}, 2},
		{"0s", Rate{}, 0},
		{"1m", Rate{10, 10 * time.Minute}, 2},
		{"3m", Rate{10, time.Hour}, 0},
	} {
		limit := c.rate.limit(RuleSource)
		if got := b.spent(now(c.at), &limit); got != c.spent {
			t.Errorf("line %d: %s %v: spent %d, want %d", i, c.at, c.rate, got, c.spent)
		}
	}
}

func TestBucketDue(t *testing.T) {
	b, r := new(bucket), Rate{4, 4 * time.Second}.limit(RuleGlobal)
	for i, c := range []struct {
		at   string
		keep int
		due  time.Duration
	}{{"0s", 0, 0}, {"0s", 0, 0}, {"0s", 1, 0}, {"0s", 1, time.Second}, {"500ms", 0, 0}, {"500ms", 3, 3500 * time.Millisecond}} {
		due := b.due(now(c.at), &r, c.keep)
		if max(due, 0) != c.due {
			t.Errorf("line %d: due in %v, want %v", i, due, c.due)
		}
		if due <= 0 {
			b.spend(now(c.at), &r)
		}
	}
}
