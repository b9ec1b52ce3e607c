package dialogue

import (
	"fmt"
	"strings"
	"testing"
)

// TestForwardedFields reads each way to name a client. In the input "|" ends a line.
func TestForwardedFields(t *testing.T) {
	long := strings.Repeat("x", maxSessionID)
	for _, tt := range []struct {
		protocol Protocol
		in, want string // want is empty if no client is named
	}{
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9")|`, `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("X-ORIGINATING-IP" "2001:db8::9" "x-originating-port" "65535" "x-session-id" "s")|`, `[2001:db8::9]:65535 "s"`},
		{IMAP{}, `a ID ("x-session-id" "s \"1\"" "x-originating-port" "99" "x-originating-ip" "::ffff:198.51.100.9")|`, `198.51.100.9:99 "s \"1\""`},
		{IMAP{}, "a ID ({16+}|x-originating-ip {12+}|198.51.100.9)|", `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-originating-port" "65536")|`, `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-originating-port" "-1")|`, `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-originating-port" NIL)|`, `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-session-id" "` + long + `")|`, `198.51.100.9:0 "` + long + `"`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-session-id" "` + long + `x")|`, `198.51.100.9:0 ""`},
		{IMAP{}, `a ID ("x-originating-ip" "host.example")|`, `invalid AddrPort ""`},
		{IMAP{}, `a ID ("x-originating-ip" NIL)|`, `invalid AddrPort ""`},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "x-originating-ip" "198.51.100.9")|`, `invalid AddrPort ""`},
		{IMAP{}, `a ID ("name" "x")|b ID ("x-originating-ip" "198.51.100.9")|`, `198.51.100.9:0 "" late`},
		{IMAP{}, `a ID NIL|b ID ("x-originating-ip" "198.51.100.9")|`, `198.51.100.9:0 "" late`},
		{IMAP{}, `a ID ("x-originating-port" "9" "x-session-id" "s" "x-originating-ipx" "198.51.100.9")|`, ""},
		{IMAP{}, `a ID ("name" "x-originating-ip" "198.51.100.9" "name")|`, ""},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9"|`, ""},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9" "name")|`, ""},
		{IMAP{}, `a ID ("x-originating-ip" "198.51.100.9") x|`, ""},
		{POP3{}, "XCLIENT ADDR=198.51.100.9|", `198.51.100.9:0 ""`},
		{POP3{}, "xclient addr=2001:db8::9 port=99 session=s=1 TTL=4 FORWARD=Zm9v|", `[2001:db8::9]:99 "s=1"`},
		{POP3{}, "XCLIENT  PORT=99  ADDR=198.51.100.9 |", `198.51.100.9:99 ""`},
		{POP3{}, "XCLIENT ADDR=198.51.100.9 SESSION=" + long + "x|", `198.51.100.9:0 ""`},
		{POP3{}, "XCLIENT ADDR=|", `invalid AddrPort ""`},
		{POP3{}, "XCLIENT ADDR|", `invalid AddrPort ""`},
		{POP3{}, "XCLIENT ADDR=198.51.100.9 addr=198.51.100.10|", `invalid AddrPort ""`},
		{POP3{}, "XCLIENT|", ""},
		{POP3{}, "XCLIENT TTL=1 x-originating-ip=198.51.100.9 =198.51.100.9|", ""},
	} {
		got := ""
		o := fullOffer[tt.protocol.Name()]
		o.Forwarder, o.Forwarded = true, func(f Forwarded) bool {
			got = fmt.Sprintf("%v %q", f.Client, f.Session)
			if f.Late {
				got += " late"
			}
			return true
		}
		_, _ = tt.protocol.ReadRequest(NewConn(peerSends(strings.ReplaceAll(tt.in, "|", "\r\n"))), o)
		if got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// TestForwardedNotAdmitted returns at the command whose client is refused, with the tag for
// the answer.
func TestForwardedNotAdmitted(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		in, tag  string
	}{{IMAP{}, `t1 ID ("x-originating-ip" "198.51.100.9")`, "t1"}, {POP3{}, "XCLIENT ADDR=198.51.100.9", ""}} {
		w := peerSends(tt.in + "\r\n")
		o := Offer{TLS: true, Forwarder: true, Forwarded: func(Forwarded) bool { return false }}
		r, err := tt.protocol.ReadRequest(NewConn(w), o)
		if err != nil || r.Kind != NotAdmitted || r.Tag != tt.tag || w.out.Len() > 0 {
			t.Errorf("%q: got %+v, %v and answer %q", tt.in, r, err, w.out.String())
		}
	}
}
