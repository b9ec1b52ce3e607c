package limiter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The largest bucket. Rounding up the time of each token does not bring its span near an overflow.
const (
	maxTokens = 1_000_000
	maxPer    = 366 * 24 * time.Hour
)

// A Rate describes a bucket: it has Tokens when full, and refills from empty in Per. The zero value means off: the rule
// does not apply.
type Rate struct {
	Tokens int
	Per    time.Duration
}

// ParseRate reads a rate in the form tokens/time, such as 10/10m or 200/1s, or off. The time has the form of
// [time.ParseDuration].
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	tokens, per, _ := strings.Cut(s, "/")
	n, errTokens := strconv.ParseUint(tokens, 10, 31)
	d, errPer := time.ParseDuration(per)
	if errTokens != nil || errPer != nil {
		return Rate{}, fmt.Errorf("parsing a rate: got %q, want tokens/time, such as 10/10m, or off", s)
	}
	r := Rate{Tokens: int(n), Per: d}
	if r.off() {
		return Rate{}, fmt.Errorf("parsing a rate: got %q, want off to disable the rule", s)
	}
	if err := r.validate(); err != nil {
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

// UnmarshalText sets r to what [ParseRate] reads from text. On an error r does not change.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// validate returns an error if r is neither off nor describes a bucket.
func (r Rate) validate() error {
	switch {
	case r.off():
		return nil
	case r.Tokens < 1 || r.Tokens > maxTokens:
		return fmt.Errorf("rate %v: got %d tokens, want 1 to %d", r, r.Tokens, maxTokens)
	case r.Per <= 0:
		return fmt.Errorf("rate %v: got a time of %v, want more than 0s", r, r.Per)
	case r.Per > maxPer:
		return fmt.Errorf("rate %v: got a time of %v, want at most %v", r, r.Per, maxPer)
	}
	return nil
}

func (r Rate) off() bool {
	return r == Rate{}
}
