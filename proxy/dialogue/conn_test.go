package dialogue

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name, in string
		limit    int
		want     string
		err      error
	}{
		{"exactly the limit", "abc\r\n", 5, "abc", nil},
		{"one more", "abcd\r\n", 5, "", ErrTooLong},
		{"the CR is the last that fits", "abcd\r", 5, "", ErrTooLong},
		{"exactly the limit, bare LF", "abcd\n", 5, "abcd", nil},
		{"one more, bare LF", "abcde\n", 5, "", ErrTooLong},
		{"the limit without an end", "abcde", 5, "", ErrTooLong},
		{"only the last CR belongs to the end", "a\r\r\n", 9, "a\r", nil},
		{"a bare CR is no end", "a\rb\n", 9, "a\rb", nil},
		{"a NUL is an octet", "a\x00b\r\n", 9, "a\x00b", nil},
		{"empty", "\r\n", 9, "", nil},
		{"empty, bare LF", "\n", 9, "", nil},
		{"nothing", "", 9, "", io.EOF},
		{"the middle of a line", "abc", 9, "", io.ErrUnexpectedEOF},
		{"the middle of an end", "abc\r", 9, "", io.ErrUnexpectedEOF},
		{"fills the read buffer", x(bufferSize-1) + "\n", maxLine, x(bufferSize - 1), nil},
		{"its LF just beyond the read buffer", x(bufferSize) + "\n", maxLine, x(bufferSize), nil},
		{"the longest command", x(maxLine-2) + "\r\n", maxLine, x(maxLine - 2), nil},
		{"a command one too long", x(maxLine-1) + "\r\n", maxLine, "", ErrTooLong},
		{"the longest of an exchange", x(maxSASL-2) + "\r\n", maxSASL, x(maxSASL - 2), nil},
		{"the middle of a long one", x(bufferSize + 9), maxLine, "", io.ErrUnexpectedEOF},
		{"no end in sight", x(maxLine), maxLine, "", ErrTooLong},
	}
	for _, tt := range tests {
		for how, w := range map[string]*wire{"at once": peerSends(tt.in), "dripped": peerSendsBytes(tt.in)} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				line, err := NewConn(w).readLine(tt.limit)
				if string(line) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %q, %v", line, err)
				}
			})
		}
	}
}

// TestReadLineKeepsTheRest reads lines of all lengths one after the other:
// none may lose or repeat an octet of the next.
func TestReadLineKeepsTheRest(t *testing.T) {
	sizes := []int{0, 1, 5000, 2, bufferSize - 2, bufferSize - 1, bufferSize, 3, 8000, 0, 7}
	var in strings.Builder
	for i, n := range sizes {
		in.WriteString(strings.Repeat(string(rune('a'+i)), n) + "\r\n")
	}
	c := NewConn(peerSends(in.String()))
	for i, n := range sizes {
		line, err := c.readLine(maxLine)
		if want := strings.Repeat(string(rune('a'+i)), n); string(line) != want || err != nil {
			t.Errorf("line %d: got %d octets, %v; want %d", i, len(line), err, n)
		}
	}
}

// countingReader never ends, and counts what is read from it.
type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	r.n += len(p)
	return len(p), nil
}

func TestEndlessLineIsNotRead(t *testing.T) {
	endless := &countingReader{}
	c := NewConn(&wire{in: endless})
	if _, err := c.readLine(maxLine); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v", err)
	}
	if endless.n > maxLine+bufferSize {
		t.Errorf("%d octets were read", endless.n)
	}
}

func TestReadLineError(t *testing.T) {
	c := NewConn(&wire{in: io.MultiReader(strings.NewReader("abc"), errReader{})})
	if _, err := c.readLine(maxLine); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errClosed }

func TestBudget(t *testing.T) {
	c := NewConn(peerSends("abc\r\nabc\r\nx"))
	c.budget = 10
	for range 2 {
		if _, err := c.readLine(maxLine); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.readLine(maxLine); !errors.Is(err, ErrTooLong) {
		t.Errorf("one octet over the budget: got %v", err)
	}

	c = NewConn(peerSends("abcdefghijk"))
	c.budget = 10
	if b, err := c.readFull(10); string(b) != "abcdefghij" || err != nil {
		t.Errorf("exactly the budget: got %q, %v", b, err)
	}
	if _, err := c.readFull(1); !errors.Is(err, ErrTooLong) {
		t.Errorf("one octet more: got %v", err)
	}
}

// TestBudgetIsPerConnection counts lines and literals together, over a Restart.
func TestBudgetIsPerConnection(t *testing.T) {
	c := NewConn(peerSends(strings.Repeat("x", maxBudget/2-2) + "\r\n"))
	if _, err := c.readFull(maxBudget/2 - 2); err != nil {
		t.Fatal(err)
	}
	if _, err := c.readLine(maxLine); err != nil {
		t.Fatal(err)
	}
	c.Restart(peerSends(strings.Repeat("x", maxBudget)))
	if _, err := c.readFull(maxBudget/2 + 1); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestReadFullEndsEarly(t *testing.T) {
	if _, err := NewConn(peerSends("ab")).readFull(3); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if _, err := NewConn(peerSends("")).readFull(3); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestFill(t *testing.T) {
	c := NewConn(peerSendsBytes("ab\r\ncd"))
	for want := 1; want <= 6; want++ {
		if err := c.Fill(); err != nil || c.Buffered() != want {
			t.Fatalf("%d octets are buffered, %v; want %d", c.Buffered(), err, want)
		}
	}
	if err := c.Fill(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last octet: got %v", err)
	}
	if line, err := c.readLine(maxLine); string(line) != "ab" || err != nil {
		t.Errorf("the line in the buffer: got %q, %v", line, err)
	}
	if rest := c.Rest(); string(rest) != "cd" {
		t.Errorf("the rest: got %q", rest)
	}
}

func TestFillStopsWhenFull(t *testing.T) {
	inner := peerSends(strings.Repeat("a", bufferSize) + "b")
	c := NewConn(inner)
	if err := c.Fill(); err != nil || c.Buffered() != bufferSize {
		t.Fatalf("%d octets are buffered, %v", c.Buffered(), err)
	}
	if err := c.Fill(); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	if rest := c.Rest(); string(rest) != strings.Repeat("a", bufferSize) {
		t.Errorf("the rest has %d octets", len(rest))
	}
	if beyond, _ := io.ReadAll(inner); string(beyond) != "b" {
		t.Errorf("the inner connection holds %q", beyond)
	}
}

// TestRelease releases the buffer after each line: no octet is lost, and the buffer
// is wiped.
func TestRelease(t *testing.T) {
	c := NewConn(peerSendsParts("one\r\n", "two\r\nthr", "ee\r\n", strings.Repeat("x", bufferSize)+"\r\n"))
	for _, want := range []string{"one", "two", "three", strings.Repeat("x", bufferSize)} {
		if line, err := c.readLine(maxLine); string(line) != want || err != nil {
			t.Errorf("got %q, %v", line, err)
		}
		held, ahead := c.buffer, c.Buffered()
		c.Release()
		switch {
		case c.Buffered() != ahead:
			t.Errorf("after %[3]q: %[1]d octets of %[2]d are buffered", c.Buffered(), ahead, want)
		case ahead > 0 && c.buffer != held:
			t.Errorf("a buffer with %d octets was released", ahead)
		case ahead == 0 && (c.buffer != nil || c.long != nil || *held != buffer{}):
			t.Errorf("after %q: the buffer is kept, or was released without a wipe", want)
		}
	}
	c.Release()
	if err := c.Fill(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last line: got %v", err)
	}
}

func TestRestIsACopy(t *testing.T) {
	c := NewConn(peerSends("line\r\nsession"))
	if _, err := c.readLine(maxLine); err != nil {
		t.Fatal(err)
	}
	held := c.buffer
	if rest := c.Rest(); string(rest) != "session" || *held != (buffer{}) || c.buffer != nil {
		t.Errorf("got %q, and the buffer was given back as it was, or not at all", rest)
	}
	if rest := c.Rest(); rest != nil {
		t.Errorf("got %q, want nothing", rest)
	}
}

func TestRead(t *testing.T) {
	c := NewConn(peerSends("line\r\nsession"))
	if _, err := c.readLine(maxLine); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); string(rest) != "session" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestRestartResets(t *testing.T) {
	before, after := peerSends("one\r\nin clear text\r\n"), peerSends("two\r\n")
	c := NewConn(before)
	c.sentCapabilities, c.badCommands = true, 2
	if _, err := c.readLine(maxLine); err != nil {
		t.Fatal(err)
	}
	c.Restart(after)
	if c.Buffered() != 0 || c.sentCapabilities {
		t.Errorf("%d octets are buffered, sentCapabilities is %v", c.Buffered(), c.sentCapabilities)
	}
	if c.badCommands != 2 {
		t.Errorf("%d bad commands are remembered", c.badCommands)
	}
	if line, err := c.readLine(maxLine); string(line) != "two" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	if err := c.writeLine("hello"); err != nil || after.out.String() != "hello\r\n" || before.out.Len() > 0 {
		t.Errorf("wrote %q before and %q after, %v", before.out.String(), after.out.String(), err)
	}
}

func TestLineIsOneWrite(t *testing.T) {
	w := peerSends("")
	c := NewConn(w)
	if err := c.writeEncoded([]byte("user"), "c", "a ", "", "b "); err != nil || w.out.String() != "a b "+b64("user")+"c\r\n" || w.writes != 1 {
		t.Errorf("wrote %q in %d writes, %v", w.out.String(), w.writes, err)
	}
	*w = wire{}
	if err := c.writeLine("a ", "", "b"); err != nil || w.out.String() != "a b\r\n" || w.writes != 1 {
		t.Errorf("wrote %q in %d writes, %v", w.out.String(), w.writes, err)
	}
	c.BeforeWrite = func() {
		if w.writes++; w.writes != 2 {
			t.Errorf("BeforeWrite called at write %d", w.writes)
		}
	}
	if err := c.writeLine("c"); err != nil || w.out.String() != "a b\r\nc\r\n" || w.writes != 3 {
		t.Errorf("BeforeWrite called late, or not once: wrote %q, %v", w.out.String(), err)
	}
	c.BeforeWrite = nil
	w.out.Reset()
	if long := strings.Repeat("x", 2*bufferSize); c.writeLine(long, "y") != nil || w.out.String() != long+"y\r\n" || w.writes != 4 {
		t.Errorf("wrote %q in %d writes", w.out.String(), w.writes)
	}
	w.failAt = 1
	if err := c.writeLine("a"); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}

func TestCountBadCommand(t *testing.T) {
	var c Conn
	for i, want := range []bool{false, false, true, true} {
		if got := c.countBadCommand(); got != want {
			t.Errorf("bad command %d: %v", i+1, got)
		}
	}
}
