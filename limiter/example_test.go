package limiter_test

import (
	"fmt"
	"net/netip"
	"time"

	"postern/limiter"
)

// A client guesses passwords as fast as the limiter permits.
func Example() {
	l, err := limiter.New(limiter.Policy{
		Source:   limiter.Rate{Tokens: 5, Per: 5 * time.Minute},
		WaitMax:  10 * time.Second,
		TableMax: 1000,
	}, limiter.Key{}) // random in production
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2022, 3, 29, 12, 0, 0, 0, time.UTC)
	guess := limiter.Attempt{Addr: netip.MustParseAddr("192.0.2.1"), Account: "alice"}
	for range 6 {
		ticket := l.Ask(now, guess)
		v := ticket.Verdict()
		fmt.Println(v.Action, v.Rule, v.Wait.Truncate(2*time.Second)) // the rest is jitter
		now = now.Add(v.Wait)
		ticket.Settle(now, limiter.Denied)
	}
	// Output:
	// pass none 0s
	// wait source 2s
	// wait source 4s
	// wait source 8s
	// wait source 10s
	// refuse source 0s
}

func ExampleParseRate() {
	r, err := limiter.ParseRate("10/10m")
	fmt.Println(r.Tokens, r.Per, err)
	_, err = limiter.ParseRate("10 per minute")
	fmt.Println(err)
	// Output:
	// 10 10m0s <nil>
	// parsing a rate: got "10 per minute", want tokens/time, such as 10/10m, or off
}
