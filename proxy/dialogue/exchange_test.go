package dialogue

import (
	"encoding/base64"
	"strings"
	"testing"
)

// b64 is one line of an exchange.
func b64(message string) string { return base64.StdEncoding.EncodeToString([]byte(message)) }

// asked are requests as Hear makes them, by mechanism.
func loginRequest(mechanism string) Request {
	r := Request{Kind: Login, Tag: "t7", Method: mechanism, Mechanism: mechanism, Response: Secret{}}
	switch mechanism {
	case "PLAIN":
		r.Account, r.Response = "user", Secret("\x00user\x00pass")
	case "XOAUTH2":
		r.Account, r.Response = "user", Secret("user=user\x01auth=Bearer bad\x01\x01")
	case "OAUTHBEARER":
		r.Account, r.Response = "user", Secret("n,a=user,\x01auth=Bearer bad\x01\x01")
	case "SCRAM-SHA-256":
		r.Account, r.Response = "user", Secret("n,,n=user,r=nonce")
	}
	r.HasResponse = len(r.Response) > 0
	return r
}

// words is what differs between the protocols in the texts of an exchange.
var protocolText = map[string]*strings.Replacer{
	"imap": strings.NewReplacer("AUTH ", "1 AUTHENTICATE ", "OK.", "1 OK in", "NO.", "1 NO [AUTHENTICATIONFAILED] no", "ABORT.", "1 BAD aborted",
		"BUSY.", "1 NO [UNAVAILABLE] later", "GATE.", "t7 NO [AUTHENTICATIONFAILED] Authentication failed."),
	"pop3": strings.NewReplacer("OK.", "+OK in", "NO.", "-ERR [AUTH] no", "ABORT.", "-ERR aborted",
		"BUSY.", "-ERR [SYS/TEMP] later", "GATE.", "-ERR [AUTH] Authentication failed."),
}

// lines makes lines on the wire of a protocol out of a text in which "|" ends
// each of them.
func lines(p Protocol, text string) string {
	return strings.ReplaceAll(protocolText[p.Name()].Replace(text), "|", "\r\n")
}

// exchangeTest is one login. The texts are for lines; raw is the client's form
// of what the backend said, without the tag.
type exchangeTest struct {
	name, mechanism string
	backend, client string // what they say
	gone            int    // the client hears nothing from this write on
	result          Result
	raw, account    string
	sent, told      string // what the backend and the client hear during the login
	fails           bool
}

var (
	startPlain  = "AUTH PLAIN " + b64("\x00user\x00pass") + "|"
	startXOAuth = "AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer bad\x01\x01") + "|"
	startBearer = "AUTH OAUTHBEARER " + b64("n,a=user,\x01auth=Bearer bad\x01\x01") + "|"
	startScram  = "AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=nonce") + "|"
	startCram   = "AUTH CRAM-MD5|"
	challenge   = "+ " + b64("<1.2@host>") + "|"
	scramFirst  = "+ " + b64("r=noncemore,s=salt,i=4096") + "|"
	scramProof  = b64("c=biws,r=noncemore,p=proof") + "|"
	scramFinal  = "+ " + b64("v=verifier") + "|"
	why         = "+ " + b64(`{"status":"401"}`) + "|"
	cramProof   = b64("user 0123456789abcdef") + "|"
)

var exchangeTests = []exchangeTest{
	{name: "password right", mechanism: "PLAIN", backend: "OK.|", result: Accepted, raw: "OK.|", account: "user", sent: startPlain},
	{name: "password wrong", mechanism: "PLAIN", backend: "NO.|", result: Denied, raw: "NO.|", account: "user", sent: startPlain},
	{name: "backend busy", mechanism: "PLAIN", backend: "BUSY.|", result: Unavailable, raw: "BUSY.|", account: "user", sent: startPlain},
	{name: "backend wants more than a password", mechanism: "PLAIN", backend: "+ |OK.|", fails: true, sent: startPlain},
	{name: "backend gone", mechanism: "PLAIN", fails: true, sent: startPlain},
	{name: "backend gone in the middle of a line", mechanism: "PLAIN", backend: "OK.", fails: true, sent: startPlain},
	{name: "backend speaks nonsense", mechanism: "PLAIN", backend: "HTTP/1.1 400 Bad Request|", fails: true, sent: startPlain},
	{name: "backend sends an empty line", mechanism: "PLAIN", backend: "|OK.|", fails: true, sent: startPlain},
	{name: "backend never ends a line", mechanism: "PLAIN", backend: strings.Repeat("+", maxReply), fails: true, sent: startPlain},

	// A client that leaves has made a guess or not, depending on when.
	{name: "CRAM-MD5, gone at the challenge", mechanism: "CRAM-MD5", backend: challenge, result: Unavailable, sent: startCram, told: challenge},
	{name: "CRAM-MD5, gone in the middle of its proof", mechanism: "CRAM-MD5", backend: challenge, client: "dXNl",
		result: Unavailable, sent: startCram, told: challenge},
	{name: "CRAM-MD5, gone before the challenge", mechanism: "CRAM-MD5", backend: challenge, gone: 1, result: Unavailable, sent: startCram},
	{name: "SCRAM, gone before its proof", mechanism: "SCRAM-SHA-256", backend: scramFirst,
		result: Unavailable, account: "user", sent: startScram, told: scramFirst},
	{name: "SCRAM, gone with the server's proof", mechanism: "SCRAM-SHA-256", backend: scramFirst + scramFinal, client: scramProof,
		result: Unavailable, account: "user", sent: startScram + scramProof, told: scramFirst + scramFinal},
	{name: "XOAUTH2, gone when told why", mechanism: "XOAUTH2", backend: why, result: Denied, account: "user", sent: startXOAuth, told: why},
	{name: "XOAUTH2, gone before it is told why", mechanism: "XOAUTH2", backend: why, gone: 1, result: Denied, account: "user", sent: startXOAuth},
	{name: "OAUTHBEARER, gone when told why", mechanism: "OAUTHBEARER", backend: why, result: Denied, account: "user", sent: startBearer, told: why},

	// So with one that cancels: Dovecot says nothing of a token it found wrong.
	{name: "XOAUTH2, cancelled when told why", mechanism: "XOAUTH2", backend: why + "ABORT.|", client: "*|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startXOAuth + "*|", told: why},
	{name: "OAUTHBEARER, cancelled when told why", mechanism: "OAUTHBEARER", backend: why + "ABORT.|", client: "*|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startBearer + "*|", told: why},
	{name: "XOAUTH2, nonsense when told why", mechanism: "XOAUTH2", backend: why + "ABORT.|", client: "what?|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startXOAuth + "*|", told: why},
	{name: "XOAUTH2, a temporary refusal when told why", mechanism: "XOAUTH2", backend: why + "BUSY.|", client: "|",
		result: Denied, raw: "BUSY.|", account: "user", sent: startXOAuth + "|", told: why},
	{name: "XOAUTH2, accepted in spite of it", mechanism: "XOAUTH2", backend: why + "OK.|", client: "|",
		result: Accepted, raw: "OK.|", account: "user", sent: startXOAuth + "|", told: why},
	{name: "XOAUTH2, busy at once", mechanism: "XOAUTH2", backend: "BUSY.|", result: Unavailable, raw: "BUSY.|", account: "user", sent: startXOAuth},
	{name: "OAUTHBEARER, told why", mechanism: "OAUTHBEARER", backend: why + "NO.|", client: "AQ==|",
		result: Denied, raw: "NO.|", account: "user", sent: startBearer + "AQ==|", told: why},
	{name: "SCRAM, cancelled", mechanism: "SCRAM-SHA-256", backend: scramFirst + "ABORT.|", client: "*|",
		result: Cancelled, raw: "ABORT.|", account: "user", sent: startScram + "*|", told: scramFirst},
	{name: "CRAM-MD5, cancelled", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "*|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", told: challenge},
	{name: "CRAM-MD5, cancelled, and refused", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: "*|",
		result: Cancelled, raw: "NO.|", sent: startCram + "*|", told: challenge},
	{name: "CRAM-MD5, cancelled, and accepted", mechanism: "CRAM-MD5", backend: challenge + "OK.|", client: "*|",
		result: Accepted, raw: "OK.|", sent: startCram + "*|", told: challenge},

	// What is not strict base64 never reaches a backend.
	{name: "CRAM-MD5, no padding", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "dXNlcg|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", told: challenge},
	{name: "CRAM-MD5, a CR inside", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "dXNl\rcg==|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", told: challenge},
	{name: "CRAM-MD5, a line too long", mechanism: "CRAM-MD5", backend: challenge, client: strings.Repeat("A", maxSASL-1) + "|",
		result: Unavailable, sent: startCram, told: challenge},

	{name: "CRAM-MD5, right", mechanism: "CRAM-MD5", backend: challenge + "OK.|", client: cramProof,
		result: Accepted, raw: "OK.|", account: "user", sent: startCram + cramProof, told: challenge},
	{name: "CRAM-MD5, wrong", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: cramProof,
		result: Denied, raw: "NO.|", account: "user", sent: startCram + cramProof, told: challenge},
	{name: "CRAM-MD5, no name", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: "AA==|",
		result: Denied, raw: "NO.|", sent: startCram + "AA==|", told: challenge},
	{name: "CRAM-MD5, a name no account has", mechanism: "CRAM-MD5", backend: challenge, client: b64("us\x00er 0123") + "|",
		result: Denied, raw: "GATE.|", account: "us\x00er", sent: startCram, told: challenge},
	{name: "CRAM-MD5, backend gone with the proof", mechanism: "CRAM-MD5", backend: challenge, client: cramProof,
		fails: true, sent: startCram + cramProof, told: challenge},
	{name: "SCRAM, right", mechanism: "SCRAM-SHA-256", backend: scramFirst + scramFinal + "OK.|", client: scramProof + "|",
		result: Accepted, raw: "OK.|", account: "user", sent: startScram + scramProof + "|", told: scramFirst + scramFinal},
	{name: "SCRAM, wrong", mechanism: "SCRAM-SHA-256", backend: scramFirst + "NO.|", client: scramProof,
		result: Denied, raw: "NO.|", account: "user", sent: startScram + scramProof, told: scramFirst},
	{name: "a challenge without a space", mechanism: "CRAM-MD5", backend: "+|OK.|", client: "|",
		result: Accepted, raw: "OK.|", sent: startCram + "|", told: "+|"},
	{name: "challenges without end", mechanism: "CRAM-MD5", backend: strings.Repeat("+ |", maxReplyLines) + "OK.|", client: strings.Repeat("|", maxReplyLines),
		fails: true, sent: startCram + strings.Repeat("|", maxReplyLines), told: strings.Repeat("+ |", maxReplyLines)},
}

func TestExchange(t *testing.T) {
	for _, p := range protocols {
		for _, tt := range exchangeTests {
			if tt.mechanism == "PLAIN" && strings.HasPrefix(tt.backend, "+++") && p.Name() == "imap" {
				tt.backend = "1 " + tt.backend
			}
			t.Run(p.Name()+"/"+tt.name, func(t *testing.T) {
				up, c := peerSends(lines(p, tt.backend)), peerSends(lines(p, tt.client))
				c.failAt = tt.gone
				reply, err := p.Login(NewConn(up), NewConn(c), loginRequest(tt.mechanism))
				if (err != nil) != tt.fails || reply.Result != tt.result || reply.Account != tt.account {
					t.Errorf("got result %d, account %q, error %v", reply.Result, reply.Account, err)
				}
				raw := lines(p, tt.raw)
				if p.Name() == "imap" && strings.HasPrefix(raw, "1 ") {
					raw = "t7" + raw[1:]
				}
				if string(reply.Raw) != raw {
					t.Errorf("the client is to be told %q, want %q", reply.Raw, raw)
				}
				if got := up.out.String(); got != lines(p, tt.sent) {
					t.Errorf("the backend heard %q, want %q", got, lines(p, tt.sent))
				}
				if got := c.out.String(); got != lines(p, tt.told) {
					t.Errorf("the client heard %q, want %q", got, lines(p, tt.told))
				}
			})
		}
	}
}

// TestExchangeBackendGone: a backend that hears nothing any more is an error,
// whichever write it is.
func TestExchangeBackendGone(t *testing.T) {
	for _, p := range protocols {
		for gone, client := range map[int]string{1: "", 2: cramProof, 3: "*|"} {
			up, c := peerSends(lines(p, challenge+challenge)), peerSends(lines(p, cramProof+client))
			up.failAt = gone
			if reply, err := p.Login(NewConn(up), NewConn(c), loginRequest("CRAM-MD5")); err == nil || len(reply.Raw) > 0 {
				t.Errorf("%s, write %d: got %+v, %v", p.Name(), gone, reply, err)
			}
		}
	}
}

// TestExchangeBudget: a client that has used up what it may send is gone.
func TestExchangeBudget(t *testing.T) {
	for _, p := range protocols {
		c := NewConn(peerSends(lines(p, cramProof)))
		c.budget = len(cramProof)
		reply, err := p.Login(NewConn(peerSends(lines(p, challenge))), c, loginRequest("CRAM-MD5"))
		if reply.Result != Unavailable || len(reply.Raw) > 0 || err != nil {
			t.Errorf("%s: got %+v, %v", p.Name(), reply, err)
		}
	}
}

// TestTokenNotShown: a challenge that asks for the token says nothing about it,
// the one behind it does.
func TestTokenNotShown(t *testing.T) {
	for _, p := range protocols {
		for backend, want := range map[string]Result{"+ |ABORT.|": Cancelled, "+ |" + why + "ABORT.|": Denied} {
			client := strings.Repeat("dXNlcj11AQEB|", strings.Count(backend, "+ ")-1) + "*|"
			r := Request{Kind: Login, Tag: "t7", Mechanism: "XOAUTH2"}
			reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), r)
			if reply.Result != want || err != nil {
				t.Errorf("%s, %q: got %+v, %v", p.Name(), backend, reply, err)
			}
		}
	}
}

// TestRefusedInAnExchange: who names an account that is not admitted has shown his
// proof to the gate alone.
func TestRefusedInAnExchange(t *testing.T) {
	for _, p := range protocols {
		for name, want := range map[string]Result{"good": Accepted, "bad": Refused} {
			asked := ""
			challenge := map[string]string{"imap": "+ PDFAYj4=\r\n1 OK in\r\n", "pop3": "+ PDFAYj4=\r\n+OK in\r\n"}[p.Name()]
			up, c := peerSends(challenge), peerSends(b64(name+" proof")+"\r\n")
			r := Request{Kind: Login, Tag: "a", Method: "CRAM-MD5", Mechanism: "CRAM-MD5", Admits: func(account string) bool {
				asked += account
				return account == "good"
			}}
			reply, err := p.Login(NewConn(up), NewConn(c), r)
			if err != nil || reply.Result != want || reply.Account != name || asked != name || (reply.Raw == nil) != (want == Refused) {
				t.Errorf("%s, %s: got %+v, %v after %q", p.Name(), name, reply, err, asked)
			}
			if shown := strings.Contains(up.out.String(), b64(name+" proof")); shown != (want == Accepted) {
				t.Errorf("%s, %s: the backend heard %q", p.Name(), name, up.out.String())
			}
		}
	}
}
