package standin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// testAccounts are those the scripts in testdata log in to.
var testAccounts = []Account{{
	Name: "user", Secret: "pa ss",
	Messages: [][]byte{
		[]byte("Subject: one\r\n\r\nfirst\r\n.dot\r\nlast\r\n"),
		[]byte("Subject: two\n\nx"),
		[]byte("Subject: bare\r\n"),
	},
}}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// servers are the two stand-ins by protocol.
var servers = map[string]func(net.Listener, []Account, Options) (*Server, error){
	"imap": ServeIMAP, "pop3": ServePOP3,
}

// start runs a stand-in of the given protocol until the test ends.
func start(t *testing.T, protocol string, o Options) *Server {
	t.Helper()
	s, err := servers[protocol](listen(t), testAccounts, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Close ends idle and logged-in connections and waits for them.
func TestCloseEndsEverything(t *testing.T) {
	for protocol := range servers {
		s := start(t, protocol, Options{})
		c := dial(t, s.Addr())
		r := bufio.NewReader(c)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		waiting := dial(t, s.Addr())
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("%s: close: %v", protocol, err)
			}
		}
		if _, err := r.ReadByte(); err == nil {
			t.Errorf("%s: connection outlived the server", protocol)
		}
		if _, err := io.ReadAll(waiting); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: new connection outlived the server", protocol)
		}
		if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Errorf("%s: still listens", protocol)
		}
	}
}

func TestAccountGivenTwice(t *testing.T) {
	for protocol, serve := range servers {
		ln := listen(t)
		defer ln.Close()
		_, err := serve(ln, []Account{{Name: "a"}, {Name: "a"}}, Options{})
		if err == nil || !strings.Contains(err.Error(), `"a" is given twice`) {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// faultyListener fails once before it accepts.
type faultyListener struct {
	net.Listener
	failed bool
}

func (l *faultyListener) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptErrorIsSurvived(t *testing.T) {
	s, err := ServePOP3(&faultyListener{Listener: listen(t)}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if line, err := bufio.NewReader(dial(t, s.Addr())).ReadString('\n'); err != nil {
		t.Errorf("got %q, %v", line, err)
	}
}

// The IMAP stand-in is a whole server: what is appended can be fetched.
func TestIMAPKeepsMail(t *testing.T) {
	accounts := []Account{{Name: "zoë@example.org", Secret: `a"b\c`, Messages: Samples()}}
	s, err := ServeIMAP(listen(t), accounts, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := imapclient.New(dial(t, s.Addr()), nil)
	defer c.Close()
	if err := c.Login(accounts[0].Name, accounts[0].Secret).Wait(); err != nil {
		t.Fatal(err)
	}
	selected, err := c.Select("INBOX", nil).Wait()
	if err != nil || int(selected.NumMessages) != len(Samples()) {
		t.Fatalf("INBOX: %+v, %v", selected, err)
	}
	whole := &imap.FetchItemBodySection{}
	got, err := c.Fetch(imap.SeqSetNum(2), &imap.FetchOptions{
		Envelope: true, BodySection: []*imap.FetchItemBodySection{whole},
	}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("fetch: %v, %v", got, err)
	}
	if body := got[0].FindBodySection(whole); string(body) != string(Samples()[1]) {
		t.Errorf("message is %q", body)
	}
	if subject := got[0].Envelope.Subject; subject != "Dots and umlauts …" {
		t.Errorf("subject %q", subject)
	}
}
