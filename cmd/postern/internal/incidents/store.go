package incidents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/cmd/postern/internal/atomicfile"
	"postern/limiter/watch"
	"postern/limiter/watch/report"
)

// The files of the state directory. Only postern may read them: the history
// contains addresses and account names.
const (
	incidentsFile     = "incidents.jsonl"
	notificationsFile = "told.jsonl"
	historyDir        = "history" // one file per day in UTC
)

// SnapshotFile is the file of the state directory with what the detector has
// learned, as [watch.Watch.Snapshot] returns it.
const SnapshotFile = "watch.snapshot"

// historyDays is how many days the history is kept.
const historyDays = 35

// store reads and writes the state directory. Without a directory it stores
// nothing, and its methods succeed.
type store struct{ dir string }

// open creates the directory if it is missing.
func (s store) open() error {
	if s.dir == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(s.dir, historyDir), 0o700); err != nil {
		return fmt.Errorf("create state directory: %w", err)
	}
	return nil
}

// check returns an error if the directory cannot be one for open. It creates
// nothing.
func (s store) check() error {
	if s.dir == "" {
		return nil
	}
	switch info, err := os.Stat(s.dir); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("use state directory: %w", err)
	case err == nil && !info.IsDir():
		return fmt.Errorf("use state directory: got a file named %s, want a directory", s.dir)
	}
	return nil
}

// read returns the content of a file, or nil if there is no file.
func (s store) read(name string) ([]byte, error) {
	if s.dir == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return data, nil
}

// appendLines appends each of items to a file as a line of JSON. With sync it
// returns after they are on the disk. If a crash has left an incomplete line at
// the end of the file, that line is ended first.
func appendLines[T any](s store, name string, sync bool, items ...T) (err error) {
	if s.dir == "" || len(items) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("write state file %s: %w", name, err)
		}
	}()
	var lines bytes.Buffer
	if endsMidLine(f) {
		lines.WriteByte('\n')
	}
	encoder := json.NewEncoder(&lines)
	for _, item := range items {
		if err := encoder.Encode(item); err != nil {
			return err
		}
	}
	if _, err := f.Write(lines.Bytes()); err != nil || !sync {
		return err
	}
	return f.Sync()
}

// endsMidLine reports whether f ends with an incomplete line.
func endsMidLine(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := []byte{0}
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// parseLines calls each with every line of JSON in data and returns how many lines
// it skipped because they do not parse.
func parseLines[T any](data []byte, each func(T)) (skipped int) {
	for line := range bytes.Lines(data) {
		var item T
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case json.Unmarshal(line, &item) != nil:
			skipped++
		default:
			each(item)
		}
	}
	return skipped
}

// replace replaces the content of a file atomically.
func (s store) replace(name string, data []byte) error {
	if s.dir == "" {
		return nil
	}
	if err := atomicfile.Write(filepath.Join(s.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("write state file %s: %w", name, err)
	}
	return nil
}

// historyLine is one line of the history: a minute or an hour.
type historyLine struct {
	Minute *watch.Minute `json:"minute,omitempty"`
	Hour   *watch.Hour   `json:"hour,omitempty"`
}

// historyFile is the name of the history file for the day of t.
func historyFile(t time.Time) string {
	return filepath.Join(historyDir, t.UTC().Format(time.DateOnly)+".jsonl")
}

// loadHistory reads the history before t into h, and deletes files that are too
// old. It returns how many lines it skipped because they do not parse.
func (s store) loadHistory(t time.Time, h *report.History) (skipped int, err error) {
	s.deleteExpired(t)
	paths, err := filepath.Glob(filepath.Join(s.dir, historyDir, "*.jsonl"))
	if s.dir == "" || err != nil {
		return 0, err
	}
	slices.Sort(paths)
	for _, path := range paths {
		data, err := s.read(filepath.Join(historyDir, filepath.Base(path)))
		if err != nil {
			return skipped, err
		}
		skipped += parseLines(data, func(p historyLine) {
			if p.Minute != nil {
				h.AddMinute(*p.Minute)
			}
			if p.Hour != nil {
				h.AddHour(*p.Hour)
			}
		})
	}
	return skipped, nil
}

// deleteExpired deletes the files that are too old at time t.
func (s store) deleteExpired(t time.Time) {
	oldest := filepath.Base(historyFile(t.AddDate(0, 0, -historyDays)))
	entries, err := os.ReadDir(filepath.Join(s.dir, historyDir))
	if s.dir == "" || err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() < oldest {
			os.Remove(filepath.Join(s.dir, historyDir, e.Name()))
		}
	}
}
