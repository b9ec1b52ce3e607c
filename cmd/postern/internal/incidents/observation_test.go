package incidents

import (
	"bytes"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/limiter/watch"
)

// observations are examples of all kinds.
func observations() []Observation {
	full := watch.Attempt{
		Source: netip.MustParsePrefix("2001:db8::/64"), Network: netip.MustParsePrefix("2001:db8::/48"), Account: "anna@example.org",
		Known: true, Usual: true, Worked: true, Former: true, Compared: true, Credential: math.MaxUint64, Outcome: watch.Fault,
		Rule: "source", JA4: "t13d131000_f57a46bbacb6_ab7e3b40a677", Waited: 3 * time.Second, Greeting: time.Millisecond,
	}
	return []Observation{
		{kind: observedAttempt, attempt: full}, {kind: observedAttempt}, {kind: observedOpened}, {kind: observedClosed},
		{kind: observedHeld, attempt: watch.Attempt{Source: netip.MustParsePrefix("192.0.2.1/32"), Network: netip.MustParsePrefix("192.0.2.0/24")}},
	}
}

// TestObservationIsEncodedInFull, so that a field of an attempt that is not encoded fails.
func TestObservationIsEncodedInFull(t *testing.T) {
	full := reflect.ValueOf(observations()[0].attempt)
	for i := range full.NumField() {
		if full.Field(i).IsZero() {
			t.Errorf("field %s of the example has no value", full.Type().Field(i).Name)
		}
	}
	var data []byte
	for _, o := range observations() {
		data = o.AppendTo(data)
	}
	for _, want := range observations() {
		o, rest, err := ParseObservation(data)
		if err != nil || o != want {
			t.Fatalf("got %+v, %v, want %+v", o, err, want)
		}
		data = rest
	}
	if len(data) > 0 {
		t.Errorf("%d octets are left", len(data))
	}
}

// TestLongAccountIsTheSameForTheDetector, although it is cut.
func TestLongAccountIsTheSameForTheDetector(t *testing.T) {
	name := strings.Repeat("a", 63) + strings.Repeat("\u00e5", 4000)
	o := Observation{kind: observedAttempt, attempt: watch.Attempt{Account: name, Outcome: watch.Denied}}
	parsed, _, err := ParseObservation(o.AppendTo(nil))
	if err != nil || len(parsed.attempt.Account) > observedAccount {
		t.Fatalf("got %d octets, %v", len(parsed.attempt.Account), err)
	}
	names := []string{}
	for _, o := range []Observation{o, parsed} {
		m, _ := newManager(t, Config{})
		m.Observe(noon, o)
		_, hour := m.watch.Partial(noon)
		names = append(names, hour.Accounts[0].Name)
	}
	if names[0] != names[1] {
		t.Errorf("got %q", names)
	}
}

// TestMalformedObservations are refused, whatever is missing.
func TestMalformedObservations(t *testing.T) {
	for _, o := range observations() {
		data := o.AppendTo(nil)
		for n := range data {
			if _, _, err := ParseObservation(data[:n]); err == nil {
				t.Errorf("%x: accepted without its last %d octets", data, len(data)-n)
			}
		}
	}
	for _, data := range []string{"\x00", "\x06", "\x05\x03abc\x08\x00", "\x05\x04\x01\x02\x03\x04\x21\x00"} {
		if o, _, err := ParseObservation([]byte(data)); err == nil {
			t.Errorf("%x: accepted as %+v", data, o)
		}
	}
}

// FuzzParseObservation: what is accepted can be counted, and encoded again.
func FuzzParseObservation(f *testing.F) {
	for _, o := range observations() {
		f.Add(o.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, rest, err := ParseObservation(data)
		if err != nil {
			return
		}
		again, left, err := ParseObservation(append(o.AppendTo(nil), rest...))
		if err != nil || again != o || !bytes.Equal(left, rest) {
			t.Fatalf("%+v became %+v, %v", o, again, err)
		}
		o.attempt.UserResult()
		_ = o.attempt.Outcome.String()
	})
}
