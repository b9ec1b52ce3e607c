package limiter

import (
	"testing"
	"time"
)

// start is the time 0s of every script.
var start = time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)

// now returns the time d after start, as ticks of a limiter that was first used at start.
func now(d string) ticks {
	return new(epoch).ticks(start).add(at(d).Sub(start))
}

// at returns the time d after start, for d in the form of [time.ParseDuration].
func at(d string) time.Time {
	after, err := time.ParseDuration(d)
	if err != nil {
		panic(err)
	}
	return start.Add(after)
}

// A bucketStep is one use of a bucket at a time, and how many tokens must be spent after it.
type bucketStep struct {
	at    string
	do    string
	spent int
}

func runBucket(t *testing.T, b *bucket, r Rate, steps []bucketStep) {
	t.Helper()
	limit := r.limit(RuleSource)
	for i, p := range steps {
		if p.do == "spend" {
			b.spend(now(p.at), &limit)
		}
		if spent := b.spent(now(p.at), &limit); spent != p.spent {
			t.Errorf("step %d: %s %s: spent %d, want %d", i, p.at, p.do, spent, p.spent)
		}
	}
}

func TestBucketSpends(t *testing.T) {
	runBucket(t, new(bucket), Rate{3, 3 * time.Minute}, []bucketStep{
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
	runBucket(t, new(bucket), Rate{10, 10 * time.Minute}, []bucketStep{
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

// A clock that steps back refills nothing, and delays nothing for longer than an empty bucket does.
func TestBucketWhenClockStepsBack(t *testing.T) {
	b := new(bucket)
	runBucket(t, b, Rate{3, 3 * time.Minute}, []bucketStep{
		{"10m", "spend", 1},
		{"10m", "spend", 2},
		{"1m", "look", 3}, // eleven minutes are missing, more than the span: empty
		{"1m", "spend", 3},
		{"10m", "look", 2},
		{"12m", "look", 0},
	})
}

func TestBucketOff(t *testing.T) {
	runBucket(t, new(bucket), Rate{}, []bucketStep{{"0s", "look", 0}})
}

// Each token of any rate is back exactly when it is due.
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

// If the time of a token is not a whole number of nanoseconds, it is rounded up, by less than a nanosecond.
func TestBucketRoundsUp(t *testing.T) {
	for _, r := range []Rate{{3, 10 * time.Second}, {7, 1}, {maxTokens, time.Nanosecond}, {maxTokens, maxPer}, {999_983, time.Hour}} {
		limit := r.limit(RuleSource)
		if over := limit.span() - r.Per; over < 0 || over >= time.Duration(r.Tokens) {
			t.Errorf("%v refills in %v", r, limit.span())
		}
	}
}

// Under another rate a bucket keeps the time it needs to refill, at most that of an empty one.
func TestBucketKeepsRefillTimeUnderNewRate(t *testing.T) {
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
			t.Errorf("step %d: %s %v: spent %d, want %d", i, c.at, c.rate, got, c.spent)
		}
	}
}
