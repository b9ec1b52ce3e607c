package client

import (
	"testing"
	"time"
)

func TestIdle(t *testing.T) {
	for _, test := range []struct {
		said   string
		idles  bool
		reason string // of what it hears then, "" for a time
	}{
		{"+ idling\r\n* OK 1700000000000000001 is the time.", true, ""},
		{"+ idling\r\n* 1 EXISTS", true, "wrong answer"},
		{"+ idling\r\n* OK soon", true, "wrong answer"},
		{"+ idling", true, "connection lost"},
		{"a BAD what", false, ""},
	} {
		s, err := call(t, IMAP, "* OK hi", test.said)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Idle(); (err == nil) != test.idles {
			t.Errorf("%q: %v", test.said, err)
		}
		if !test.idles {
			continue
		}
		switch at, err := s.Rung(); {
		case test.reason == "" && (err != nil || !at.Equal(time.Unix(1700000000, 1))):
			t.Errorf("%q: %v, %v", test.said, at, err)
		case test.reason != "" && (err == nil || Reason(err) != test.reason):
			t.Errorf("%q: reason %q of %v", test.said, Reason(err), err)
		}
	}
}
