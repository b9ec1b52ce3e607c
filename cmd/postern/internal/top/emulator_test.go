package top

import (
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/term"

	"postern/cmd/postern/internal/testbed"
)

// terminal is a terminal of 80x24 with an emulator of its screen.
type terminal struct {
	master, slave *os.File
	before        *term.State

	mu       sync.Mutex
	emulator *vt.Emulator  // only reading its answers needs no lock
	changed  chan struct{} // closed at the next output
	output   strings.Builder
}

// newTerminal returns a terminal that ends with the test.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{master: master, slave: slave, emulator: vt.NewEmulator(80, 24), changed: make(chan struct{})}
	s.resize(t, 80, 24)
	if s.before, err = term.GetState(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	var copies sync.WaitGroup
	copies.Go(func() { // answers of the terminal; ends when its pipe is closed
		_, _ = io.Copy(master, s.emulator)
	})
	copies.Go(func() { // ends with an error when the master is closed
		_, _ = io.Copy(s, master)
	})
	t.Cleanup(func() {
		slave.Close()
		master.Close()
		s.emulator.InputPipe().(io.Closer).Close() // Close of the emulator itself is not safe while it is read
		copies.Wait()
	})
	return s
}

// Write takes output.
func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.emulator.Write(p)
	s.output.Write(p)
	close(s.changed)
	s.changed = make(chan struct{})
	return n, err
}

// resize changes the size of the terminal.
func (s *terminal) resize(t *testing.T, width, height int) {
	t.Helper()
	s.mu.Lock()
	s.emulator.Resize(width, height)
	s.mu.Unlock()
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
}

// screen is the text that is on the screen.
func (s *terminal) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.emulator.String()
}

// written is all output so far.
func (s *terminal) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

// isAltScreen reports whether the alternate screen is shown.
func (s *terminal) isAltScreen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.emulator.IsAltScreen()
}

// await waits until the screen has a text.
func (s *terminal) await(t *testing.T, what string, ok func(screen string) bool) {
	t.Helper()
	late := time.After(testbed.Patience)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if ok(s.screen()) {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: got\n%s", what, s.screen())
		}
	}
}

// shows waits until the screen has these texts.
func (s *terminal) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		s.await(t, text, func(screen string) bool { return strings.Contains(screen, text) })
	}
}

// press sends keys.
func (s *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// checkRestored checks that the terminal is as before.
func (s *terminal) checkRestored(t *testing.T) {
	t.Helper()
	s.await(t, "the first screen again", func(string) bool { return !s.isAltScreen() })
	after, err := term.GetState(int(s.slave.Fd()))
	if err != nil || !reflect.DeepEqual(after, s.before) {
		t.Errorf("termios: got %v, want %v: %v", after, s.before, err)
	}
	output := s.written()
	for on, off := range map[string]string{
		"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?2004h": "\x1b[?2004l", "\x1b[>1u": "\x1b[<1u", "\x1b[?2027h": "\x1b[?2027l",
	} {
		if strings.LastIndex(output, on) > strings.LastIndex(output, off) {
			t.Errorf("%q was not taken back", on)
		}
	}
}
