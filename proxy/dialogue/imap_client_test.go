package dialogue

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestSmuggling: a non-synchronising literal behind any command never runs as a
// command, and the dialogue continues behind it.
func TestSmuggling(t *testing.T) {
	commands := []string{
		"a CAPABILITY", "a NOOP", "a LOGOUT", "a STARTTLS", "a SELECT", "a APPEND x", "a ID", "a ID (", `a ID ("x"`, "a ID NIL",
		"a ENABLE", "a ENABLE X", "a LOGIN", `a LOGIN "user`, `a LOGIN "user"x`, "a LOGIN user pass", "a LOGIN (",
		"a LOGIN user ~", "a AUTHENTICATE", "a AUTHENTICATE PLAIN", "a AUTHENTICATE PLAIN =", "a AUTHENTICATE NONE", "a AUTHENTICATE (",
		"a", "a ", "a (", "a  LOGIN", "*", "+ LOGIN", "", "\x00", `"`, "a LOGIN {0+}\r\n user", "a FOO {0+}\r\n",
	}
	for _, command := range commands {
		for _, o := range []Offer{{}, {StartTLS: true}, {Cleartext: true}, fullOffer["imap"]} {
			in := command + " {14+}\r\nx LOGIN aa bbb\r\ny NOOP\r\n"
			w := peerSends(in)
			requests, err := readRequests(IMAP{}, w, o)
			out := w.out.String()
			if len(requests) > 0 || !errors.Is(err, io.EOF) || strings.Contains(out, "x ") || !strings.HasSuffix(out, "\r\ny OK NOOP completed.\r\n") {
				t.Errorf("%q with %+v: read %q, %v, wrote %q", in, o, requests, err, out)
			}
		}
	}
}

// TestLiteralsAreNotRequested: the literal of a command that will be refused gets no
// continuation request.
func TestLiteralsAreNotRequested(t *testing.T) {
	tests := []struct {
		in   string
		o    Offer
		want string
	}{
		{"a LOGIN {4}\r\n", Offer{}, "a NO [PRIVACYREQUIRED] Logging in needs TLS, begin with STARTTLS.\r\n"},
		{"a LOGIN {8193}\r\n", fullOffer["imap"], "a BAD Invalid arguments.\r\n"},
		{"a LOGIN {4294967297}\r\n", fullOffer["imap"], "a BAD Invalid arguments.\r\n"},
		{"a LOGIN {8000+}\r\n" + strings.Repeat("x", 8000) + " {193}\r\n", fullOffer["imap"], "a BAD Invalid arguments.\r\n"},
		{"a LOGIN {8000+}\r\n" + strings.Repeat("x", 8000) + " {192}\r\n", fullOffer["imap"], "+ OK\r\n"},
		{"a LOGIN {8192}\r\n", fullOffer["imap"], "+ OK\r\n"},
		{"a SELECT {4}\r\n", fullOffer["imap"], "a BAD Unknown command, or not before login.\r\n"},
		{"a AUTHENTICATE PLAIN {4}\r\n", fullOffer["imap"], "a BAD Invalid arguments.\r\n"},
		{"a (bad) {4}\r\n", fullOffer["imap"], "a BAD Invalid command.\r\n"},
		{"* {4}\r\n", fullOffer["imap"], "* BAD Invalid tag.\r\n"},
	}
	for _, tt := range tests {
		w := peerSends(tt.in)
		if requests, _ := readRequests(IMAP{}, w, tt.o); len(requests) > 0 || w.out.String() != tt.want {
			t.Errorf("%.40q: read %q, wrote %q", tt.in, requests, w.out.String())
		}
	}
}

// TestBadArguments: each is answered under its tag, and counts as a bad command.
func TestBadArguments(t *testing.T) {
	for _, args := range []string{
		"LOGIN", "LOGIN ", "LOGIN user", "LOGIN user ", "LOGIN  user pass", "LOGIN user  pass", "LOGIN user pass ", "LOGIN user pass x",
		"LOGIN ( pass", "LOGIN user )", `LOGIN "user" "pass`, `LOGIN "user pass`, `LOGIN "us"er pass`, "LOGIN us\"er pass", "LOGIN us%er pass",
		"LOGIN us*er pass", `LOGIN us\er pass`, "LOGIN j\xc3\xb6rg pass", "LOGIN us\x7fer pass", "LOGIN us\ter pass", "LOGIN\tuser pass",
		"LOGIN {} pass", "LOGIN {4 pass", "LOGIN {4}x", "LOGIN {-4}", "LOGIN {0x4}", "LOGIN {+}",
		`ID ("a")`, `ID ("a" "b"`, `ID ("a" "b" `, `ID ("a""b")`, `ID ("a" "b") x`, `ID ( "a" "b")`, "ID (", "ID x", "ID nilnil", "ID ",
		"AUTHENTICATE", "AUTHENTICATE ", "AUTHENTICATE (", "AUTHENTICATE PLAIN x y", "AUTHENTICATE PLAIN  ", "AUTHENTICATE PLAIN ==",
		"STARTTLS", "STARTTLS x", "NOOP x", "NOOP  ", "CAPABILITY x", "LOGOUT x", "UNAUTHENTICATE", "COMPRESS DEFLATE", "XCLIENT ADDR=::1",
	} {
		w := peerSends("a " + args + "\r\n")
		c := NewConn(w)
		_, err := IMAP{}.ReadRequest(c, fullOffer["imap"])
		if out := w.out.String(); !errors.Is(err, io.EOF) || !strings.HasPrefix(out, "a BAD ") || strings.Count(out, "\r\n") != 1 || c.badCommands != 1 {
			t.Errorf("%q: wrote %q, %d bad commands, %v", args, out, c.badCommands, err)
		}
	}
}

// TestIDPairs: 30 pairs are valid and 31 are not. A value may be NIL.
func TestIDPairs(t *testing.T) {
	for n, want := range map[int]string{0: "OK", 1: "OK", 30: "OK", 31: "BAD"} {
		w := peerSends("a ID (" + strings.TrimSuffix(strings.Repeat(`"n" NIL `, n), " ") + ")\r\n")
		readRequests(IMAP{}, w, Offer{})
		if !strings.Contains("\r\n"+w.out.String(), "\r\na "+want) {
			t.Errorf("%d pairs: wrote %q", n, w.out.String())
		}
	}
}

// TestReadBufferIsReused: the next segment overwrites the buffer, and must not change
// what was read from it before.
func TestReadBufferIsReused(t *testing.T) {
	w := peerSendsParts("a LOGIN user {14+}\r\n", "x LOGIN victim", "\r\n")
	requests, _ := readRequests(IMAP{}, w, fullOffer["imap"])
	if len(requests) != 1 || requests[0] != `LOGIN PLAIN as user: "\x00user\x00x LOGIN victim"` {
		t.Errorf("read %q", requests)
	}

	w = peerSendsParts("a AUTHENTICATE PLAIN\r\n", "AAAAAAAAAAAAAAAx{3+}\r\nb NOOP\r\n")
	requests, _ = readRequests(IMAP{}, w, fullOffer["imap"])
	if want := "+ \r\na BAD Invalid SASL response.\r\nb OK NOOP completed.\r\n"; len(requests) > 0 || w.out.String() != want {
		t.Errorf("read %q, wrote %q", requests, w.out.String())
	}

	w = peerSendsParts("USER user\r\n", "PASS victim\r\n")
	requests, _ = readRequests(POP3{}, w, fullOffer["pop3"])
	if len(requests) != 1 || requests[0] != `USER PLAIN as user: "\x00user\x00victim"` {
		t.Errorf("read %q", requests)
	}
}

// TestCapabilitySentIsKept until TLS makes the list obsolete.
func TestCapabilitySentIsKept(t *testing.T) {
	c := NewConn(peerSends("a NOOP\r\nb LOGOUT\r\n"))
	IMAP{}.ReadRequest(c, Offer{})
	if c.sentCapabilities {
		t.Error("CAPABILITY has not been sent")
	}
	c.Restart(peerSends("a CAPABILITY\r\nb LOGOUT\r\n"))
	IMAP{}.ReadRequest(c, Offer{})
	if !c.sentCapabilities {
		t.Error("CAPABILITY has been sent")
	}
}

// TestBadCommandLimit: IMAP counts all bad commands, POP3 those in a row. Neither
// resets the count at a login.
func TestBadCommandLimit(t *testing.T) {
	for p, in := range map[Protocol]string{
		IMAP{}: "a ]\r\nb NOOP\r\nc ]\r\nd LOGIN u p\r\ne ]\r\n",
		POP3{}: "X\r\nX\r\nCAPA\r\nX\r\nX\r\nUSER u\r\nPASS p\r\nX\r\nX\r\nX\r\n",
	} {
		w := peerSends(in)
		requests, err := readRequests(p, w, fullOffer[p.Name()])
		if len(requests) != 1 || !errors.Is(err, ErrBadCommands) {
			t.Errorf("%s: read %q, %v", p.Name(), requests, err)
		}
	}
}

// TestLiteralWithZeros: a size may have leading zeros. The literal must not run as a
// command.
func TestLiteralWithZeros(t *testing.T) {
	requests, _ := readRequests(IMAP{}, peerSends("a LOGIN {000000000000000000014+}\r\nx LOGIN aa bbb\r\n\r\n"), fullOffer["imap"])
	if len(requests) > 0 {
		t.Errorf("read %q", requests)
	}
}
