package dialogue

import (
	"io"
	"strings"
	"testing"
)

// TestIMAPLogin tests what only IMAP has in a reply: untagged lines, the tag and the
// capabilities.
func TestIMAPLogin(t *testing.T) {
	tests := []struct {
		name, backend   string
		afterCapability bool // the client has sent CAPABILITY before
		result          Result
		raw             string
		fails           bool
	}{
		{
			name: "the tag is the client's", backend: "1 OK 1 in\r\n",
			result: Accepted, raw: "t7 OK 1 in\r\n",
		},
		{
			name: "untagged lines come first", backend: "* OK [ALERT] full\r\n* CAPABILITY IMAP4rev1\r\n1 OK in\r\n",
			result: Accepted, raw: "* OK [ALERT] full\r\n* CAPABILITY IMAP4rev1\r\nt7 OK in\r\n",
		},
		{
			name: "untagged lines before a refusal", backend: "* BAD [ALERT] password exposed\r\n1 NO no\r\n",
			result: Denied, raw: "* BAD [ALERT] password exposed\r\nt7 NO no\r\n",
		},
		{
			name: "bare LF", backend: "* OK x\n1 OK in\n",
			result: Accepted, raw: "* OK x\r\nt7 OK in\r\n",
		},
		{
			name: "after CAPABILITY the list is repeated", backend: "* OK x\r\n1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n", afterCapability: true,
			result: Accepted, raw: "* OK x\r\n* CAPABILITY IMAP4rev1 IDLE\r\nt7 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n",
		},
		{
			name: "after CAPABILITY, no list", backend: "1 OK in\r\n", afterCapability: true,
			result: Accepted, raw: "t7 OK in\r\n",
		},
		{
			name: "after CAPABILITY, denied", backend: "1 NO [CAPABILITY IMAP4rev1] no\r\n", afterCapability: true,
			result: Denied, raw: "t7 NO [CAPABILITY IMAP4rev1] no\r\n",
		},
		{
			name: "without CAPABILITY", backend: "1 OK [CAPABILITY IMAP4rev1] in\r\n",
			result: Accepted, raw: "t7 OK [CAPABILITY IMAP4rev1] in\r\n",
		},
		{
			name: "as many lines as a backend may send", backend: strings.Repeat("* OK x\r\n", maxReplyLines-1) + "1 OK in\r\n",
			result: Accepted, raw: strings.Repeat("* OK x\r\n", maxReplyLines-1) + "t7 OK in\r\n",
		},
		{name: "one line too many", backend: strings.Repeat("* OK x\r\n", maxReplyLines) + "1 OK in\r\n", fails: true},
		{name: "BYE", backend: "* BYE shutting down\r\n1 OK in\r\n", fails: true},
		{name: "BYE in lower case", backend: "* bye\r\n", fails: true},
		{name: "BYE after an untagged line", backend: "* OK x\r\n* BYE\r\n", fails: true},
		{name: "another tag", backend: "2 OK in\r\n", fails: true},
		{name: "the tag as prefix of another", backend: "11 OK in\r\n", fails: true},
		{name: "no tag", backend: "OK in\r\n", fails: true},
		{name: "no status", backend: "1\r\n", fails: true},
		{name: "an empty status", backend: "1  OK in\r\n", fails: true},
		{name: "an unknown status", backend: "1 OKAY in\r\n", fails: true},
		{name: "the status of a greeting", backend: "1 PREAUTH in\r\n", fails: true},
		{name: "an empty untagged line", backend: "* \r\n1 OK in\r\n", fails: true},
		{name: "no space", backend: "*OK in\r\n", fails: true},
		{name: "closes", backend: "* OK x\r\n", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConn(peerSends(""))
			c.sentCapabilities = tt.afterCapability
			reply, err := IMAP{}.Login(NewConn(peerSends(tt.backend)), c, loginRequest("PLAIN"))
			if reply.Result != tt.result || string(reply.Raw) != tt.raw || (err != nil) != tt.fails {
				t.Errorf("got result %d, %v, reply %q", reply.Result, err, reply.Raw)
			}
		})
	}
}

// TestLoginKeepsTheRest: what the backend sends behind its reply, and the client
// behind its login, can still be read by the relay.
func TestLoginKeepsTheRest(t *testing.T) {
	for _, p := range protocols {
		up, c := NewConn(peerSends(lines(p, challenge+"OK.|* 1 EXISTS|"))), NewConn(peerSends(lines(p, cramProof+"x SELECT INBOX|")))
		reply, err := p.Login(up, c, loginRequest("CRAM-MD5"))
		if reply.Result != Accepted || err != nil {
			t.Fatalf("%s: got %+v, %v", p.Name(), reply, err)
		}
		if rest := up.Rest(); string(rest) != "* 1 EXISTS\r\n" {
			t.Errorf("%s: the backend's rest is %q", p.Name(), rest)
		}
		if rest, _ := io.ReadAll(c); string(rest) != "x SELECT INBOX\r\n" {
			t.Errorf("%s: the client's rest is %q", p.Name(), rest)
		}
	}
}

// TestBadReplyIsShort: the error quotes only the start of a bad reply.
func TestBadReplyIsShort(t *testing.T) {
	err := badReply("login", []byte("\x1b[31m\r\n"+strings.Repeat("x", 9000)))
	if text := err.Error(); len(text) > 300 || !strings.Contains(text, `"\x1b[31m\r\nxxx`) {
		t.Errorf("got %d octets: %s", len(text), text)
	}
}

// TestBareStatus: a tag alone is not a reply.
func TestBareStatus(t *testing.T) {
	reply, err := IMAP{}.Login(NewConn(peerSends("1\r\n")), NewConn(peerSends("")), loginRequest("PLAIN"))
	if err == nil {
		t.Errorf("got reply %q", reply.Raw)
	}
}
