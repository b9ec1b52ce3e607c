package dialogue

import (
	"encoding/base64"
	"strings"
	"testing"
)

// b64 is one line of an exchange.
func b64(message string) string { return base64.StdEncoding.EncodeToString([]byte(message)) }

// loginRequest is a request as ReadRequest makes it, by mechanism.
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

// protocolText replaces, in the texts of an exchange, what differs between the
// protocols.
var protocolText = map[string]*strings.Replacer{
	"imap": strings.NewReplacer("AUTH ", "1 AUTHENTICATE ", "OK.", "1 OK in", "NO.", "1 NO [AUTHENTICATIONFAILED] no", "ABORT.", "1 BAD aborted",
		"BUSY.", "1 NO [UNAVAILABLE] later", "PROXY.", "t7 NO [AUTHENTICATIONFAILED] Authentication failed."),
	"pop3": strings.NewReplacer("OK.", "+OK in", "NO.", "-ERR [AUTH] no", "ABORT.", "-ERR aborted",
		"BUSY.", "-ERR [SYS/TEMP] later", "PROXY.", "-ERR [AUTH] Authentication failed."),
	"sieve": strings.NewReplacer("AUTH ", "AUTHENTICATE ", "OK.", `OK "in"`, "NO.", `NO "no"`, "ABORT.", `NO "aborted"`,
		"BUSY.", `NO (TRYLATER) "later"`, "PROXY.", `NO "Authentication failed."`),
}

// lines makes a protocol's lines from a text in which "|" ends a line.
func lines(p Protocol, text string) string {
	parts := strings.Split(text, "|")
	for i, part := range parts {
		if p.Name() == "sieve" && (part != "" || i < len(parts)-1) {
			parts[i] = strings.Join(quoteSASL(part, i < len(parts)-1), " ")
		}
	}
	return protocolText[p.Name()].Replace(strings.Join(parts, "\r\n"))
}

// quoteSASL makes the strings of ManageSieve from a line of an exchange in POP3, which is
// whole or not. Other lines remain as they are.
func quoteSASL(line string, whole bool) []string {
	command, rest, _ := strings.Cut(line, " ")
	end := ""
	if whole {
		end = `"`
	}
	switch {
	case command == "AUTH":
		mechanism, response, initial := strings.Cut(rest, " ")
		if initial {
			return []string{command, `"` + mechanism + `"`, `"` + response + end}
		}
		return []string{command, `"` + mechanism + end}
	case command == "+":
		return []string{`"` + rest + end}
	case strings.ContainsAny(line, " .") || strings.HasPrefix(line, "++"):
		return []string{line}
	}
	return []string{`"` + line + end}
}

// exchangeTest is one login. The texts are input for lines. raw is the reply to the
// client, without its tag.
type exchangeTest struct {
	name, mechanism string
	backend, client string // what they send
	failAt          int    // the write to the client that fails, from 1; 0 is none
	result          Result
	raw, account    string
	sent, relayed   string // to the backend and to the client during the login
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
	reason      = "+ " + b64(`{"status":"401"}`) + "|"
	cramProof   = b64("user 0123456789abcdef") + "|"
)

var exchangeTests = []exchangeTest{
	{name: "password right", mechanism: "PLAIN", backend: "OK.|", result: Accepted, raw: "OK.|", account: "user", sent: startPlain},
	{name: "password wrong", mechanism: "PLAIN", backend: "NO.|", result: Denied, raw: "NO.|", account: "user", sent: startPlain},
	{name: "backend busy", mechanism: "PLAIN", backend: "BUSY.|", result: Unavailable, raw: "BUSY.|", account: "user", sent: startPlain},
	{name: "backend sends a challenge", mechanism: "PLAIN", backend: "+ |OK.|", fails: true, sent: startPlain},
	{name: "backend closes", mechanism: "PLAIN", fails: true, sent: startPlain},
	{name: "backend closes within a line", mechanism: "PLAIN", backend: "OK.", fails: true, sent: startPlain},
	{name: "backend sends another protocol", mechanism: "PLAIN", backend: "HTTP/1.1 400 Bad Request|", fails: true, sent: startPlain},
	{name: "backend sends an empty line", mechanism: "PLAIN", backend: "|OK.|", fails: true, sent: startPlain},
	{name: "backend never ends a line", mechanism: "PLAIN", backend: strings.Repeat("+", maxReply), fails: true, sent: startPlain},

	// A client that closes is denied only if its credentials were checked before.
	{name: "CRAM-MD5, client closes at the challenge", mechanism: "CRAM-MD5", backend: challenge, result: Unavailable, sent: startCram, relayed: challenge},
	{name: "CRAM-MD5, client closes within its proof", mechanism: "CRAM-MD5", backend: challenge, client: "dXNl",
		result: Unavailable, sent: startCram, relayed: challenge},
	{name: "CRAM-MD5, client closes before the challenge", mechanism: "CRAM-MD5", backend: challenge, failAt: 1, result: Unavailable, sent: startCram},
	{name: "SCRAM, client closes before its proof", mechanism: "SCRAM-SHA-256", backend: scramFirst,
		result: Unavailable, account: "user", sent: startScram, relayed: scramFirst},
	{name: "SCRAM, client closes at the server's proof", mechanism: "SCRAM-SHA-256", backend: scramFirst + scramFinal, client: scramProof,
		result: Unavailable, account: "user", sent: startScram + scramProof, relayed: scramFirst + scramFinal},
	{name: "XOAUTH2, client closes at the reason", mechanism: "XOAUTH2", backend: reason, result: Denied, account: "user", sent: startXOAuth, relayed: reason},
	{name: "XOAUTH2, client closes before the reason", mechanism: "XOAUTH2", backend: reason, failAt: 1, result: Denied, account: "user", sent: startXOAuth},
	{name: "OAUTHBEARER, client closes at the reason", mechanism: "OAUTHBEARER", backend: reason, result: Denied, account: "user", sent: startBearer, relayed: reason},

	// The same if it cancels: the reply does not repeat that the token was wrong.
	{name: "XOAUTH2, cancelled at the reason", mechanism: "XOAUTH2", backend: reason + "ABORT.|", client: "*|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startXOAuth + "*|", relayed: reason},
	{name: "OAUTHBEARER, cancelled at the reason", mechanism: "OAUTHBEARER", backend: reason + "ABORT.|", client: "*|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startBearer + "*|", relayed: reason},
	{name: "XOAUTH2, invalid base64 at the reason", mechanism: "XOAUTH2", backend: reason + "ABORT.|", client: "what?|",
		result: Denied, raw: "ABORT.|", account: "user", sent: startXOAuth + "*|", relayed: reason},
	{name: "XOAUTH2, temporary refusal after the reason", mechanism: "XOAUTH2", backend: reason + "BUSY.|", client: "|",
		result: Denied, raw: "BUSY.|", account: "user", sent: startXOAuth + "|", relayed: reason},
	{name: "XOAUTH2, accepted after the reason", mechanism: "XOAUTH2", backend: reason + "OK.|", client: "|",
		result: Accepted, raw: "OK.|", account: "user", sent: startXOAuth + "|", relayed: reason},
	{name: "XOAUTH2, temporary refusal", mechanism: "XOAUTH2", backend: "BUSY.|", result: Unavailable, raw: "BUSY.|", account: "user", sent: startXOAuth},
	{name: "OAUTHBEARER, wrong token", mechanism: "OAUTHBEARER", backend: reason + "NO.|", client: "AQ==|",
		result: Denied, raw: "NO.|", account: "user", sent: startBearer + "AQ==|", relayed: reason},
	{name: "SCRAM, cancelled", mechanism: "SCRAM-SHA-256", backend: scramFirst + "ABORT.|", client: "*|",
		result: Cancelled, raw: "ABORT.|", account: "user", sent: startScram + "*|", relayed: scramFirst},
	{name: "CRAM-MD5, cancelled", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "*|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", relayed: challenge},
	{name: "CRAM-MD5, cancelled, and refused", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: "*|",
		result: Cancelled, raw: "NO.|", sent: startCram + "*|", relayed: challenge},
	{name: "CRAM-MD5, cancelled, and accepted", mechanism: "CRAM-MD5", backend: challenge + "OK.|", client: "*|",
		result: Accepted, raw: "OK.|", sent: startCram + "*|", relayed: challenge},

	// Invalid base64 never reaches a backend.
	{name: "CRAM-MD5, no padding", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "dXNlcg|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", relayed: challenge},
	{name: "CRAM-MD5, a CR inside", mechanism: "CRAM-MD5", backend: challenge + "ABORT.|", client: "dXNl\rcg==|",
		result: Cancelled, raw: "ABORT.|", sent: startCram + "*|", relayed: challenge},
	{name: "CRAM-MD5, a line too long", mechanism: "CRAM-MD5", backend: challenge, client: strings.Repeat("A", maxSASL-1) + "|",
		result: Unavailable, sent: startCram, relayed: challenge},

	{name: "CRAM-MD5, right", mechanism: "CRAM-MD5", backend: challenge + "OK.|", client: cramProof,
		result: Accepted, raw: "OK.|", account: "user", sent: startCram + cramProof, relayed: challenge},
	{name: "CRAM-MD5, wrong", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: cramProof,
		result: Denied, raw: "NO.|", account: "user", sent: startCram + cramProof, relayed: challenge},
	{name: "CRAM-MD5, no name", mechanism: "CRAM-MD5", backend: challenge + "NO.|", client: "AA==|",
		result: Denied, raw: "NO.|", sent: startCram + "AA==|", relayed: challenge},
	{name: "CRAM-MD5, unfit name", mechanism: "CRAM-MD5", backend: challenge, client: b64("us\x00er 0123") + "|",
		result: Denied, raw: "PROXY.|", account: "us\x00er", sent: startCram, relayed: challenge},
	{name: "CRAM-MD5, backend closes after the proof", mechanism: "CRAM-MD5", backend: challenge, client: cramProof,
		fails: true, sent: startCram + cramProof, relayed: challenge},
	{name: "SCRAM, right", mechanism: "SCRAM-SHA-256", backend: scramFirst + scramFinal + "OK.|", client: scramProof + "|",
		result: Accepted, raw: "OK.|", account: "user", sent: startScram + scramProof + "|", relayed: scramFirst + scramFinal},
	{name: "SCRAM, wrong", mechanism: "SCRAM-SHA-256", backend: scramFirst + "NO.|", client: scramProof,
		result: Denied, raw: "NO.|", account: "user", sent: startScram + scramProof, relayed: scramFirst},
	{name: "a challenge without a space", mechanism: "CRAM-MD5", backend: "+|OK.|", client: "|",
		result: Accepted, raw: "OK.|", sent: startCram + "|", relayed: "+|"},
	{name: "challenges without end", mechanism: "CRAM-MD5", backend: strings.Repeat("+ |", maxReplyLines) + "OK.|", client: strings.Repeat("|", maxReplyLines),
		fails: true, sent: startCram + strings.Repeat("|", maxReplyLines), relayed: strings.Repeat("+ |", maxReplyLines)},
}

func TestExchange(t *testing.T) {
	for _, p := range protocols {
		for _, tt := range exchangeTests {
			if tt.mechanism == "PLAIN" && strings.HasPrefix(tt.backend, "+++") && p.Name() == "imap" {
				tt.backend = "1 " + tt.backend
			}
			t.Run(p.Name()+"/"+tt.name, func(t *testing.T) {
				up, c := peerSends(lines(p, tt.backend)), peerSends(lines(p, tt.client))
				c.failAt = tt.failAt
				reply, err := p.Login(NewConn(up), NewConn(c), loginRequest(tt.mechanism))
				if (err != nil) != tt.fails || reply.Result != tt.result || reply.Account != tt.account {
					t.Errorf("got result %d, account %q, error %v", reply.Result, reply.Account, err)
				}
				raw := lines(p, tt.raw)
				if p.Name() == "imap" && strings.HasPrefix(raw, "1 ") {
					raw = "t7" + raw[1:]
				}
				if string(reply.Raw) != raw {
					t.Errorf("the reply to the client is %q, want %q", reply.Raw, raw)
				}
				if got := up.out.String(); got != lines(p, tt.sent) {
					t.Errorf("the backend got %q, want %q", got, lines(p, tt.sent))
				}
				if got := c.out.String(); got != lines(p, tt.relayed) {
					t.Errorf("the client got %q, want %q", got, lines(p, tt.relayed))
				}
			})
		}
	}
}

// TestExchangeBackendCloses: every failed write to the backend is an error.
func TestExchangeBackendCloses(t *testing.T) {
	for _, p := range protocols {
		for failAt, client := range map[int]string{1: "", 2: cramProof, 3: "*|"} {
			up, c := peerSends(lines(p, challenge+challenge)), peerSends(lines(p, cramProof+client))
			up.failAt = failAt
			if reply, err := p.Login(NewConn(up), NewConn(c), loginRequest("CRAM-MD5")); err == nil || len(reply.Raw) > 0 {
				t.Errorf("%s, write %d: got %+v, %v", p.Name(), failAt, reply, err)
			}
		}
	}
}

// TestExchangeBudget: a client that has used up its budget ends the exchange.
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

// TestFirstOAuthChallenge: the challenge before the token is no result, the one
// after it means that the token is wrong.
func TestFirstOAuthChallenge(t *testing.T) {
	for _, p := range protocols {
		for backend, want := range map[string]Result{"+ |ABORT.|": Cancelled, "+ |" + reason + "ABORT.|": Denied} {
			client := strings.Repeat("dXNlcj11AQEB|", strings.Count(backend, "+ ")-1) + "*|"
			r := Request{Kind: Login, Tag: "t7", Mechanism: "XOAUTH2"}
			reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), r)
			if reply.Result != want || err != nil {
				t.Errorf("%s, %q: got %+v, %v", p.Name(), backend, reply, err)
			}
		}
	}
}

// TestRefusedInAnExchange: the backend does not get the proof for an account that
// is not admitted.
func TestRefusedInAnExchange(t *testing.T) {
	for _, p := range protocols {
		for name, want := range map[string]Result{"good": Accepted, "bad": Refused} {
			named := ""
			up, c := peerSends(lines(p, "+ PDFAYj4=|OK.|")), peerSends(lines(p, b64(name+" proof")+"|"))
			r := Request{Kind: Login, Tag: "a", Method: "CRAM-MD5", Mechanism: "CRAM-MD5", Admits: func(account string) bool {
				named += account
				return account == "good"
			}}
			reply, err := p.Login(NewConn(up), NewConn(c), r)
			if err != nil || reply.Result != want || reply.Account != name || named != name || (reply.Raw == nil) != (want == Refused) {
				t.Errorf("%s, %s: got %+v, %v after %q", p.Name(), name, reply, err, named)
			}
			if shown := strings.Contains(up.out.String(), b64(name+" proof")); shown != (want == Accepted) {
				t.Errorf("%s, %s: the backend got %q", p.Name(), name, up.out.String())
			}
		}
	}
}

// TestTokenRejected: after the backend has rejected a token, the attempt is denied
// even if the backend closes.
func TestTokenRejected(t *testing.T) {
	for _, p := range protocols {
		for _, backend := range []string{reason, reason + "* BYE idle|"} {
			for _, client := range []string{"|", "*|"} {
				reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), loginRequest("XOAUTH2"))
				if err != nil || reply.Result != Denied {
					t.Errorf("%s %q: %+v, %v", p.Name(), backend, reply, err)
				}
			}
		}
	}
}

// TestSCRAMError: a server may reject a SCRAM proof by e= in a challenge (RFC 5802
// section 7). A client that cancels then is denied.
func TestSCRAMError(t *testing.T) {
	backend := scramFirst + "+ " + b64("e=invalid-proof") + "|ABORT.|"
	for _, p := range protocols {
		for _, client := range []string{scramProof + "*|", scramProof} {
			reply, err := p.Login(NewConn(peerSends(lines(p, backend))), NewConn(peerSends(lines(p, client))), loginRequest("SCRAM-SHA-256"))
			if err != nil || reply.Result != Denied {
				t.Errorf("%s: %+v, %v", p.Name(), reply, err)
			}
		}
	}
}
