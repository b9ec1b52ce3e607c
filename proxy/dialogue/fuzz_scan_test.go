package dialogue

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
)

// quote writes a value as a quoted string.
func quote(value []byte) []byte {
	escaped := bytes.ReplaceAll(bytes.ReplaceAll(value, []byte(`\`), []byte(`\\`)), []byte(`"`), []byte(`\"`))
	return fmt.Appendf(nil, `"%s"`, escaped)
}

// FuzzScan parses lines: the parts must make the same line again.
func FuzzScan(f *testing.F) {
	for _, s := range seeds(f, "imap") {
		for line := range strings.SplitSeq(s.client, "\r\n") {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if tag, rest, err := scanTag(line); err == nil && (tag+" "+string(rest) != string(line) || !legalTag(tag)) {
			t.Errorf("tag %q, rest %q", tag, rest)
		}
		if name, args, err := scanAtom(line); err == nil {
			name2, args2, err := scanAtom([]byte(name + " " + string(args)))
			if name2 != name || !bytes.Equal(args2, args) || err != nil {
				t.Errorf("atom %q, arguments %q; again %q, %q, %v", name, args, name2, args2, err)
			}
		}
		scanQuotedTwice(t, line)
		scanLiteralTwice(t, line)
	})
}

// scanQuotedTwice quotes a value and scans it, and quotes again what was scanned.
func scanQuotedTwice(t *testing.T, line []byte) {
	t.Helper()
	value, rest, err := scanQuoted(append(quote(line), " x"...))
	if carried := !bytes.ContainsAny(line, "\x00\r\n"); carried != (err == nil && bytes.Equal(value, line) && string(rest) == " x") && !bytes.Contains(line, []byte("\n")) {
		t.Errorf("%q in quotes: got %q, %q, %v", line, value, rest, err)
	}
	quoted := append([]byte{'"'}, line...)
	if value, rest, err = scanQuoted(quoted); err == nil {
		value2, rest2, err := scanQuoted(append(quote(value), rest...))
		if !bytes.Equal(value2, value) || !bytes.Equal(rest2, rest) || err != nil {
			t.Errorf("%q: got %q, %q; again %q, %q, %v", quoted, value, rest, value2, rest2, err)
		}
	}
}

// scanLiteralTwice finds the same announcement at the end of another line, and
// scans what it means again.
func scanLiteralTwice(t *testing.T, line []byte) {
	t.Helper()
	l, err := scanLiteral(line)
	found, ok := trailingLiteral(append([]byte("a1 {5} "), line...))
	if err == nil && (!ok || found != l) {
		t.Errorf("%q: got %+v, at the end of a line %+v", line, l, found)
	}
	if err != nil {
		return
	}
	again := fmt.Sprintf("{%d}", l.size)
	if !l.sync {
		again = fmt.Sprintf("{%d+}", l.size)
	}
	if l2, err := scanLiteral([]byte(again)); l2 != l || err != nil || l.size < 0 || l.size > maxLiteralSize {
		t.Errorf("%q: got %+v; again %+v, %v", line, l, l2, err)
	}
}

// FuzzSASL sends a message in every mechanism. It must be replayed unchanged.
func FuzzSASL(f *testing.F) {
	for _, message := range []string{
		"\x00user\x00pass", "boss\x00user\x00pass", "\x00us\r\ner\x00pass", "\x00user", "user\x00pass\x00\x00", "",
		"user=u@x\x01auth=Bearer t\x01\x01", "n,a=u@x,\x01auth=Bearer t\x01\x01", "n,a=b,n=u=2C=3D,r=nonce", "p=x,,n=u,r=nonce",
		"user 0123456789abcdef", "AHVzZXIAcGFzcw==", "AB==", "=", "*", "=2C=3D=", "\xff\xfe",
	} {
		f.Add([]byte(message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		message = message[:min(len(message), 1000)] // longer messages are slow and find nothing new
		if decoded, err := decodeBase64(message); err == nil && base64.StdEncoding.EncodeToString(decoded) != string(message) {
			t.Errorf("%q is base64 of %q", message, []byte(decoded))
		}
		if back, err := decodeBase64([]byte(b64(string(message)))); err != nil || !bytes.Equal(back, message) {
			t.Errorf("%q decodes to %q, %v", message, []byte(back), err)
		}
		checkName(t, string(message))
		for _, mechanism := range mechanisms {
			c := NewConn(peerSends(""))
			r, err := readSASL(c, lineFraming{}, mechanism, []byte(cmp.Or(b64(string(message)), "=")))
			switch {
			case err != nil && !errors.Is(err, errResponse):
				t.Errorf("%s %q: %v", mechanism, message, err)
			case err == nil && (!bytes.Equal(r.Response, message) || !r.HasResponse || r.Mechanism != mechanism || r.Method != mechanism):
				t.Errorf("%s %q gave %s", mechanism, message, summary(r))
			case mechanism == "PLAIN" && (err == nil) != (bytes.Count(message, []byte{0}) == 2):
				t.Errorf("%s %q: %v", mechanism, message, err)
			}
		}
		checkPassword(t, message)
	})
}

var escape = strings.NewReplacer("=", "=3D", ",", "=2C")

// checkName: names in a GS2 header survive escape and decode.
func checkName(t *testing.T, name string) {
	t.Helper()
	if got, err := gs2Name(escape.Replace(name)); got != name || err != nil {
		t.Errorf("%q decodes to %q, %v", name, got, err)
	}
	if got, err := gs2Name(name); err == nil && !strings.Contains(name, ",") && escape.Replace(got) != name {
		t.Errorf("%q decodes to %q", name, got)
	}
	user, err := scramUser([]byte("n,a=x,n=" + escape.Replace(name) + ",r=nonce"))
	if user != name || err != nil {
		t.Errorf("SCRAM for %q: got %q, %v", name, user, err)
	}
}

// checkPassword sends a name and a password as two responses: the PLAIN message has
// both, and neither can become part of the other.
func checkPassword(t *testing.T, message []byte) {
	t.Helper()
	name, password, _ := bytes.Cut(message, []byte(" "))
	c := NewConn(peerSends(b64(string(name)) + "\r\n" + b64(string(password)) + "\r\n"))
	r, err := readSASL(c, lineFraming{}, sasl.Login, nil)
	if err != nil || r.Account != string(name) || string(r.Response) != "\x00"+string(name)+"\x00"+string(password) {
		t.Errorf("%q and %q gave %s, %v", name, password, summary(r), err)
	}
	if !r.Unfit && bytes.Count(r.Response, []byte{0}) != 2 {
		t.Errorf("%q and %q gave %q", name, password, []byte(r.Response))
	}
}
