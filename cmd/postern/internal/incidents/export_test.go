package incidents

import (
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// discard is a log that nobody reads.
var discard = slog.New(slog.DiscardHandler)

// withChecksum returns data with its last four octets replaced by the checksum of the
// others.
func withChecksum(data []byte) []byte {
	body := len(data) - 4
	binary.LittleEndian.PutUint32(data[body:], crc32.Checksum(data[:body], castagnoli))
	return data
}

// exported is an export with an incident.
func exported(t testing.TB) []byte {
	m, err := New(noon, Config{Location: cest, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Do(noon, incident.Command{Action: incident.ActOpen, Class: watch.ClassAttack, By: "anna"}); err != nil {
		t.Fatal(err)
	}
	data, err := m.Export(noon)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRefusesInvalidFormer: the error says what is wrong; an operator reads it when an
// upgrade is refused.
func TestRefusesInvalidFormer(t *testing.T) {
	good := string(exported(t))
	for _, c := range []struct{ name, data, want string }{
		{"nothing", "", `state of another version: got "", want "postern incidents 1"`},
		{"another version", strings.Replace(good, "incidents 1\n", "incidents 2\n", 1), `got "postern incidents 2", want "postern incidents 1"`},
		{"another version of the detector", strings.Replace(good, "export 3\n", "export 4\n", 1), `got "postern watch export 4", want "postern watch export 3"`},
		{"a changed bit", strings.Replace(good, "anna", "Anna", 1), "checksum"},
		{"cut", good[:len(good)-9], "octets"},
		{"longer", good + "more", "after the last part"},
		{"a changed incident", strings.Replace(good, `"phase":"detected"`, `"phase":"detectee"`, 1), "import the incidents"},
	} {
		data := []byte(c.data)
		if c.name != "a changed bit" && len(data) > 4 {
			data = withChecksum(data)
		}
		if _, err := New(noon, Config{Former: data, Location: cest, Log: discard}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestExportNeedsStop: while Run goes on, there is no consistent export.
func TestExportNeedsStop(t *testing.T) {
	m, _ := newManager(t, Config{})
	m.setRunning(true)
	if _, err := m.Export(noon); err == nil || !strings.Contains(err.Error(), "Run has not returned") {
		t.Errorf("got %v", err)
	}
}

// FuzzFormer: no export makes New panic. The data are the part of the Manager itself.
func FuzzFormer(f *testing.F) {
	good := exported(f)
	parts, err := splitExport(good)
	if err != nil {
		f.Fatal(err)
	}
	before := good[:len(good)-4-len(parts[3])-4]
	f.Add(parts[3])
	f.Add([]byte(`{"receivers":{"x":{"backoff":-1}},"stats":{"Sent":null}}`))
	f.Fuzz(func(_ *testing.T, own []byte) {
		data := binary.LittleEndian.AppendUint32(append([]byte(nil), before...), uint32(len(own)))
		data = withChecksum(append(append(data, own...), "sum."...))
		m, err := New(noon, Config{Former: data, Location: cest, Log: discard})
		if err != nil {
			return
		}
		m.tick(at(1))
		m.Stats()
		m.Failures(at(5))
		m.All()
	})
}
