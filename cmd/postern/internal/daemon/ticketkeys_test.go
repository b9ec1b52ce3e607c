package daemon

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
	"postern/tlsconf"
)

// ticketKeysTest has ticket keys in a directory of its own.
type ticketKeysTest struct {
	dir    stateDir
	source *tlsconf.Source
	log    *testbed.Log
}

func newTicketKeysTest(t *testing.T) *ticketKeysTest {
	t.Helper()
	cert, key := testbed.WriteCertificate(t, testbed.NewCertificate(t))
	source, err := tlsconf.Load(tlsconf.Config{Certs: []string{cert}, Keys: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	return &ticketKeysTest{stateDir(t.TempDir()), source, testbed.NewLog()}
}

// load starts with the keys on disk.
func (k *ticketKeysTest) load(now time.Time) *ticketKeys {
	return loadTicketKeys(now, k.dir, nil, k.source, eventlog.New(k.log, "text", 0))
}

// content is what the file holds.
func (k *ticketKeysTest) content(t *testing.T) string {
	t.Helper()
	data, err := k.dir.read(ticketKeysFile, ticketKeysMax)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTicketKeysAreReplacedDaily: the newest key is first, and those whose tickets have
// expired are deleted.
func TestTicketKeysAreReplacedDaily(t *testing.T) {
	test := newTicketKeysTest(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := test.load(now)
	for day := range 20 {
		if want := min(day+1, 8); len(k.keys) != want {
			t.Errorf("day %d: got %d keys, want %d", day, len(k.keys), want)
		}
		first := k.keys[0]
		if k.rotate(now.Add(ticketKeyRotation - time.Second)) {
			t.Errorf("day %d: replaced the key before its time", day)
		}
		now = now.Add(ticketKeyRotation)
		if !k.rotate(now) || k.keys[1] != first || !k.keys[0].made.Equal(now) {
			t.Errorf("day %d: got keys %v, want a new one before %v", day, k.keys, first)
		}
	}
	checkMode(t, test.dir.path(ticketKeysFile))
	if _, err := tlsconf.ParseTicketKeys([]byte(test.content(t))); err != nil {
		t.Errorf("as TLS_TICKET_KEYS: %v", err)
	}
}

// TestTicketKeysSurviveARestart, and are replaced at the start if it is time.
func TestTicketKeysSurviveARestart(t *testing.T) {
	test := newTicketKeysTest(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := test.load(now).keys[0]
	written := test.content(t)
	if k := test.load(now.Add(time.Hour)); len(k.keys) != 1 || k.keys[0] != key || test.content(t) != written {
		t.Errorf("after an hour: got %v, want %v", k.keys, key)
	}
	if k := test.load(now.Add(2 * ticketKeyRotation)); len(k.keys) != 2 || k.keys[1] != key {
		t.Errorf("after two days: got %v, want %v second", k.keys, key)
	}
	if k := test.load(now.Add(30 * ticketKeyRotation)); len(k.keys) != 1 {
		t.Errorf("after a month: got %v, want one key", k.keys)
	}
}

// TestTicketKeysFromTheFuture: after a start with a wrong clock, keys are replaced daily all
// the same, and no session is lost.
func TestTicketKeysFromTheFuture(t *testing.T) {
	test := newTicketKeysTest(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := test.load(now.AddDate(10, 0, 0)).keys[0]
	k := test.load(now)
	if len(k.keys) != 2 || k.keys[1].key != key.key || k.keys[1].made.After(now) {
		t.Errorf("got %v, want a new key before %v", k.keys, key)
	}
}

// TestCorruptTicketKeys are kept for examination and replaced.
func TestCorruptTicketKeys(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for name, content := range map[string]string{
		"empty": "", "binary": "\x00\xff", "no time": key, "wrong time": "# made yesterday\n" + key,
		"cut": "# made 2026-03-01T12:00:00Z\n" + key[:20], "too long": strings.Repeat("#\n", ticketKeysMax),
	} {
		t.Run(name, func(t *testing.T) {
			test := newTicketKeysTest(t)
			path := test.dir.path(ticketKeysFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			k := test.load(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			if len(k.keys) != 1 || !strings.Contains(test.content(t), madePrefix) {
				t.Errorf("got keys %v and the file %q, want a new key", k.keys, test.content(t))
			}
			if kept, err := os.ReadFile(path + ".damaged"); string(kept) != content {
				t.Errorf("got %q, %v in the renamed file, want %q", kept, err, content)
			}
			test.log.Await(t, "event=state", ticketKeysFile)
		})
	}
}

// TestSessionsResumeAfterARestart of a gateway with a state directory.
func TestSessionsResumeAfterARestart(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		dir := filepath.Join(t.TempDir(), "state")
		client := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for restarts := range 2 {
			g := start(t, prefix+"STATE_DIR="+dir)
			testbed.DialTLS(t, g.Addr("imaps"), client).Close()
			g.log.Await(t, "event=connection", "resumed="+map[int]string{0: "false", 1: "true"}[restarts])
			g.close()
		}
	}
}

// TestTicketKeysAreReadWhileReplaced, as when an upgrade begins just then.
func TestTicketKeysAreReadWhileReplaced(t *testing.T) {
	k := newTicketKeysTest(t).load(someDay)
	replaced := make(chan struct{})
	go func() {
		defer close(replaced)
		for day := range 20 {
			k.rotate(someDay.Add(time.Duration(day) * ticketKeyRotation))
		}
	}()
	for running := true; running; {
		select {
		case <-replaced:
			running = false
		default:
		}
		if keys, err := parseTicketKeys(k.content()); err != nil || len(keys) == 0 {
			t.Fatalf("got %d keys, %v", len(keys), err)
		}
	}
}
