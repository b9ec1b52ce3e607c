package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestLogHasJA4OfRealClients lets mail programs connect and compares the field ja4 of the
// log with what describeHello makes of the octets that they have sent.
func TestLogHasJA4OfRealClients(t *testing.T) {
	t.Parallel()
	g := start(t)
	var mu sync.Mutex
	names := map[string][]string{} // by JA4
	t.Run("clients", func(t *testing.T) {
		for _, c := range tlsClients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(c.name); err != nil {
					testbed.Missing(t, c.name)
				}
				tap := newTap(t, g.Addr("imaps"))
				run := clientRun{port: tap.port(), ca: g.CertFile, dir: t.TempDir()}
				cmd := exec.CommandContext(t.Context(), c.name, c.args(t, run)...)
				cmd.Dir, cmd.Stdin = run.dir, strings.NewReader("a LOGIN "+testbed.Account.Name+" "+testbed.Account.Secret+"\r\nb LOGOUT\r\n")
				cmd.Env = append(os.Environ(), "HOME="+run.dir)
				out, err := cmd.CombinedOutput() // the log decides: some exit with an error because there is no mail
				connection := <-tap.connections
				want := describeHello(t, connection.sent.Bytes())
				port := fmt.Sprintf("rport=%d ", connection.port)
				t.Logf("%s", want)
				events := []string{"event=connection"}
				if c.login {
					events = append(events, "event=login")
				}
				for _, event := range events {
					if line := g.log.Await(t, event, port); !strings.Contains(line, "ja4="+want+" ") {
						t.Errorf("got %s, want ja4=%s\n%v\n%s", line, want, err, out)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				names[want] = append(names[want], c.name)
			})
		}
	})
	if len(names) < 3 {
		t.Errorf("got %v, want different fingerprints of OpenSSL, NSS and Python", names)
	}
}

// TestLogHasNoJA4InClearText: the field is there and empty.
func TestLogHasNoJA4InClearText(t *testing.T) {
	t.Parallel()
	g := start(t)
	c := g.connect(t, "imap")
	c.Until("OK")
	c.Say("a LOGOUT", "a OK")
	g.log.Await(t, "event=connection", `ja4="" `)
}

// A clientRun is where a client connects, and files that it may use.
type clientRun struct{ port, ca, dir string }

// file writes a file that nobody else may read and returns its path.
func (r clientRun) file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(r.dir, "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tlsClients are programs with different TLS libraries, or settings of them.
var tlsClients = []struct {
	name  string
	login bool // it logs in
	args  func(*testing.T, clientRun) []string
}{
	{"openssl", true, func(_ *testing.T, r clientRun) []string {
		return []string{"s_client", "-quiet", "-ign_eof", "-connect", "localhost:" + r.port, "-servername", "localhost", "-CAfile", r.ca}
	}},
	{"curl", true, func(_ *testing.T, r clientRun) []string {
		return []string{"-sS", "-4", "--cacert", r.ca, "--user", testbed.Account.Name + ":" + testbed.Account.Secret, "imaps://localhost:" + r.port + "/"}
	}},
	{"python3", true, func(_ *testing.T, r clientRun) []string {
		const program = `import imaplib, ssl, sys
c = imaplib.IMAP4_SSL("localhost", int(sys.argv[1]), ssl_context=ssl.create_default_context(cafile=sys.argv[2]))
c.login(sys.argv[3], sys.argv[4])
c.logout()`
		return []string{"-c", program, r.port, r.ca, testbed.Account.Name, testbed.Account.Secret}
	}},
	{"tstclnt", false, func(t *testing.T, r clientRun) []string {
		return []string{"-h", "localhost", "-4", "-p", r.port, "-D", "-o", "-A", r.file(t, "b LOGOUT\r\n")}
	}},
	{"fetchmail", true, func(t *testing.T, r clientRun) []string {
		config := r.file(t, fmt.Sprintf("poll localhost protocol IMAP service %s user %q password %q ssl sslcertck sslcertfile %q keep mda \"cat\"\n", r.port, testbed.Account.Name, testbed.Account.Secret, r.ca))
		return []string{"-f", config, "-c", "--pidfile", filepath.Join(r.dir, "pid")}
	}},
	{"mbsync", true, func(t *testing.T, r clientRun) []string {
		config := r.file(t, fmt.Sprintf("IMAPStore far\nHost localhost\nPort %s\nUser %s\nPass %s\nSSLType IMAPS\nSystemCertificates no\nCertificateFile %s\n\nMaildirStore near\nPath %s/\nInbox %s/inbox\n\nChannel all\nFar :far:\nNear :near:\n",
			r.port, testbed.Account.Name, testbed.Account.Secret, r.ca, r.dir, r.dir))
		return []string{"-l", "-c", config, "all"}
	}},
}

// A tap relays connections to a gateway and keeps what clients send.
type tap struct {
	net.Listener
	connections chan tapped // that have ended
}

// A tapped is one connection through a tap.
type tapped struct {
	sent *bytes.Buffer // by the client
	port int           // that the gateway sees
}

func newTap(t *testing.T, gateway string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &tap{l, make(chan tapped, 8)}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go k.relay(near, gateway)
		}
	}()
	return k
}

func (k *tap) relay(near net.Conn, gateway string) {
	defer near.Close()
	far, err := net.Dial("tcp", gateway)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(near, far)
		near.Close()
	}()
	c := tapped{&bytes.Buffer{}, far.LocalAddr().(*net.TCPAddr).Port}
	_, _ = io.Copy(far, io.TeeReader(near, c.sent))
	far.Close()
	k.connections <- c
}

func (k *tap) port() string { return fmt.Sprint(k.Addr().(*net.TCPAddr).Port) }

// describeHello returns the JA4 of the ClientHello in the first TLS record of data. It reads
// the octets itself: it shares nothing with package tlsconf.
func describeHello(t *testing.T, data []byte) string {
	t.Helper()
	if len(data) < 44 || data[0] != 22 || data[5] != 1 {
		t.Fatalf("got % x, want a ClientHello", data[:min(len(data), 44)])
	}
	rest := data[9:] // after the headers of record and message
	take := func(n int) (head []byte) {
		head, rest = rest[:n], rest[n:]
		return head
	}
	vector := func(lengthSize int) []byte {
		n := 0
		for _, b := range take(lengthSize) {
			n = n<<8 | int(b)
		}
		return take(n)
	}
	numbers := func(b []byte) (list []uint16) {
		for pair := range slices.Chunk(b, 2) {
			if n := binary.BigEndian.Uint16(pair); !slices.Contains(grease, n) {
				list = append(list, n)
			}
		}
		return list
	}
	version := binary.BigEndian.Uint16(take(2))
	take(32)
	vector(1)
	suites := numbers(vector(2))
	vector(1)
	rest = vector(2)
	domain, protocol, counted, schemes, hashed := "i", "00", 0, []uint16(nil), []uint16(nil)
	for len(rest) > 0 {
		kind, body := binary.BigEndian.Uint16(take(2)), vector(2)
		if slices.Contains(grease, kind) || kind == 41 || kind == 42 { // the last two are of resumption
			continue
		}
		counted++
		switch kind {
		case 0:
			domain = "d"
			continue
		case 16:
			name := body[3 : 3+body[2]]
			protocol = string([]byte{name[0], name[len(name)-1]})
			continue
		case 13:
			schemes = numbers(body[2:])
		case 43:
			version = slices.Max(numbers(body[1:]))
		}
		hashed = append(hashed, kind)
	}
	slices.Sort(suites)
	slices.Sort(hashed)
	return fmt.Sprintf("t1%d%s%02d%02d%s_%s_%s", version-0x0301, domain, len(suites), counted, protocol,
		digest(list(suites)), digest(list(hashed)+"_"+list(schemes)))
}

// grease are the values of RFC 8701.
var grease = []uint16{
	0x0a0a, 0x1a1a, 0x2a2a, 0x3a3a, 0x4a4a, 0x5a5a, 0x6a6a, 0x7a7a, 0x8a8a, 0x9a9a, 0xaaaa, 0xbaba, 0xcaca, 0xdada, 0xeaea, 0xfafa,
}

// list returns numbers in hexadecimal with commas between them.
func list(numbers []uint16) string {
	var parts []string
	for _, n := range numbers {
		parts = append(parts, fmt.Sprintf("%04x", n))
	}
	return strings.Join(parts, ",")
}

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12] }
