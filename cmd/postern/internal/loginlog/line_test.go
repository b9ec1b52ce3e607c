package loginlog

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// oslo is the zone of times without one in these tests.
var oslo = time.FixedZone("CET", 3600)

// now is when the logs of these tests are read.
var now = time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)

// newParser returns a parser of a file that ends now.
func newParser() *parser {
	return &parser{clock: clock{location: oslo, reference: now}, latest: now.Add(clockTolerance)}
}

// The parts of lines that are about the login of these tests.
const (
	loginFields  = "user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, mpid=4711, TLS, session=<qdcdmUJhBrl/AAAB>"
	deniedFields = "user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, TLS, session=<qdcdmUJhBrl/AAAB>"
	loginMessage = "imap-login: Login: " + loginFields
)

// noon is the time of the login of these tests.
var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, oslo)

// anna returns her login with an outcome.
func anna(o Outcome, attempts int) Event {
	return Event{At: noon, Addr: netip.MustParseAddr("192.0.2.7"), Account: "anna@example.org", Outcome: o, Attempts: attempts}
}

// TestForms reads the same login in every form of a log.
func TestForms(t *testing.T) {
	for name, line := range map[string]string{
		"syslog":                    "Nov 27 12:00:00 mail dovecot: " + loginMessage,
		"syslog with process":       "Nov 27 12:00:00 mail dovecot[123]: " + loginMessage,
		"syslog with priority":      "<22>Nov 27 12:00:00 mail dovecot: " + loginMessage,
		"syslog without host":       "Nov 27 12:00:00 dovecot: " + loginMessage,
		"syslog, ISO":               "2026-11-27T12:00:00.000000+01:00 mail dovecot: " + loginMessage,
		"syslog, UTC":               "2026-11-27T11:00:00Z mail dovecot: " + loginMessage,
		"syslog, RFC 5424":          "<22>1 2026-11-27T12:00:00.000+01:00 mail dovecot 123 - - " + loginMessage,
		"syslog, RFC 5424 with BOM": "<22>1 2026-11-27T12:00:00.000+01:00 mail dovecot 123 - - \xef\xbb\xbf" + loginMessage,
		"structured data":           `<22>1 2026-11-27T12:00:00+01:00 mail dovecot 123 - [a b="]\" "][c d="e"] ` + loginMessage,
		"journalctl -o short-iso":   "2026-11-27T12:00:00+0100 mail dovecot[123]: " + loginMessage,
		"Dovecot's file":            "Nov 27 12:00:00 imap-login: Info: Login: " + loginFields,
		"Dovecot's file, ISO":       "2026-11-27 12:00:00 imap-login: Info: Login: " + loginFields,
		"POP3":                      "Nov 27 12:00:00 pop3-login: Info: Login: " + loginFields,
		"journalctl -o json":        `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795777200000000","PRIORITY":"6","_UID":"0","X":[1,{"a":"]}"},null],"SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"` + loginMessage + `"}`,
		"2.4":                       "Nov 27 12:00:00 mail dovecot: imap-login: Logged in: " + loginFields,
		"IPv4 mapped":               "Nov 27 12:00:00 mail dovecot: " + strings.Replace(loginMessage, "rip=192", "rip=::ffff:192", 1),
		"TLS error with a comma":    "Nov 27 12:00:00 mail dovecot: " + strings.Replace(loginMessage, "TLS", "TLS: SSL_read() failed: a, b", 1),
		"other elements":            "Nov 27 12:00:00 mail dovecot: imap-login: Login: user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, lport=143, secured",
		"proxy, 2.2":                "Nov 27 12:00:00 mail dovecot: imap-login: proxy(anna@example.org): started proxying to 10.0.0.1:143: " + deniedFields,
		"proxy, other user":         "Nov 27 12:00:00 mail dovecot: imap-login: proxy(anna@example.org): started proxying to 10.0.0.1:143/a (master m): " + deniedFields,
		"proxy, 2.3 and 2.4":        "Nov 27 12:00:00 mail dovecot: imap-login: proxy(anna@example.org,10.0.0.1:143): Started proxying to <10.0.0.1> (<be1>) (0.012 secs): " + deniedFields,
		"proxy, IPv6":               "Nov 27 12:00:00 imap-login: Info: proxy(anna@example.org,[fd00::1]:143): Started proxying to <fd00::1>: " + deniedFields,
	} {
		var e Event
		if m := newParser().line([]byte(line), &e); m != login || !e.At.Equal(noon) {
			t.Errorf("%s: got %d at %v, want a login at %v", name, m, e.At, noon)
		}
		if e.At = noon; e != anna(Accepted, 1) {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

// TestPosternLog reads postern's own log, by itself and as syslog and journald have it.
func TestPosternLog(t *testing.T) {
	const asJSON = `{"ts":"2026-11-27T12:00:00+01:00","level":"INFO","msg":"login","event":"login","listener":"imaps","rip":"192.0.2.7","rport":5,"backend":"10.0.0.1:143","action":"%s","rule":"none","result":"%s","client":"%s","why":"","enforced":true,"dur_ms":1,"wait_ms":0,"session":"s","method":"LOGIN","error":"","account":"%s"}`
	const asText = `ts=2026-11-27T12:00:00+01:00 level=INFO msg="login" event=login listener=imaps rip=192.0.2.7 rport=5 backend=10.0.0.1:143 action=%s rule=none result=%s client=%s why="a \"b\"" enforced=true dur_ms=1 error="" account=%s`
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for _, tc := range []struct {
		action, result, client, account string
		want                            meaning
		outcome                         Outcome
		name                            string
	}{
		{"pass", "accepted", "known", "anna@example.org", login, Accepted, "anna@example.org"},
		{"pass", "denied", "stranger", "anna@example.org", login, Denied, "anna@example.org"},
		{"pass", "abandoned", "stranger", "a", login, Denied, "a"},
		{"repeat", "repeat", "known", "a", login, Repeat, "a"},
		{"reject", "refused", "stranger", "a", login, Rejected, "a"},
		{"shed", "refused", "stranger", "a", login, Shed, "a"},
		{"pass", "void", "stranger", "a", other, 0, ""},
		{"pass", "accepted", "known", `a\x3db`, login, Accepted, "a=b"},
		{"pass", "accepted", "known", `bj\xc3\xb8rn`, login, Accepted, "bjørn"},
		{"pass", "accepted", "known", `cut...`, login, Accepted, ""},
		{"pass", "accepted", "known", `a\x3`, obscure, 0, ""},
		{"pass", "accepted", "known", `a\n`, obscure, 0, ""},
		{"pass", "unheard", "known", `a`, obscure, 0, ""},
	} {
		inJSON := fmt.Sprintf(asJSON, tc.action, tc.result, tc.client, strings.ReplaceAll(tc.account, `\`, `\\`))
		for _, line := range []string{
			inJSON,
			fmt.Sprintf(asText, tc.action, tc.result, tc.client, tc.account),
			"Nov 27 12:00:00 gw postern[5]: " + inJSON,
			"2026-11-27T12:00:00+01:00 gw postern[5]: " + fmt.Sprintf(asText, tc.action, tc.result, tc.client, tc.account),
			`{"__REALTIME_TIMESTAMP":"1795777200000001","SYSLOG_IDENTIFIER":"postern","MESSAGE":"` + escape.Replace(inJSON) + `"}`,
		} {
			var e Event
			m := newParser().line([]byte(line), &e)
			if m != tc.want {
				t.Errorf("%s: got %d, want %d", line, m, tc.want)
			}
			if m == login && (e.Outcome != tc.outcome || e.Account != tc.name || e.Known != (tc.client == "known") || !e.At.Equal(noon)) {
				t.Errorf("%s: got %+v", line, e)
			}
		}
	}
}

// TestReasons reads the messages about connections that ended before login.
func TestReasons(t *testing.T) {
	for _, tc := range []struct {
		head string
		want meaning
		e    Event
	}{
		{"Aborted login (auth failed, 1 attempts in 2 secs)", login, anna(Denied, 1)},
		{"Disconnected (auth failed, 3 attempts in 19 secs)", login, anna(Denied, 3)},
		{"Disconnected: Connection closed (auth failed, 1 attempts in 1 secs)", login, anna(Denied, 1)},
		{"Disconnected: Aborted login by logging out (auth failed, 2 attempts in 1 secs)", login, anna(Denied, 2)},
		{"Disconnected: Inactivity (auth failed, 1 attempts in 180 secs)", login, anna(Denied, 1)},
		{"Disconnected: Connection closed: read(size=1026) failed: Connection reset by peer (auth failed, 1 attempts in 1 secs)", login, anna(Denied, 1)},
		{"Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed)", login, anna(Denied, 1)},
		{"Login aborted: Logged out (auth failed, 4000000000 attempts in 2 secs) (auth_failed)", login, anna(Denied, 1)},
		{"Login aborted: Logged out (auth failed, 400 attempts in 2 secs) (auth_failed)", login, anna(Denied, attemptsMost)},
		{"Disconnected (authorization failed, 1 attempts in 2 secs)", login, anna(Denied, 1)},
		{"Disconnected (user disabled)", login, anna(Denied, 1)},
		{"Disconnected (password expired)", login, anna(Denied, 1)},
		{"Aborted login (proxy dest auth failed)", login, anna(Denied, 1)},
		{"Login aborted: Connection closed (auth service reported temporary failure)", login, anna(Fault, 1)},
		{"Disconnected (internal failure, 1 successful auths)", login, anna(Fault, 1)},
		{"Disconnected (no auth attempts in 0 secs)", other, Event{}},
		{"Disconnected (client didn't finish SASL auth, waited 3 secs)", other, Event{}},
		{"Aborted login (tried to use disallowed plaintext auth)", other, Event{}},
		{"Login failed (auth failed, 1 attempts in 1 secs)", other, Event{}},
	} {
		for _, service := range []string{"imap-login", "pop3-login"} {
			var e Event
			if m := newParser().line([]byte("Nov 27 12:00:00 mail dovecot: "+service+": "+tc.head+": "+deniedFields), &e); m != tc.want || m == login && e != tc.e {
				t.Errorf("%s: got %d, %+v, want %d", tc.head, m, e, tc.want)
			}
		}
	}
}

// TestOthersAreIgnored: lines of other programs are no logins, whatever they quote, and what is no line of a log is not
// understood.
func TestOthersAreIgnored(t *testing.T) {
	for line, want := range map[string]meaning{
		"": other,
		"Nov 27 12:00:00 mail postfix/smtpd[1]: warning: dovecot: " + loginMessage:                                  other,
		"Nov 27 12:00:00 mail sshd[1]: " + loginMessage:                                                             other,
		"Nov 27 12:00:00 mail dovecot: auth: passwd-file(x,192.0.2.7): " + loginMessage:                             other,
		"Nov 27 12:00:00 mail dovecot: imap(x)<1><s>: " + loginMessage:                                              other,
		"Nov 27 12:00:00 mail dovecot: managesieve-login: Login: " + loginFields:                                    other,
		"Nov 27 12:00:00 imap-login: Error: Login: " + loginFields:                                                  other,
		"Nov 27 12:00:00 auth: Info: imap-login: Login: " + loginFields:                                             other,
		"Nov 27 12:00:00 mail dovecot: imap-login: Error: " + loginMessage:                                          other,
		"<22>1 2026-11-27T12:00:00Z mail sshd 123 - - " + loginMessage:                                              other,
		`{"__REALTIME_TIMESTAMP":"1795777200000000","SYSLOG_IDENTIFIER":"x","MESSAGE":"` + loginMessage + `"}`:      other,
		`{"ts":"2026-11-27T12:00:00+01:00","event":"connection","rip":"192.0.2.7","result":"closed","account":"a"}`: other,
		loginMessage:   obscure,
		"\x00\x01\xff": obscure,
		"Nov 27 25:00:00 mail dovecot: " + loginMessage:                                    obscure,
		"Nov 32 12:00:00 mail dovecot: " + loginMessage:                                    obscure,
		"ovN 27 12:00:00 mail dovecot: " + loginMessage:                                    obscure,
		"2026-13-27T12:00:00Z mail dovecot: " + loginMessage:                               obscure,
		"2026-11-27T20:00:00Z mail dovecot: " + loginMessage:                               obscure, // of the future
		"<22>1 2026-11-27T12:00:00Z mail dovecot 123 - [a=\"b " + loginMessage:             obscure,
		`{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"a"`:          obscure,
		`{"ts":"2026-11-27T12:00:00+01:00","event":"login","rip":"x","result":"accepted"}`: obscure,
	} {
		var e Event
		if m := newParser().line([]byte(line), &e); m != want {
			t.Errorf("%q: got %d, want %d (%+v)", line, m, want, e)
		}
	}
}

// TestForgedNames: what a client puts into its name never becomes another field, verb or line.
func TestForgedNames(t *testing.T) {
	const tail = ", method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, mpid=1, TLS, session=<s>"
	for name, want := range map[string]string{ // the account, * for a line that must not be understood
		"anna":                                    "anna",
		"anna jensen":                             "anna jensen",
		"x>, rip=203.0.113.9, lip=1.1.1.1, a=<b":  "*",
		"x>, rip=203.0.113.9, session=<b":         "*",
		"x, rip=203.0.113.9":                      "*",
		"x>, rip=203.0.113.9":                     "*",
		"x>, method=PLAIN":                        "*",
		"x> imap-login: Login: user=<victim":      "*",
		"x>: user=<victim":                        "*",
		"x): started proxying to h: user=<victim": "*",
		"<victim":                                 "*",
		"a<b":                                     "*",
		"a>b":                                     "*",
		"a\x1bb":                                  "*",
		"a?b":                                     "", // a control character, or a question mark
		strings.Repeat("a", 79):                   strings.Repeat("a", 79),
		strings.Repeat("a", 80):                   "",
		strings.Repeat("a", 77) + "...":           "",
		"a\xff":                                   "",
		"a\ufffd":                                 "",
		"":                                        "",
		"a=b":                                     "a=b",
		"a#012b":                                  "a#012b",
	} {
		for _, head := range []string{
			"Login: ", "Logged in: ", "Disconnected (auth failed, 1 attempts in 2 secs): ", "proxy(" + name + "): started proxying to 10.0.0.1:143: ",
			"proxy(" + name + ",10.0.0.1:143): Started proxying to <10.0.0.1>: ",
		} {
			line := "Nov 27 12:00:00 mail dovecot: imap-login: " + head + "user=<" + name + ">" + tail
			var e Event
			m := newParser().line([]byte(line), &e)
			switch {
			case want == "*" && m == login:
				t.Errorf("%q: got %+v, want it not understood", line, e)
			case want != "*" && (m != login || e.Account != want || e.Addr.String() != "192.0.2.7"):
				t.Errorf("%q: got %d, %+v, want %q from 192.0.2.7", line, m, e, want)
			}
		}
	}
	for _, fields := range []string{ // without or with several of what must be there once
		"user=<a>", "user=<a>, method=PLAIN, lip=1.1.1.1", "user=<a>, rip=, lip=1.1.1.1", "user=<a>, rip=host", "user=<a>, rip=1.1.1.1 rip=2.2.2.2",
		"user=<a>, rip=1.1.1.1, rip=1.1.1.1", "user=<a>, rip=1.1.1.1, user=<b>", "user=<a> rip=1.1.1.1", "rip=1.1.1.1, user=<a>", "user=<a, rip=1.1.1.1",
		"user=<a>, rip=0.0.0.0", "user=<a>, rip=fe80::1%eth0", "user=<a>, rip=1.1.1.1, session=<a>, session=<b>", "user=<a>, rip=1.1.1.1, a xrip=3.3.3.3",
		"user=<a>, rip=1.1.1.1\x00",
	} {
		var e Event
		if m := newParser().line([]byte("Nov 27 12:00:00 mail dovecot: imap-login: Login: "+fields), &e); m == login {
			t.Errorf("%s: got %+v", fields, e)
		}
	}
	for _, line := range []string{
		`{"__REALTIME_TIMESTAMP":"1795777200000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"a","MESSAGE":"` + loginMessage + `"}`,
		`{"__REALTIME_TIMESTAMP":"1795777200000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"` + loginMessage + `\u000a"}`,
		`{"__REALTIME_TIMESTAMP":"1795777200000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"` + loginMessage + `"} x`,
		`{"__REALTIME_TIMESTAMP":"1795777200000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"` + loginMessage + `","event":"login"}`,
		`{"ts":"2026-11-27T12:00:00+01:00","event":"login","rip":"1.1.1.1","result":"accepted","account":"a","rip":"2.2.2.2"}`,
		`ts=2026-11-27T12:00:00+01:00 event=login rip=1.1.1.1 result=accepted client=known account=a rip=2.2.2.2`,
		`ts=2026-11-27T12:00:00+01:00 event=login rip=1.1.1.1 result=accepted client=known account="a`,
		`ts=2026-11-27T12:00:00+01:00 event=login rip=1.1.1.1 result=accepted client=known account="a"b`,
		"proxy(b): started proxying to 10.0.0.1:143: user=<a>, rip=1.1.1.1",
	} {
		var e Event
		if m := newParser().line([]byte(line), &e); m == login {
			t.Errorf("%s: got %+v", line, e)
		}
	}
}

// FuzzName: the event of a line that Dovecot logs about a client is right, or the line is not understood, whatever the name.
func FuzzName(f *testing.F) {
	for _, name := range []string{"anna", "x>, rip=203.0.113.9, session=<a", "x> imap-login: Login: user=<v>, rip=1.1.1.1", "a...", "æøå", "a\nb"} {
		f.Add(name, 0)
		f.Add(name, 3)
	}
	heads := []string{"Login: ", "Logged in: ", "Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): ", "proxy(%s): started proxying to h:143: "}
	f.Fuzz(func(t *testing.T, name string, head int) {
		head &= 3
		logged := sanitized(name)
		text := heads[head]
		if head == 3 {
			text = fmt.Sprintf(text, strings.Map(printable, name))
		}
		var e Event
		line := "Nov 27 12:00:00 mail dovecot: imap-login: " + text + "user=<" + logged + ">, method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, session=<s>"
		if newParser().line([]byte(line), &e) != login {
			return
		}
		outcome := Accepted
		if head == 2 {
			outcome = Denied
		}
		if e.Addr.String() != "192.0.2.7" || e.Outcome != outcome || !e.At.Equal(noon) || e.Account != "" && e.Account != name {
			t.Errorf("%q: got %+v", line, e)
		}
	})
}

// printable is r as Dovecot logs it.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// sanitized returns a name as Dovecot logs it: without control characters, cut to nameMax octets.
func sanitized(name string) string {
	name = strings.Map(printable, name)
	if len(name) > nameMax {
		name = name[:nameMax-3] + "..."
	}
	return name
}

// FuzzLine: no line makes the parser fail, and a login has all that must be in one.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		"Nov 27 12:00:00 mail dovecot: " + loginMessage, "<22>1 2026-11-27T12:00:00Z mail dovecot 1 - [a b=\"c\"] " + loginMessage,
		"2026-11-27 12:00:00,5 imap-login: Info: Login: " + loginFields, "__CURSOR=a\n__REALTIME_TIMESTAMP=1\nMESSAGE\n\x01\x00\x00\x00\x00\x00\x00\x00a\n\n",
		`{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"postern","MESSAGE":"{\"ts\":\"2026-11-27T12:00:00Z\",\"event\":\"login\"}"}`,
		`ts=2026-11-27T12:00:00Z event=login rip=1.1.1.1 result=accepted account="a\x3d"`,
		"Nov 27 12:00:00 mail dovecot: imap-login: proxy(a): started proxying to b: user=<a>, rip=::1",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &Reader{options: Options{Stdin: strings.NewReader(string(text)), Location: oslo, Now: now}}
		if r.enqueue(Stdin) != nil {
			return
		}
		defer r.Close()
		for {
			e, err := r.Next()
			if err != nil {
				break
			}
			if !e.Addr.IsValid() || e.At.IsZero() || e.At.After(now.Add(clockTolerance)) || e.Attempts < 1 || e.Attempts > attemptsMost {
				t.Errorf("%q: got %+v", text, e)
			}
		}
		if s := r.Stats(); s.Logins+s.Obscure > s.Lines+1 || len(s.Examples) > examplesMost {
			t.Errorf("%q: got %+v", text, s)
		}
	})
}
