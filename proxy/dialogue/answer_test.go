package dialogue

import (
	"errors"
	"strings"
	"testing"
)

func TestGreet(t *testing.T) {
	for p, want := range map[Protocol]string{
		IMAP{}: "* OK [CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED] Ready.\r\n",
		POP3{}: "+OK Ready.\r\n",
		Sieve{}: `"IMPLEMENTATION" "postern"` + "\r\n" + `"SIEVE" "fileinto reject envelope vacation imap4flags subaddress relational regex copy include variables body"` +
			"\r\n" + `"SASL" ""` + "\r\n" + `"STARTTLS"` + "\r\n" + `"VERSION" "1.0"` + "\r\n" + `OK "Ready."` + "\r\n",
	} {
		w := peerSends("")
		if err := p.Greet(NewConn(w), Offer{StartTLS: true}); err != nil || w.out.String() != want || w.writes != 1 {
			t.Errorf("%s: wrote %q in %d writes, %v", p.Name(), w.out.String(), w.writes, err)
		}
		w.failAt = 1
		if err := p.Greet(NewConn(w), Offer{}); !errors.Is(err, errClosed) {
			t.Errorf("%s: got %v", p.Name(), err)
		}
	}
}

func TestNames(t *testing.T) {
	for p, want := range map[Protocol][3]string{
		IMAP{}: {"imap", "IMAP", "imap"}, POP3{}: {"pop3", "POP3", "pop3"}, Sieve{}: {"sieve", "ManageSieve", "managesieve"},
	} {
		if got := [3]string{p.Name(), p.Title(), p.ALPN()}; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestGreetTLS: only a ManageSieve server speaks first after STARTTLS.
func TestGreetTLS(t *testing.T) {
	for p, want := range map[Protocol]string{IMAP{}: "", POP3{}: "", Sieve{}: `OK "TLS negotiation successful."` + "\r\n"} {
		w := peerSends("")
		err := p.GreetTLS(NewConn(w), Offer{TLS: true})
		if got := w.out.String(); err != nil || !strings.HasSuffix(got, want) || want == "" && got != "" || strings.Contains(got, capaStartTLS) {
			t.Errorf("%s: wrote %q, %v", p.Name(), got, err)
		}
	}
}

// TestAnswer compares every answer with its text. Only a denial may look like a
// wrong password to mail programs.
func TestAnswer(t *testing.T) {
	const busy = "Account is temporarily unavailable, please wait and try again later.\r\n"
	tests := []struct {
		answer               Answer
		tagged, plain, pop3s string // IMAP under a tag, IMAP without, POP3
	}{
		{AnswerTLS, "a1 OK Begin TLS negotiation now.\r\n", "", "+OK Begin TLS negotiation now.\r\n"},
		{AnswerBusy, "a1 NO [UNAVAILABLE] " + busy, "* BYE [UNAVAILABLE] " + busy, "-ERR [SYS/TEMP] " + busy},
		{AnswerDelay, "a1 NO [UNAVAILABLE] " + busy, "", "-ERR [LOGIN-DELAY] " + busy},
		{AnswerDenied, "a1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", "", "-ERR [AUTH] Authentication failed.\r\n"},
		{AnswerTries, "* BYE Too many failed logins.\r\n", "* BYE Too many failed logins.\r\n", "-ERR Too many failed logins.\r\n"},
		{AnswerTimeout, "* BYE Disconnected for inactivity.\r\n", "* BYE Disconnected for inactivity.\r\n", "-ERR Disconnected for inactivity.\r\n"},
		{
			AnswerShutdown, "* BYE Server is shutting down, please try again later.\r\n", "* BYE Server is shutting down, please try again later.\r\n",
			"-ERR [SYS/TEMP] Server is shutting down, please try again later.\r\n",
		},
	}
	for _, tt := range tests {
		for _, form := range []struct {
			p    Protocol
			tag  string
			want string
		}{{IMAP{}, "a1", tt.tagged}, {IMAP{}, "", tt.plain}, {POP3{}, "", tt.pop3s}} {
			if form.want == "" { // not used without a command
				continue
			}
			w := peerSends("")
			err := form.p.Answer(NewConn(w), Request{Tag: form.tag}, tt.answer)
			if err != nil || w.out.String() != form.want || w.writes != 1 {
				t.Errorf("%s, answer %d: wrote %q in %d writes, %v", form.p.Name(), tt.answer, w.out.String(), w.writes, err)
			}
			w.failAt = 1
			if err := form.p.Answer(NewConn(w), Request{Tag: form.tag}, tt.answer); !errors.Is(err, errClosed) {
				t.Errorf("%s, answer %d: got %v", form.p.Name(), tt.answer, err)
			}
		}
	}
}

// TestSieveAnswer does the same for ManageSieve.
func TestSieveAnswer(t *testing.T) {
	const busy = `(TRYLATER) "Account is temporarily unavailable, please wait and try again later."`
	for _, tt := range []struct {
		answer Answer
		kind   Kind
		want   string
	}{
		{AnswerTLS, StartTLS, `OK "Begin TLS negotiation now."`},
		{AnswerBusy, Login, "NO " + busy},
		{AnswerBusy, StartTLS, "NO " + busy},
		{AnswerBusy, Logout, "BYE " + busy},
		{AnswerDelay, Login, "NO " + busy},
		{AnswerDenied, Login, `NO "Authentication failed."`},
		{AnswerTries, Login, `BYE "Too many failed logins."`},
		{AnswerTimeout, Logout, `BYE "Disconnected for inactivity."`},
		{AnswerShutdown, Logout, `BYE (TRYLATER) "Server is shutting down, please try again later."`},
	} {
		w := peerSends("")
		err := Sieve{}.Answer(NewConn(w), Request{Kind: tt.kind}, tt.answer)
		if err != nil || w.out.String() != tt.want+"\r\n" || w.writes != 1 {
			t.Errorf("answer %d to %d: wrote %q in %d writes, %v", tt.answer, tt.kind, w.out.String(), w.writes, err)
		}
	}
}

// TestAnswerEndsWithRef: refusals end with the reference to the log. A denial must
// look like the backend's and has none.
func TestAnswerEndsWithRef(t *testing.T) {
	for _, p := range protocols {
		for answer, want := range map[Answer]bool{
			AnswerTLS: false, AnswerDenied: false, AnswerBusy: true, AnswerDelay: true, AnswerTries: true, AnswerTimeout: false, AnswerShutdown: false,
		} {
			for _, tag := range []string{"", "a1"} {
				w := peerSends("")
				c := NewConn(w)
				c.Ref = "k3x9ab-2f"
				if err := p.Answer(c, Request{Tag: tag}, answer); err != nil {
					t.Fatal(err)
				}
				text := strings.TrimSuffix(strings.TrimSuffix(w.out.String(), "\r\n"), `"`)
				if got := strings.HasSuffix(text, ". (k3x9ab-2f)"); got != want || strings.Contains(w.out.String(), "k3x9ab-2f") != want {
					t.Errorf("%s, answer %d under tag %q: wrote %q", p.Name(), answer, tag, w.out.String())
				}
			}
		}
	}
}
