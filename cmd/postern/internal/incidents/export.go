package incidents

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
	"postern/limiter/watch/report"
)

// ErrHandOver is the cause that Run's context must have ended with for a hand-over:
// then Run saves nothing at its end, because the next process goes on from there.
// From Export on it is also the reason to refuse a change, which that process would
// not have.
var ErrHandOver = errors.New("another process is taking over the incidents")

// errHandedOver refuses a change.
var errHandedOver = fmt.Errorf("%w: try again", ErrHandOver)

// An export has this text, for each part its length in four octets and so many
// octets, and the CRC-32C of all of it in four octets. Numbers are in little endian.
const (
	exportPrefix  = "postern incidents "
	exportVersion = 1
	exportParts   = 4 // the detector, incidents, the history, and a managerImage
)

// exportMax bounds an export.
const exportMax = 1 << 29

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// exportHeader is what an export of a version begins with.
func exportHeader(version int) string { return fmt.Sprintf("%s%d\n", exportPrefix, version) }

// managerImage is the state of a Manager without that of its parts, in an export.
type managerImage struct {
	State         watch.State              `json:"state"`
	Notifications []notification           `json:"notifications"`
	Stats         Stats                    `json:"stats"`
	Failures      map[string]failureImage  `json:"failures"`
	Saved         time.Time                `json:"saved"`
	Follows       bool                     `json:"follows,omitempty"`
	Receivers     map[string]receiverImage `json:"receivers"` // by name
}

// failureImage is a failure in an export.
type failureImage struct {
	Since time.Time `json:"since"`
	Err   string    `json:"error"`
}

// receiverImage is the state of a receiver in an export.
type receiverImage struct {
	Backoff time.Duration `json:"backoff"`
	RetryAt time.Time     `json:"retry_at"`
	Sent    []sentImage   `json:"sent"`
}

// sentImage is an alert that was sent to Alertmanager.
type sentImage struct {
	Incident string      `json:"incident"`
	Class    watch.Class `json:"class"`
	Time     time.Time   `json:"time"`
}

// Export returns the whole state of m at time t, for Config.Former of the next
// process. Run must have returned. From then on Do and Merge are refused, until Run
// is called again because the hand-over has failed.
func (m *Manager) Export(t time.Time) ([]byte, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.running {
		return nil, errors.New("export incidents: Run has not returned")
	}
	log, err := m.incidents.Export()
	if err != nil {
		return nil, err
	}
	own, err := json.Marshal(m.image())
	if err != nil {
		return nil, fmt.Errorf("export incidents: %w", err)
	}
	data := []byte(exportHeader(exportVersion))
	for _, part := range [exportParts][]byte{m.watch.Export(t), log, m.history.Export(), own} {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(part)))
		data = append(data, part...)
	}
	if len(data) > exportMax {
		return nil, fmt.Errorf("export incidents: got %d octets, want at most %d", len(data), exportMax)
	}
	m.handedOver = true
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli)), nil
}

// Retire frees the history, after the next process has taken over. Run must not be
// called again. Observations are still forwarded.
func (m *Manager) Retire() { m.history.Clear() }

// image returns the state of m without that of its parts. Run has returned, so
// nothing else uses the receivers.
func (m *Manager) image() managerImage {
	stats := m.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	i := managerImage{
		State: m.state, Notifications: m.notifications, Stats: stats, Saved: m.saved, Follows: m.follows,
		Failures: map[string]failureImage{}, Receivers: map[string]receiverImage{},
	}
	for what, f := range m.failures {
		i.Failures[what] = failureImage{f.since, f.err.Error()}
	}
	for _, r := range m.receivers {
		image := receiverImage{Backoff: r.backoff, RetryAt: r.retryAt}
		for key, at := range r.sent {
			image.Sent = append(image.Sent, sentImage{key.incident, key.class, at})
		}
		i.Receivers[r.name] = image
	}
	return i
}

// load sets the state of m to an export.
func (m *Manager) load(t time.Time, data []byte) error {
	parts, err := splitExport(data)
	if err != nil {
		return fmt.Errorf("take over the incidents: %w", err)
	}
	var own managerImage
	if err := json.Unmarshal(parts[3], &own); err != nil {
		return fmt.Errorf("take over the incidents: %w", err)
	}
	if err := m.watch.Import(t, parts[0]); err != nil {
		return err
	}
	if m.incidents, err = incident.Import(parts[1], m.hold()); err != nil {
		return err
	}
	if m.history, err = report.ImportHistory(parts[2]); err != nil {
		return err
	}
	m.state, m.notifications, m.stats, m.saved, m.follows = own.State, own.Notifications, own.Stats, own.Saved, own.Follows
	for what, f := range own.Failures {
		m.failures[what] = failure{f.Since, errors.New(f.Err)}
	}
	for _, r := range m.receivers {
		image := own.Receivers[r.name]
		r.backoff, r.retryAt = min(max(image.Backoff, 0), retryMax), image.RetryAt
		for _, s := range image.Sent {
			r.sent[alertKey{s.Incident, s.Class}] = s.Time
		}
	}
	return nil
}

// splitExport checks an export and returns its parts.
func splitExport(data []byte) (parts [exportParts][]byte, err error) {
	header, body := exportHeader(exportVersion), len(data)-4
	if !bytes.HasPrefix(data, []byte(header)) {
		got, _, _ := bytes.Cut(data[:min(len(data), len(header)+8)], []byte("\n"))
		return parts, fmt.Errorf("state of another version: got %q, want %q", got, header[:len(header)-1])
	}
	if body < len(header) || len(data) > exportMax+4 || binary.LittleEndian.Uint32(data[body:]) != crc32.Checksum(data[:body], castagnoli) {
		return parts, fmt.Errorf("wrong checksum of %d octets", len(data))
	}
	data = data[len(header):body]
	for i := range parts {
		if len(data) < 4 || uint64(len(data)-4) < uint64(binary.LittleEndian.Uint32(data)) {
			return parts, fmt.Errorf("part %d: got %d octets, want more", i+1, len(data))
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		parts[i], data = data[4:end], data[end:]
	}
	if len(data) > 0 {
		return parts, fmt.Errorf("got %d octets after the last part, want none", len(data))
	}
	return parts, nil
}
