package loginlog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Stdin is the name of standard input among files.
const Stdin = "-"

// lineMax is the longest line that is read, in octets. A longer one counts as not understood.
const lineMax = 64 << 10

// windowMax is the largest window of a zstd file, in octets: the memory that reading it needs.
const windowMax = 128 << 20

// clockTolerance is how far the clocks of servers may be apart.
const clockTolerance = time.Hour

// A source reads the events of one file, in the order of its lines.
type source struct {
	name   string
	file   io.Closer // nil for standard input
	zstd   *zstd.Decoder
	lines  *bufio.Reader
	number int // of the last line
	parser parser
	stats  *Stats // nil while only the first event is looked for
	err    error  // why there are no more events; io.EOF at the end

	pending pendingEvents // the next ones: lines of a log may be out of order
}

// counted counts what is read from a file before it is decompressed.
type counted struct {
	r     io.Reader
	count *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// openSource opens a file, or takes stdin for Stdin. What is read is added to count.
func openSource(name string, o *Options, count *atomic.Int64) (*source, error) {
	s := &source{name: name}
	s.parser.clock = clock{location: o.Location, reference: o.Now}
	s.parser.latest = o.Now.Add(clockTolerance)
	in := o.Stdin
	if name != Stdin {
		f, err := os.Open(name)
		if err != nil {
			return nil, withoutPath(name, err)
		}
		s.file, in = f, f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.parser.clock.limit(info.ModTime())
		}
	}
	if err := s.decompress(bufio.NewReaderSize(counted{in, count}, lineMax)); err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// withoutPath returns an error of package os that begins with the name of the file.
func withoutPath(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// limit makes t the reference, if it is earlier: a file has no lines that are later than itself.
func (c *clock) limit(t time.Time) {
	if t.Before(c.reference) && t.Unix() > 0 {
		c.reference = t
	}
}

// decompress makes the lines of s those of in, which it decompresses if it begins like a gzip or zstd file.
func (s *source) decompress(in *bufio.Reader) error {
	magic, _ := in.Peek(4) // an error comes again with the first line
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		s.parser.clock.limit(z.ModTime)
		in = bufio.NewReaderSize(z, lineMax)
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowMax))
		if err != nil {
			return err
		}
		s.zstd, in = z, bufio.NewReaderSize(z, lineMax)
	}
	s.lines = in
	return nil
}

// close ends the use of s.
func (s *source) close() {
	if s.zstd != nil {
		s.zstd.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// read returns the next event in the order of the lines. The error is io.EOF at the end, else it has the line.
func (s *source) read() (e Event, err error) {
	for {
		line, long, err := s.line()
		if err != nil {
			return e, s.lineError(err)
		}
		m, err := s.meaning(line, long, &e)
		if err != nil {
			return e, s.lineError(err)
		}
		s.stats.count(s, m, line)
		if m == login {
			return e, nil
		}
		if line == nil {
			return e, io.EOF
		}
	}
}

// lineError adds file and line to an error.
func (s *source) lineError(err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("%s:%d: %w", s.name, s.number+1, err)
}

// line returns the next line without its end, and whether it is longer than lineMax; then it is only the beginning. It
// returns nil at the end of the file.
func (s *source) line() (line []byte, long bool, err error) {
	line, err = s.lines.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, false, nil
	}
	s.number++
	switch err {
	case nil:
		line = line[:len(line)-1]
	case io.EOF:
	case bufio.ErrBufferFull:
		line, long = bytes.Clone(line[:exampleMax]), true
		for err == bufio.ErrBufferFull {
			_, err = s.lines.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, false, err
		}
	default:
		return nil, false, err
	}
	if line == nil {
		line = []byte{}
	}
	return bytes.TrimSuffix(line, []byte("\r")), long, nil
}

// meaning reads a line, nil for the end of the file. It skips the binary content that may follow a line of an export of
// journald.
func (s *source) meaning(line []byte, long bool, e *Event) (m meaning, err error) {
	p := &s.parser
	if p.export == nil && bytes.HasPrefix(line, exportStart) {
		p.export = &record{}
	}
	switch {
	case long:
		if p.export != nil {
			p.export.several = true // the entry is not understood
			return continues, nil
		}
		return obscure, nil
	case p.export == nil && line == nil:
		return other, nil
	case p.export == nil:
		return p.line(line, e), nil
	}
	m, binaryField := p.exported(line, e)
	if !binaryField {
		return m, nil
	}
	if string(line) == "MESSAGE" {
		p.export.several = true
	}
	var size [8]byte
	if _, err := io.ReadFull(s.lines, size[:]); err != nil {
		return obscure, err
	}
	_, err = io.CopyN(io.Discard, s.lines, int64(min(binary.LittleEndian.Uint64(size[:]), 1<<40))+1)
	return m, err
}
