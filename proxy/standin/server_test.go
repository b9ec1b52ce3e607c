package standin_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// testAccounts has the account of the scripts in testdata.
var testAccounts = []standin.Account{{
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
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// servers has the two servers by protocol.
var servers = map[string]func(net.Listener, []standin.Account, standin.Options) (*standin.Server, error){
	"imap": standin.ServeIMAP, "pop3": standin.ServePOP3,
}

// start runs a server until the test ends.
func start(t *testing.T, protocol string, o standin.Options) *standin.Server {
	t.Helper()
	s, err := servers[protocol](listen(t), testAccounts, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Close ends idle and new connections and waits for them.
func TestCloseEndsConnections(t *testing.T) {
	for protocol := range servers {
		s := start(t, protocol, standin.Options{})
		c := dial(t, s.Addr())
		r := bufio.NewReader(c)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		unread := dial(t, s.Addr())
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("%s: close: %v", protocol, err)
			}
		}
		if _, err := r.ReadByte(); err == nil {
			t.Errorf("%s: the connection is still open", protocol)
		}
		if _, err := io.ReadAll(unread); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the new connection is still open", protocol)
		}
		if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Errorf("%s: the server still listens", protocol)
		}
	}
}

func TestAccountNamesMustBeUnique(t *testing.T) {
	for protocol, serve := range servers {
		ln := listen(t)
		defer ln.Close()
		_, err := serve(ln, []standin.Account{{Name: "a"}, {Name: "a"}}, standin.Options{})
		if err == nil || !strings.Contains(err.Error(), `account "a" twice`) {
			t.Errorf("%s: got %v, want an error that names the account", protocol, err)
		}
	}
}

// faultyListener returns one error before it accepts.
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

func TestServesAfterAcceptError(t *testing.T) {
	s, err := standin.ServePOP3(&faultyListener{Listener: listen(t)}, nil, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if line, err := bufio.NewReader(dial(t, s.Addr())).ReadString('\n'); err != nil {
		t.Errorf("got greeting %q, %v", line, err)
	}
}

func TestIMAPServesMessages(t *testing.T) {
	accounts := []standin.Account{{Name: "zoë@example.org", Secret: `a"b\c`, Messages: standin.Samples()}}
	s, err := standin.ServeIMAP(listen(t), accounts, standin.Options{})
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
	if err != nil || int(selected.NumMessages) != len(standin.Samples()) {
		t.Fatalf("SELECT INBOX: got %+v, %v, want %d messages", selected, err, len(standin.Samples()))
	}
	section := &imap.FetchItemBodySection{}
	got, err := c.Fetch(imap.SeqSetNum(2), &imap.FetchOptions{
		Envelope: true, BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("FETCH: got %v, %v, want 1 message", got, err)
	}
	if body := got[0].FindBodySection(section); string(body) != string(standin.Samples()[1]) {
		t.Errorf("got message %q, want the second sample", body)
	}
	if subject := got[0].Envelope.Subject; subject != "Dots and umlauts …" {
		t.Errorf("got subject %q", subject)
	}
}

// TestIdleReportsNewMessages: those that were delivered before IDLE began and after the
// command before it, too, and those of other sessions.
func TestIdleReportsNewMessages(t *testing.T) {
	s := start(t, "imap", standin.Options{})
	c := dial(t, s.Addr())
	r := bufio.NewReader(c)
	until := func(end string) {
		t.Helper()
		for line := ""; !strings.HasPrefix(line, end); {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("waiting for %q: %v", end, err)
			}
		}
	}
	deliver := func() {
		t.Helper()
		if err := s.Deliver("user", []byte("Subject: news\r\n\r\nnews\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(c, "a LOGIN user \"pa ss\"\r\nb SELECT INBOX\r\n")
	until("b OK")
	deliver()
	io.WriteString(c, "c IDLE\r\n")
	until("* 4 EXISTS")
	deliver()
	until("* 5 EXISTS")

	other := imapclient.New(dial(t, s.Addr()), nil)
	defer other.Close()
	if err := other.Login("user", "pa ss").Wait(); err != nil {
		t.Fatal(err)
	}
	message := other.Append("INBOX", int64(len("x")), nil)
	io.WriteString(message, "x")
	message.Close()
	if _, err := message.Wait(); err != nil {
		t.Fatal(err)
	}
	until("* 6 EXISTS")
	io.WriteString(c, "DONE\r\n")
	until("c OK")
}

// TestDeliverNamesTheProblem: an unknown account, and a server without mailboxes that
// change.
func TestDeliverNamesTheProblem(t *testing.T) {
	for protocol, want := range map[string]string{"imap": `deliver to "nobody": no such account`, "pop3": `deliver to "nobody": unsupported operation`} {
		if err := start(t, protocol, standin.Options{}).Deliver("nobody", nil); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", protocol, err, want)
		}
	}
}

// The scripts of one file use one server, in the order of the file.
func TestScripts(t *testing.T) {
	for protocol := range servers {
		file := protocol + ".dlg"
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := mailtest.ParseScripts(file, data)
		if err != nil {
			t.Fatal(err)
		}
		server := start(t, protocol, standin.Options{})
		for _, script := range scripts {
			t.Run(script.Name, func(t *testing.T) {
				script.Play(t, mailtest.Endpoints{Client: dial(t, server.Addr())})
			})
		}
	}
}
