package limiter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The largest bucket. Even with what rounding up adds to each token, its span is far from overflow.
const (
	maxTokens = 1_000_000
	maxPer    = 366 * 24 * time.Hour
)

// A Rate describes a bucket: it holds Tokens when full, and an empty one refills in Per. The zero value is off: the
// rule does not exist.
type Rate struct {
	Tokens int
	Per    time.Duration
}

// ParseRate reads a rate in the form tokens/time, such as 10/10m or 200/1s, or the word off. The time is one that
// [time.ParseDuration] takes.
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	tokens, per, _ := strings.Cut(s, "/")
	n, errTokens := strconv.ParseUint(tokens, 10, 31)
	d, errPer := time.ParseDuration(per)
	if errTokens != nil || errPer != nil {
		return Rate{}, fmt.Errorf("rate %q: want tokens/time, such as 10/10m, or off", s)
	}
	r := Rate{Tokens: int(n), Per: d}
	if r.off() {
		return Rate{}, fmt.Errorf("rate %q: a bucket of nothing is written off", s)
	}
	if err := r.check(); err != nil {
		return Rate{}, err
	}
	return r, nil
}

// String returns r in the form [ParseRate] reads.
func (r Rate) String() string {
	if r.off() {
		return "off"
	}
	per := r.Per.String()
	for _, zero := range []struct{ unit, tail string }{{"m", "0s"}, {"h", "0m"}} {
		if strings.HasSuffix(per, zero.unit+zero.tail) {
			per = strings.TrimSuffix(per, zero.tail)
		}
	}
	return strconv.Itoa(r.Tokens) + "/" + per
}

// MarshalText returns r in the form [ParseRate] reads.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}

// UnmarshalText sets r to what [ParseRate] reads from text. If that is an error, r stays as it was.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// check reports what keeps r from describing a bucket. Off is fine.
func (r Rate) check() error {
	switch {
	case r.off():
		return nil
	case r.Tokens < 1 || r.Tokens > maxTokens:
		return fmt.Errorf("rate %v: tokens must be from 1 to %d", r, maxTokens)
	case r.Per <= 0:
		return fmt.Errorf("rate %v: time must be above zero", r)
	case r.Per > maxPer:
		return fmt.Errorf("rate %v: time must be at most a year", r)
	}
	return nil
}

func (r Rate) off() bool {
	return r == Rate{}
}
