package limiter

import (
	"encoding"
	"strings"
	"testing"
	"time"
)

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
