package limiter

import (
	"encoding"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// policy returns a policy with the default limits on addresses and no known table. Tests change what they test.
func policy() Policy {
	return Policy{
		Connect:      Rate{60, 12 * time.Second},
		Open:         200,
		OpenPrelogin: 30,
		Source:       Rate{10, 10 * time.Minute},
		Network:      Rate{100, 10 * time.Minute},
		Global:       Rate{200, time.Second},
		WaitMax:      10 * time.Second,
		TableMax:     1000,
	}
}

// defaultPolicy returns a policy with all defaults.
func defaultPolicy() Policy {
	p := policy()
	p.Pair, p.Account, p.KnownShare = Rate{5, 10 * time.Minute}, Rate{10, time.Hour}, 60
	p.RepeatTTL, p.KnownTTL = time.Minute, 720*time.Hour
	return p
}

// newLimiter returns a Limiter for p, which must be valid.
func newLimiter(t testing.TB, p Policy) *Limiter {
	t.Helper()
	l, err := New(p, Key{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPolicyErrors(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*Policy)
	}{
		{"Connect: rate 0/12s: got 0 tokens", func(p *Policy) { p.Connect.Tokens = 0 }},
		{"Source: rate 10/0s: got a time of 0s", func(p *Policy) { p.Source.Per = 0 }},
		{"Network: rate -1/10m: got -1 tokens", func(p *Policy) { p.Network.Tokens = -1 }},
		{"Global: rate 2000000/1s: got 2000000 tokens", func(p *Policy) { p.Global.Tokens = 2_000_000 }},
		{"Open: got -1, want 0 or more", func(p *Policy) { p.Open = -1 }},
		{"OpenPrelogin: got -1, want 0 or more", func(p *Policy) { p.OpenPrelogin = -1 }},
		{"WaitMax: got -1s, want 0s to 15s", func(p *Policy) { p.WaitMax = -time.Second }},
		{"WaitMax: got 16s, want 0s to 15s", func(p *Policy) { p.WaitMax = 16 * time.Second }},
		{"TableMax: got 0, want 1 or more", func(p *Policy) { p.TableMax = 0 }},
		{"Exempt: got invalid Prefix, want a network", func(p *Policy) { p.Exempt = make([]netip.Prefix, 1) }},
		{"Exempt: got ::ffff:0.0.0.0/90, want a network", func(p *Policy) {
			p.Exempt = []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/90")}
		}},
	} {
		p := policy()
		tc.change(&p)
		if _, err := New(p, Key{}); err == nil || !strings.HasPrefix(err.Error(), "limiter policy: "+tc.want) {
			t.Errorf("New: got %v, want %q", err, tc.want)
		}
	}
}

func TestZeroRulesAreOff(t *testing.T) {
	if _, err := New(Policy{TableMax: 1}, Key{}); err != nil {
		t.Error(err)
	}
}

func TestExemptMatchesMappedAddresses(t *testing.T) {
	p := policy()
	p.Exempt = []netip.Prefix{
		netip.MustParsePrefix("192.0.2.77/24"), // host bits are ignored
		netip.MustParsePrefix("::ffff:198.51.100.0/120"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
	p, err := p.validated()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"192.0.2.1":          true,
		"::ffff:192.0.2.1":   true,
		"198.51.100.9":       true,
		"::ffff:c633:6409%1": true,
		"2001:db8::1%eth0":   true,
		"192.0.3.1":          false,
		"2001:db9::1":        false,
	} {
		if got := p.exempts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("exempts(%s) = %v, want %v", addr, got, want)
		}
	}
	if p.exempts(netip.Addr{}) {
		t.Error("the invalid address is exempt")
	}
}

func TestNewCopiesExempt(t *testing.T) {
	p := policy()
	p.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	l := newLimiter(t, p)
	p.Exempt[0] = netip.MustParsePrefix("0.0.0.0/0")
	if l.rules.Load().exempts(netip.MustParseAddr("198.51.100.1")) {
		t.Error("changing the slice given to New changed the policy")
	}
}

// attempt opens an attempt from addr and settles it at once.
func attempt(l *Limiter, t time.Time, addr netip.Addr, o Outcome) {
	k := l.Ask(t, Attempt{Addr: addr})
	k.Settle(t, o)
}

// verdict opens an attempt from addr and returns its verdict.
func verdict(l *Limiter, t time.Time, addr netip.Addr) Verdict {
	k := l.Ask(t, Attempt{Addr: addr})
	return k.Verdict()
}

var (
	_ encoding.TextMarshaler   = Rate{}
	_ encoding.TextUnmarshaler = (*Rate)(nil)
)

func TestParseRate(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Rate
		text string
	}{
		{"off", Rate{}, "off"},
		{"10/10m", Rate{10, 10 * time.Minute}, "10/10m"},
		{"60/12s", Rate{60, 12 * time.Second}, "60/12s"},
		{"200/1s", Rate{200, time.Second}, "200/1s"},
		{"10/1h", Rate{10, time.Hour}, "10/1h"},
		{"10/60m", Rate{10, time.Hour}, "10/1h"},
		{"10/90s", Rate{10, 90 * time.Second}, "10/1m30s"},
		{"10/90m", Rate{10, 90 * time.Minute}, "10/1h30m"},
		{"10/20h", Rate{10, 20 * time.Hour}, "10/20h"},
		{"10/1h0m5s", Rate{10, time.Hour + 5*time.Second}, "10/1h0m5s"},
		{"1/250ms", Rate{1, 250 * time.Millisecond}, "1/250ms"},
		{"010/1s", Rate{10, time.Second}, "10/1s"},
		{"1000000/1ns", Rate{1_000_000, 1}, "1000000/1ns"},
	} {
		got, err := ParseRate(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("ParseRate(%q) = %v, %v; want %v", tc.in, got, err, tc.want)
		}
		if got.String() != tc.text {
			t.Errorf("ParseRate(%q).String() = %q, want %q", tc.in, got, tc.text)
		}
	}
}

func TestParseRateErrors(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "want tokens/time, such as"},
		{"/", "want tokens/time, such as"},
		{"10", "want tokens/time, such as"},
		{"10/", "want tokens/time, such as"},
		{"10/m", "want tokens/time, such as"},
		{"10/10", "want tokens/time, such as"},
		{"/10m", "want tokens/time, such as"},
		{"+10/10m", "want tokens/time, such as"},
		{"-10/10m", "want tokens/time, such as"},
		{"1.5/10m", "want tokens/time, such as"},
		{"10/10m/1s", "want tokens/time, such as"},
		{" 10/10m", "want tokens/time, such as"},
		{"OFF", "want tokens/time, such as"},
		{"99999999999/1s", "want tokens/time, such as"},
		{"0/0s", "want off to disable"},
		{"0/10m", "tokens, want 1 to 1000000"},
		{"1000001/1s", "tokens, want 1 to 1000000"},
		{"10/0s", "want more than 0s"},
		{"10/-10m", "want more than 0s"},
	} {
		got, err := ParseRate(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("ParseRate(%q): got %v, want %q", tc.in, err, tc.want)
		}
		if got != (Rate{}) {
			t.Errorf("ParseRate(%q) = %v beside an error", tc.in, got)
		}
	}
}

func TestRateText(t *testing.T) {
	r := Rate{10, 10 * time.Minute}
	if text, err := r.MarshalText(); err != nil || string(text) != "10/10m" {
		t.Errorf("MarshalText = %q, %v", text, err)
	}
	if err := r.UnmarshalText([]byte("60/12s")); err != nil || r != (Rate{60, 12 * time.Second}) {
		t.Errorf("UnmarshalText gave %v, %v", r, err)
	}
	if err := r.UnmarshalText([]byte("many")); err == nil || r != (Rate{60, 12 * time.Second}) {
		t.Errorf("UnmarshalText of an invalid rate gave %v, %v", r, err)
	}
}

func FuzzParseRate(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			if r != (Rate{}) {
				t.Fatalf("ParseRate(%q) = %v beside an error", s, r)
			}
			return
		}
		if err := r.validate(); err != nil {
			t.Fatalf("ParseRate(%q) returned an invalid rate: %v", s, err)
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("ParseRate(%q) = %v, which reads back as %v, %v", s, r, again, err)
		}
	})
}

func TestDelay(t *testing.T) {
	for _, tc := range []struct {
		burst   int
		longest time.Duration
		want    []time.Duration // by tokens spent, in seconds
	}{
		{10, 10, []time.Duration{0, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10}},
		{10, 15, []time.Duration{0, 2, 4, 8, 15, 15}},
		{10, 5, []time.Duration{0, 2, 4, 5, 5}},
		{10, 1, []time.Duration{0, 1, 1, 1, 1}},
		{10, 0, []time.Duration{0, 0, 0, 0, 0}},
		{20, 10, []time.Duration{0, 0, 2, 2, 4, 4, 8, 8, 10}},
		{15, 10, []time.Duration{0, 0, 2, 4, 4, 8, 10}}, // a tenth is 1.5
		{5, 10, []time.Duration{0, 2, 4, 8, 10, 10}},    // at most one step with each denial
		{1, 10, []time.Duration{0, 2}},
	} {
		for spent, want := range tc.want {
			if got := delay(spent, tc.burst, tc.longest*time.Second); got != want*time.Second {
				t.Errorf("delay(%d, %d, %ds) = %v, want %ds", spent, tc.burst, tc.longest, got, want)
			}
		}
	}
}

func TestDelayOfALargeBucket(t *testing.T) {
	for spent, want := range map[int]time.Duration{0: 0, 9: 0, 10: 2, 19: 2, 20: 4, 30: 8, 39: 8, 40: 10, 100: 10} {
		if got := delay(spent, 100, 10*time.Second); got != want*time.Second {
			t.Errorf("delay(%d, 100, 10s) = %v, want %ds", spent, got, want)
		}
	}
}

func TestJitter(t *testing.T) {
	const longest = 10 * time.Second
	for _, d := range []time.Duration{0, 1, 2 * time.Second, 8 * time.Second, 9 * time.Second, longest} {
		low, high := time.Hour, time.Duration(0)
		for seed := range uint64(1000) {
			got := jittered(d, longest, seed)
			low, high = min(low, got), max(high, got)
		}
		if low < d || high > min(d+d/5, longest) {
			t.Errorf("jittered(%v) is from %v to %v", d, low, high)
		}
		if d == 2*time.Second && high-low < d/10 {
			t.Errorf("jittered(%v) hardly varies: %v to %v", d, low, high)
		}
	}
}
