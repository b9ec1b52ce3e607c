package client

import (
	"testing"
	"time"
)

func TestIdle(t *testing.T) {
	for _, test := range []struct {
		answer string
		idles  bool
		reason string // of the notification, "" for none
	}{
		{"+ idling\r\n* OK 1700000000000000001 is the time.", true, ""},
		{"+ idling\r\n* 1 EXISTS", true, "unexpected answer"},
		{"+ idling\r\n* OK soon", true, "unexpected answer"},
		{"+ idling", true, "connection lost"},
		{"a BAD what", false, ""},
	} {
		s, err := dial(t, IMAP, "* OK hi", test.answer)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Idle(); (err == nil) != test.idles {
			t.Errorf("%q: %v", test.answer, err)
		}
		if !test.idles {
			continue
		}
		switch at, err := s.Notification(); {
		case test.reason == "" && (err != nil || !at.Equal(time.Unix(1700000000, 1))):
			t.Errorf("%q: %v, %v", test.answer, at, err)
		case test.reason != "" && (err == nil || Reason(err) != test.reason):
			t.Errorf("%q: reason %q of %v", test.answer, Reason(err), err)
		}
	}
}
