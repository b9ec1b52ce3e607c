package eventlog

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy"
)

var testClient = netip.MustParseAddrPort("192.0.2.7:50001")

func testAttempt(account string) proxy.Attempt {
	return proxy.Attempt{
		Session: "s1", Listener: "imaps", Protocol: "imap", Client: testClient, Account: account, Method: "PLAIN",
		Backend: "imap.example:1143", Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleSource, Wait: 2 * time.Second},
		Outcome: limiter.Denied, Waited: 2 * time.Second, Took: 2345 * time.Millisecond,
	}
}

func testRecord(account string) proxy.Record {
	return proxy.Record{
		ID: "s1", Listener: "imaps", Protocol: "imap", Client: testClient, Local: netip.MustParseAddrPort("[2001:db8::1]:993"),
		Duration: time.Minute, Handshake: proxy.HandshakeDone, TLS: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256",
		Verdict: limiter.Verdict{Rule: limiter.RuleNone}, Account: account, Backend: "imap.example:1143",
		Step: proxy.StepRelay, End: proxy.EndClient, FromClient: 100, ToClient: 2000,
	}
}

// hostile is what an attacker would send as an account to forge log lines.
var hostile = map[string]string{
	"a new line":        "anna\nlevel=INFO event=login rip=198.51.100.9 result=accepted",
	"CR LF":             "anna\r\n{\"event\":\"login\",\"rip\":\"198.51.100.9\"}",
	"a closing quote":   `anna" rip=198.51.100.9 x="`,
	"a closing brace":   `anna","rip":"198.51.100.9"}`,
	"a field":           "rip=198.51.100.9",
	"escape sequences":  "\x1b[2K\x1b[1Aall is well",
	"invalid UTF-8":     "\xff\xc0\x80\xed\xa0\x80",
	"line separators":   "a\u0085b\u2028c\u2029d",
	"right to left":     "\u202emoc.elpmaxe",
	"NUL":               "anna\x00admin",
	"backslashes":       `\\\x22\n`,
	"ten thousand":      strings.Repeat("A", 10_000),
	"ten thousand ends": strings.Repeat("\n", 10_000),
}

// TestLogCannotBeForged puts every hostile text into every field that a client or
// backend can fill, in both formats, and parses the lines.
func TestLogCannotBeForged(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		for name, text := range hostile {
			t.Run(format+"/"+name, func(t *testing.T) {
				var out bytes.Buffer
				l := New(&out, format, slog.LevelInfo)
				a, r := testAttempt(text), testRecord(text)
				a.Method, a.Err, r.Err = text, errors.New(text), errors.New(text)
				a.ForwarderSession, r.ForwarderSession = text, text
				l.Attempt(a)
				l.Record(r)
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				if len(lines) != 2 {
					t.Fatalf("got %d lines:\n%s", len(lines), &out)
				}
				checkLine(t, format, lines[0], attemptAttrs(testAttempt("x"), ""))
				checkLine(t, format, lines[1], recordAttrs(testRecord("x"), ""))
			})
		}
	}
}

// checkLine fails the test unless line has the fields of an honest one and
// nothing but printable ASCII.
func checkLine(t *testing.T, format string, line string, honest []slog.Attr) {
	t.Helper()
	for _, c := range []byte(line) {
		if c < 0x20 || c > 0x7e {
			t.Errorf("%q in %s", c, line)
		}
	}
	if strings.Count(line, "198.51.100.9") > 0 && (strings.Contains(line, "rip=198") || strings.Contains(line, `rip":"198`)) {
		t.Errorf("a forged address: %s", line)
	}
	keys, fields, err := testbed.ParseLine(format, line)
	if err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	want := []string{"ts", "level", "msg"}
	for _, a := range honest {
		want = append(want, a.Key)
	}
	if !slices.Equal(keys, want) {
		t.Errorf("got keys %q, want %q", keys, want)
	}
	if fields["rip"] != "192.0.2.7" || fields["rport"] != "50001" {
		t.Errorf("from %s:%s in %s", fields["rip"], fields["rport"], line)
	}
	if len(fields["account"]) > NameMax || len(fields["error"]) > ErrorMax {
		t.Errorf("%d octets of account, %d of error", len(fields["account"]), len(fields["error"]))
	}
}

func TestLogFields(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, "json", slog.LevelInfo)
	l.Attempt(testAttempt("anna"))
	l.Record(testRecord("anna"))
	for i, want := range []map[string]string{
		{
			"event": "login", "listener": "imaps", "backend": "imap.example:1143", "action": "tarpit", "rule": "source", "result": "denied",
			"dur_ms": "2345", "wait_ms": "2000", "session": "s1", "method": "PLAIN", "account": "anna", "msg": "login denied", "level": "INFO",
		},
		{
			"event": "connection", "listener": "imaps", "action": "pass", "rule": "none", "result": "client", "dur_ms": "60000",
			"bytes_in": "100", "bytes_out": "2000", "session": "s1", "lip": "2001:db8::1", "lport": "993", "step": "relay",
			"tls": "TLS 1.3", "account": "anna", "attempts": "0", "error": "",
		},
	} {
		_, fields, err := testbed.ParseLine("json", strings.Split(out.String(), "\n")[i])
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if fields[key] != value {
				t.Errorf("%s: got %q, want %q", key, fields[key], value)
			}
		}
	}
}

func TestLogLevels(t *testing.T) {
	broken := errors.New("backend gone")
	for name, tt := range map[string]struct {
		got, want slog.Level
	}{
		"denied":                    {attemptLevel(proxy.Attempt{Outcome: limiter.Denied}), slog.LevelInfo},
		"refused":                   {attemptLevel(proxy.Attempt{Outcome: limiter.Void, Verdict: limiter.Verdict{Action: limiter.Refuse}, Err: broken}), slog.LevelInfo},
		"abandoned":                 {attemptLevel(proxy.Attempt{Outcome: limiter.Void, Abandoned: true, Err: broken}), slog.LevelInfo},
		"backend at login":          {attemptLevel(proxy.Attempt{Outcome: limiter.Void, Err: broken}), slog.LevelWarn},
		"no backend":                {attemptLevel(proxy.Attempt{Outcome: limiter.Void, Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RuleBackend}, Err: broken}), slog.LevelWarn},
		"known, no capacity":        {attemptLevel(proxy.Attempt{Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleGlobal, Known: true}}), slog.LevelWarn},
		"known, pair rule":          {attemptLevel(proxy.Attempt{Verdict: limiter.Verdict{Action: limiter.Refuse, Rule: limiter.RulePair, Known: true}}), slog.LevelInfo},
		"stranger, no capacity":     {attemptLevel(proxy.Attempt{Verdict: limiter.Verdict{Action: limiter.Wait, Rule: limiter.RuleGlobal}}), slog.LevelInfo},
		"client left while delayed": {attemptLevel(proxy.Attempt{Outcome: limiter.Void, Gone: true, Err: broken}), slog.LevelInfo},
		"client left":               {recordLevel(proxy.Record{End: proxy.EndClient}), slog.LevelInfo},
		"backend closed":            {recordLevel(proxy.Record{End: proxy.EndBackend}), slog.LevelInfo},
		"backend failed":            {recordLevel(proxy.Record{End: proxy.EndBackend, Err: broken}), slog.LevelWarn},
		"health check":              {recordLevel(proxy.Record{End: proxy.EndProbe}), slog.LevelDebug},
		"panic":                     {recordLevel(proxy.Record{End: proxy.EndPanic}), slog.LevelError},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
}

// TestLogHasTheStackOfAPanic on one line.
func TestLogHasTheStackOfAPanic(t *testing.T) {
	var out bytes.Buffer
	r := testRecord("anna")
	r.End, r.Err = proxy.EndPanic, errors.New("panic: nil\n"+strings.Repeat("frame\n", 500))
	New(&out, "text", slog.LevelInfo).Record(r)
	_, fields, err := testbed.ParseLine("text", strings.TrimSuffix(out.String(), "\n"))
	if err != nil || len(fields["error"]) < 1000 || fields["level"] != "ERROR" {
		t.Errorf("got %v, %v", fields, err)
	}
}

// TestReferenceHasEveryField that lines about clients have, and no other.
func TestReferenceHasEveryField(t *testing.T) {
	want := map[string]string{"ts": "all", "level": "all", "msg": "all"}
	for _, attrs := range [][]slog.Attr{leftOut{}.attrs(), recordAttrs(testRecord(""), ""), attemptAttrs(testAttempt(""), "")} {
		lines := attrs[0].Value.String()
		for _, a := range attrs {
			switch {
			case a.Key == "event":
				want[a.Key] = "all"
			case want[a.Key] == "":
				want[a.Key] = lines
			default:
				want[a.Key] = lines + ", " + want[a.Key]
			}
		}
	}
	got := map[string]string{}
	for _, f := range Fields() {
		got[f.Name] = f.Lines
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
