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

// The files of the state folder. All are for the operators' eyes alone: the
// history names addresses and accounts.
const (
	incidentsFile = "incidents.jsonl"
	toldFile      = "told.jsonl"
	historyDir    = "history" // one file for each day in UTC
)

// LearnedFile is the file of the state folder with what the watch has learned,
// as [watch.Watch.Snapshot] gives it.
const LearnedFile = "watch.snapshot"

// historyDays is for how long the history is kept.
const historyDays = 35

// keeper reads and writes the state folder. With no folder it forgets
// everything, without an error.
type keeper struct{ dir string }

// open makes the folder if need be.
func (k keeper) open() error {
	if k.dir == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(k.dir, historyDir), 0o700); err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	return nil
}

// read returns a file, or nothing if there is none.
func (k keeper) read(name string) ([]byte, error) {
	if k.dir == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return data, nil
}

// add writes each of items as a line of JSON to the end of a file. With sync it
// returns only when they are on the disk. A line that a crash has cut short is
// ended first, so that it spoils no other.
func add[T any](k keeper, name string, sync bool, items ...T) (err error) {
	if k.dir == "" || len(items) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(k.dir, name), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("keep state in %s: %w", name, err)
		}
	}()
	var lines bytes.Buffer
	if cutShort(f) {
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

// cutShort reports whether f does not end with the end of a line.
func cutShort(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := []byte{0}
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// lines reads lines of JSON, and counts those it cannot.
func lines[T any](data []byte, each func(T)) (bad int) {
	for line := range bytes.Lines(data) {
		var item T
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case json.Unmarshal(line, &item) != nil:
			bad++
		default:
			each(item)
		}
	}
	return bad
}

// replace puts data in the place of a file, whole or not at all.
func (k keeper) replace(name string, data []byte) error {
	if k.dir == "" {
		return nil
	}
	if err := atomicfile.Write(filepath.Join(k.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("keep state in %s: %w", name, err)
	}
	return nil
}

// past is one line of the history: a minute or an hour.
type past struct {
	Minute *watch.Minute `json:"minute,omitempty"`
	Hour   *watch.Hour   `json:"hour,omitempty"`
}

// day is the name of the history's file for time t.
func day(t time.Time) string {
	return filepath.Join(historyDir, t.UTC().Format(time.DateOnly)+".jsonl")
}

// history reads into h what is kept of the days before t, and deletes what is
// too old.
func (k keeper) history(t time.Time, h *report.History) (bad int, err error) {
	k.expire(t)
	paths, err := filepath.Glob(filepath.Join(k.dir, historyDir, "*.jsonl"))
	if k.dir == "" || err != nil {
		return 0, err
	}
	slices.Sort(paths)
	for _, path := range paths {
		data, err := k.read(filepath.Join(historyDir, filepath.Base(path)))
		if err != nil {
			return bad, err
		}
		bad += lines(data, func(p past) {
			if p.Minute != nil {
				h.AddMinute(*p.Minute)
			}
			if p.Hour != nil {
				h.AddHour(*p.Hour)
			}
		})
	}
	return bad, nil
}

// expire deletes the days that are too old at time t.
func (k keeper) expire(t time.Time) {
	oldest := filepath.Base(day(t.AddDate(0, 0, -historyDays)))
	entries, err := os.ReadDir(filepath.Join(k.dir, historyDir))
	if k.dir == "" || err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() < oldest {
			os.Remove(filepath.Join(k.dir, historyDir, e.Name()))
		}
	}
}
