package notices

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"

	"postern/cmd/postern/internal/atomicfile"
	"postern/cmd/postern/internal/notify"
)

// The state file has this header, eight octets that depend on the key, then three parts, each
// after its length in octets: accounts, old passwords, the queue in JSON; and the CRC-32C of
// all that. Numbers are in little endian. Networks are not saved: their counts matter for an
// hour only.
const stateHeader = "postern notices 1\n"

// Octets of one entry, and the most that a file may have.
const (
	accountSize = 8 + 4*3 + 4*4 + (2+4)*placesKept
	oldSize     = 8 + 8 + 4*3
	stateMax    = 1 << 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errOtherKey is the error for a file of another installation.
var errOtherKey = errors.New("it was made under another install key")

// save writes the state file at time t, and returns how many notices it has: none if it
// cannot be written.
func (m *Manager) save(t time.Time) (queued int) {
	if m.config.Path == "" {
		return 0
	}
	data, queued, err := m.encode(t)
	if err == nil {
		err = atomicfile.Write(m.config.Path, data, 0o600)
	}
	m.setResult("save login notices", err)
	if err != nil {
		return 0
	}
	return queued
}

// encode returns the content of the state file, and how many notices it has.
func (m *Manager) encode(t time.Time) (data []byte, queued int, err error) {
	var accounts, old []byte
	for i := range m.shards {
		accounts, old = m.shards[i].appendTo(t, accounts, old)
	}
	notices := m.queue.all()
	text, err := json.Marshal(notices)
	if err != nil {
		return nil, 0, err
	}
	data = binary.LittleEndian.AppendUint64([]byte(stateHeader), m.digest("file", ""))
	for _, part := range [][]byte{accounts, old, text} {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(part)))
		data = append(data, part...)
	}
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli)), len(notices), nil
}

// appendTo encodes the entries of s, without those of old passwords that are forgotten.
func (s *shard) appendTo(t time.Time, accounts, old []byte) (a, o []byte) {
	le := binary.LittleEndian
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.accounts {
		accounts = le.AppendUint64(accounts, uint64(key))
		for _, h := range append([]hour{r.used, r.countrySince, r.systemSince}, r.noticed[:]...) {
			accounts = le.AppendUint32(accounts, uint32(h))
		}
		for i := range placesKept {
			accounts = le.AppendUint16(accounts, r.countries[i])
			accounts = le.AppendUint32(accounts, r.systems[i])
		}
	}
	for key, p := range s.old {
		if t.Sub(time.Unix(int64(p.last), 0)) > oldForgotten {
			delete(s.old, key)
			continue
		}
		old = le.AppendUint64(le.AppendUint64(old, uint64(key.account)), key.network)
		old = le.AppendUint32(le.AppendUint32(le.AppendUint32(old, p.first), p.last), p.tries)
	}
	return accounts, old
}

// load reads the state file, if there is one. One that cannot be used is renamed to
// NAME.damaged.
func (m *Manager) load() error {
	if m.config.Path == "" {
		return nil
	}
	data, err := os.ReadFile(m.config.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read login notices: %w", err)
	}
	if err := m.decode(data); err != nil {
		renamed := m.config.Path + ".damaged"
		err = fmt.Errorf("login notices begin anew, and %s is now %s: %w", m.config.Path, renamed, err)
		return errors.Join(err, os.Rename(m.config.Path, renamed))
	}
	return nil
}

// decode takes what a state file has. After an error nothing of it is used.
func (m *Manager) decode(data []byte) error {
	le, begin, end := binary.LittleEndian, len(stateHeader)+8, len(data)-4
	switch {
	case !bytes.HasPrefix(data, []byte(stateHeader)):
		return fmt.Errorf("got no header, want %q", stateHeader)
	case end < begin || len(data) > stateMax || le.Uint32(data[end:]) != crc32.Checksum(data[:end], castagnoli):
		return fmt.Errorf("wrong checksum of %d octets", len(data))
	case le.Uint64(data[len(stateHeader):]) != m.digest("file", ""):
		return errOtherKey
	}
	var parts [3][]byte
	data = data[begin:end]
	for i := range parts {
		if len(data) < 4 || uint64(len(data)-4) < uint64(le.Uint32(data)) {
			return fmt.Errorf("part %d: got %d octets, want more", i+1, len(data))
		}
		size := 4 + int(le.Uint32(data))
		parts[i], data = data[4:size], data[size:]
	}
	var queued []notify.Notice
	if err := json.Unmarshal(parts[2], &queued); err != nil {
		return err
	}
	if len(data) > 0 || len(parts[0])%accountSize != 0 || len(parts[1])%oldSize != 0 || len(queued) > queueMax {
		return errors.New("wrong length of a part")
	}
	m.decodeAccounts(parts[0])
	m.decodeOld(parts[1])
	m.queue.restore(queued)
	return nil
}

// decodeAccounts takes encoded accounts.
func (m *Manager) decodeAccounts(data []byte) {
	le := binary.LittleEndian
	for ; len(data) > 0; data = data[accountSize:] {
		key := accountKey(le.Uint64(data))
		var r account
		for i, h := range []*hour{&r.used, &r.countrySince, &r.systemSince, &r.noticed[0], &r.noticed[1], &r.noticed[2], &r.noticed[3]} {
			*h = hour(le.Uint32(data[8+4*i:]))
		}
		for i := range placesKept {
			at := data[8+4*7+6*i:]
			r.countries[i], r.systems[i] = le.Uint16(at), le.Uint32(at[2:])
		}
		if s := m.shard(key); len(s.accounts) < max(m.config.Max/shardCount, 1) {
			s.accounts[key] = r
		}
	}
}

// decodeOld takes encoded old passwords.
func (m *Manager) decodeOld(data []byte) {
	le := binary.LittleEndian
	for ; len(data) > 0; data = data[oldSize:] {
		key := oldKey{accountKey(le.Uint64(data)), le.Uint64(data[8:])}
		if s := m.shard(key.account); len(s.old) < oldMax/shardCount {
			s.old[key] = oldPassword{le.Uint32(data[16:]), le.Uint32(data[20:]), le.Uint32(data[24:])}
		}
	}
}
