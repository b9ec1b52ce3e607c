package dialogue

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestSmuggling: a literal that comes without leave behind whatever command is
// never run as one, and the conversation goes on behind it.
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
				t.Errorf("%q with %+v: heard %q, %v, said %q", in, o, requests, err, out)
			}
		}
	}
}

// TestLiteralsAreNotAskedFor: what will be refused is not given leave for.
func TestLiteralsAreNotAskedFor(t *testing.T) {
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
			t.Errorf("%.40q: heard %q, said %q", tt.in, requests, w.out.String())
		}
	}
}

// TestBadArguments: every one is answered under its tag, and counts.
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
			t.Errorf("%q: said %q, %d bad commands, %v", args, out, c.badCommands, err)
		}
	}
}

// TestIDPairs: 30 of them are taken and 31 are not, nil is one value of a pair.
func TestIDPairs(t *testing.T) {
	for n, want := range map[int]string{0: "OK", 1: "OK", 30: "OK", 31: "BAD"} {
		w := peerSends("a ID (" + strings.TrimSuffix(strings.Repeat(`"n" NIL `, n), " ") + ")\r\n")
		readRequests(IMAP{}, w, Offer{})
		if !strings.Contains("\r\n"+w.out.String(), "\r\na "+want) {
			t.Errorf("%d pairs: said %q", n, w.out.String())
		}
	}
}

// TestLinesAreReused: what comes in the next segment lies where the last one lay,
// and must not change what was read there.
func TestLinesAreReused(t *testing.T) {
	w := peerSendsParts("a LOGIN user {14+}\r\n", "x LOGIN victim", "\r\n")
	requests, _ := readRequests(IMAP{}, w, fullOffer["imap"])
	if len(requests) != 1 || requests[0] != `LOGIN PLAIN as user: "\x00user\x00x LOGIN victim"` {
		t.Errorf("heard %q", requests)
	}

	w = peerSendsParts("a AUTHENTICATE PLAIN\r\n", "AAAAAAAAAAAAAAAx{3+}\r\nb NOOP\r\n")
	requests, _ = readRequests(IMAP{}, w, fullOffer["imap"])
	if want := "+ \r\na BAD Invalid SASL response.\r\nb OK NOOP completed.\r\n"; len(requests) > 0 || w.out.String() != want {
		t.Errorf("heard %q, said %q", requests, w.out.String())
	}

	w = peerSendsParts("USER user\r\n", "PASS victim\r\n")
	requests, _ = readRequests(POP3{}, w, fullOffer["pop3"])
	if len(requests) != 1 || requests[0] != `USER PLAIN as user: "\x00user\x00victim"` {
		t.Errorf("heard %q", requests)
	}
}

// TestAskedIsRemembered until TLS makes the list obsolete.
func TestAskedIsRemembered(t *testing.T) {
	c := NewConn(peerSends("a NOOP\r\nb LOGOUT\r\n"))
	IMAP{}.ReadRequest(c, Offer{})
	if c.sentCapabilities {
		t.Error("nobody has asked")
	}
	c.Restart(peerSends("a CAPABILITY\r\nb LOGOUT\r\n"))
	IMAP{}.ReadRequest(c, Offer{})
	if !c.sentCapabilities {
		t.Error("the client has asked")
	}
}

// TestStrikesInARow: IMAP never forgives, POP3 does, and neither forgets between
// two logins.
func TestStrikesInARow(t *testing.T) {
	for p, in := range map[Protocol]string{
		IMAP{}: "a ]\r\nb NOOP\r\nc ]\r\nd LOGIN u p\r\ne ]\r\n",
		POP3{}: "X\r\nX\r\nCAPA\r\nX\r\nX\r\nUSER u\r\nPASS p\r\nX\r\nX\r\nX\r\n",
	} {
		w := peerSends(in)
		requests, err := readRequests(p, w, fullOffer[p.Name()])
		if len(requests) != 1 || !errors.Is(err, ErrBadCommands) {
			t.Errorf("%s: heard %q, %v", p.Name(), requests, err)
		}
	}
}
