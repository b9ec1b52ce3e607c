package daemon

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/tlsconf"
)

// ticketKeysFile in STATE_DIR has the session ticket keys, so that clients resume their
// TLS sessions, and keep their devices, over a restart. Its format is that of
// TLS_TICKET_KEYS. A comment before each key says when it was made.
const ticketKeysFile = "ticket-keys"

// How long a ticket key encrypts new tickets, how long it decrypts, and how often the age
// is checked. A key is kept for a week longer than it encrypts: a ticket is valid for a
// week.
const (
	ticketKeyRotation = 24 * time.Hour
	ticketKeyLifetime = 8 * 24 * time.Hour
	ticketKeyCheck    = time.Hour
)

// ticketKeysMax is the largest ticketKeysFile that is read, in octets.
const ticketKeysMax = 1 << 16

// ticketKey is a session ticket key and the time when it was made.
type ticketKey struct {
	made time.Time
	key  [32]byte
}

// ticketKeys keeps session ticket keys on disk and replaces them daily. It is for a
// gateway without TLS_TICKET_KEYS.
type ticketKeys struct {
	dir    stateDir // empty if there is none
	source *tlsconf.Source
	log    *eventlog.Log

	mu   sync.Mutex  // an upgrade reads the keys while they may be replaced
	keys []ticketKey // the newest first
}

// loadTicketKeys gives source the keys that were passed by another process, else those of
// dir. If these are corrupt, new keys replace them, and no session of before the start
// resumes.
func loadTicketKeys(now time.Time, dir stateDir, passed []byte, source *tlsconf.Source, log *eventlog.Log) *ticketKeys {
	k := &ticketKeys{dir: dir, source: source, log: log}
	data, err := passed, error(nil)
	if data == nil && dir != "" {
		data, err = dir.read(ticketKeysFile, ticketKeysMax)
	}
	if err == nil && data != nil {
		k.keys, err = parseTicketKeys(data)
	}
	if err != nil {
		dir.discard(ticketKeysFile, err, log)
	}
	if !k.rotate(now) {
		k.install()
	}
	return k
}

// rotate makes a new key if the newest is a day old, or is from the future because the
// clock was wrong, and deletes expired ones. It reports whether it did. A key that cannot
// be saved is used until the restart.
func (k *ticketKeys) rotate(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) > 0 && !k.keys[0].made.After(now) && now.Sub(k.keys[0].made) < ticketKeyRotation {
		return false
	}
	next := ticketKey{made: now}
	rand.Read(next.key[:])
	keys := []ticketKey{next}
	for _, former := range k.keys {
		if former.made.After(now) {
			former.made = now
		}
		if now.Sub(former.made) < ticketKeyLifetime {
			keys = append(keys, former)
		}
	}
	k.keys = keys
	k.install()
	if k.dir == "" {
		return true
	}
	if err := k.dir.write(ticketKeysFile, format(k.keys)); err != nil {
		k.log.Error("cannot save session ticket keys", slog.String("event", "state"), slog.String("file", k.dir.path(ticketKeysFile)), eventlog.Error(err))
	}
	return true
}

// install gives the source the keys.
func (k *ticketKeys) install() {
	var keys [][32]byte
	for _, key := range k.keys {
		keys = append(keys, key.key)
	}
	k.source.SetTicketKeys(keys)
}

// madePrefix begins the line before a key.
const madePrefix = "# made "

// content is that of the file.
func (k *ticketKeys) content() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return format(k.keys)
}

// format returns the content of a file with keys.
func format(keys []ticketKey) []byte {
	var text bytes.Buffer
	for _, key := range keys {
		fmt.Fprintf(&text, "%s%s\n%s\n", madePrefix, key.made.UTC().Format(time.RFC3339), base64.StdEncoding.EncodeToString(key.key[:]))
	}
	return text.Bytes()
}

// parseTicketKeys parses the content of the file.
func parseTicketKeys(data []byte) ([]ticketKey, error) {
	keys, err := tlsconf.ParseTicketKeys(data)
	if err != nil {
		return nil, err
	}
	var times []time.Time
	for line := range strings.Lines(string(data)) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), madePrefix)
		if !ok {
			continue
		}
		made, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, errors.New("got a malformed time of a key, want one as in RFC 3339")
		}
		times = append(times, made)
	}
	if len(times) != len(keys) {
		return nil, fmt.Errorf("got %d times for %d keys, want one for each key", len(times), len(keys))
	}
	all := make([]ticketKey, len(keys))
	for i := range keys {
		all[i] = ticketKey{times[i], keys[i]}
	}
	return all, nil
}
