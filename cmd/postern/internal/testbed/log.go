package testbed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is a log that a test can wait on.
type Log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and replaced at every write
}

// NewLog returns an empty Log.
func NewLog() *Log { return &Log{written: make(chan struct{})} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.written)
	l.written = make(chan struct{})
	return l.text.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Await returns the first line that holds every one of parts, once it is
// written.
func (l *Log) Await(t *testing.T, parts ...string) string {
	t.Helper()
	return l.AwaitFor(t, Patience, parts...)
}

// AwaitFor is Await for what takes its time.
func (l *Log) AwaitFor(t *testing.T, patience time.Duration, parts ...string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		text, written := l.text.String(), l.written
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && holdsAll(line, parts) {
				return line
			}
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("no line with %q in\n%s", parts, text)
		}
	}
}

func holdsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// ParseLine parses one log line, in the format json or text, into its fields, in
// order. It accepts what package slog writes and nothing else.
func ParseLine(format, line string) (keys []string, fields map[string]string, err error) {
	if format == "json" {
		return parseJSON(line)
	}
	fields = map[string]string{}
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			return nil, nil, fmt.Errorf("no field in %q", line)
		}
		value, after, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, nil, err
			}
			after = strings.TrimPrefix(rest[len(quoted):], " ")
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, nil, err
			}
		}
		keys, fields[key], line = append(keys, key), value, after
	}
	return keys, fields, nil
}

// parseJSON is ParseLine for one object.
func parseJSON(line string) (keys []string, fields map[string]string, err error) {
	fields = map[string]string{}
	d := json.NewDecoder(strings.NewReader(line))
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		value, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, key.(string))
		fields[key.(string)] = fmt.Sprint(value)
	}
	return keys, fields, nil
}
