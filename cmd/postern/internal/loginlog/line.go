package loginlog

import (
	"bytes"
	"time"
)

// A parser reads the lines of one file.
type parser struct {
	clock  clock
	latest time.Time // a login after this is not possible
	export *record   // of journalctl -o export, if the file is that
}

// line reads one line. It sets e if the line is a login.
func (p *parser) line(line []byte, e *Event) meaning {
	*e = Event{}
	m := p.read(line, e)
	return p.check(m, e)
}

// check returns the meaning m of a line, unless it is a login of the future.
func (p *parser) check(m meaning, e *Event) meaning {
	if m == login && e.At.After(p.latest) {
		return obscure
	}
	return m
}

// read is line without the check.
func (p *parser) read(line []byte, e *Event) meaning {
	switch {
	case len(line) == 0:
		return other
	case line[0] == '{':
		return p.json(line, e)
	case bytes.HasPrefix(line, []byte("ts=")):
		return posternText(line, &p.clock, e)
	case line[0] == '<':
		var structured bool
		if line, structured = cutPriority(line); structured {
			return p.structured(line, e)
		}
	}
	t, rest, ok := p.clock.syslog(line)
	if !ok {
		t, rest, ok = p.clock.iso(line)
	}
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return obscure
	}
	e.At, rest = t, rest[1:]
	if message, ok := cutService(rest); ok { // Dovecot's own log file
		if message, ok = bytes.CutPrefix(message, []byte("Info: ")); !ok {
			return other
		}
		return dovecot(message, e)
	}
	program, message := cutTag(rest)
	return p.message(program, message, e)
}

// cutPriority cuts the priority, such as <22>, off a line of syslog. structured says that the rest of the line is of RFC
// 5424, of which the version is cut off, too.
func cutPriority(line []byte) (rest []byte, structured bool) {
	end := bytes.IndexByte(line, '>')
	if _, ok := number(line[1:max(1, end)]); !ok {
		return line, false
	}
	rest = line[end+1:]
	if after, ok := bytes.CutPrefix(rest, []byte("1 ")); ok {
		return after, true
	}
	return rest, false
}

// structured reads a line of RFC 5424: time, host, program, process, message ID, structured data, message.
func (p *parser) structured(line []byte, e *Event) meaning {
	t, rest, ok := p.clock.iso(line)
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return obscure
	}
	e.At = t
	var header [4][]byte
	rest = rest[1:]
	for i := range header {
		if header[i], rest, ok = bytes.Cut(rest, []byte(" ")); !ok {
			return obscure
		}
	}
	message, ok := cutData(rest)
	if !ok {
		return obscure
	}
	return p.message(header[1], message, e)
}

// cutData returns the message after the structured data of RFC 5424.
func cutData(b []byte) (message []byte, ok bool) {
	if message, ok = bytes.CutPrefix(b, []byte("- ")); ok {
		return bytes.TrimPrefix(message, []byte("\xef\xbb\xbf")), true
	}
	for len(b) > 0 && b[0] == '[' {
		inText := false
		i := 1
		for ; i < len(b) && (inText || b[i] != ']'); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				inText = !inText
			}
		}
		if i >= len(b) {
			return nil, false
		}
		b = b[i+1:]
	}
	message, ok = bytes.CutPrefix(b, []byte(" "))
	return bytes.TrimPrefix(message, []byte("\xef\xbb\xbf")), ok
}

// cutTag returns the program and the message of what follows the time in a line of syslog: host, program[process]:
// message. The host may be missing.
func cutTag(b []byte) (program, message []byte) {
	word, rest, ok := bytes.Cut(b, []byte(" "))
	if ok && !bytes.HasSuffix(word, []byte(":")) {
		word, rest, ok = bytes.Cut(rest, []byte(" "))
	}
	program, isTag := bytes.CutSuffix(word, []byte(":"))
	if !ok || !isTag {
		return nil, nil
	}
	if i := bytes.IndexByte(program, '['); i > 0 && bytes.HasSuffix(program, []byte("]")) {
		program = program[:i]
	}
	return program, rest
}

// message reads a message that a program logged at e.At.
func (p *parser) message(program, message []byte, e *Event) meaning {
	switch string(program) {
	case "dovecot":
		if message, ok := cutService(message); ok {
			return dovecot(bytes.TrimPrefix(message, []byte("Info: ")), e)
		}
	case "postern":
		if bytes.HasPrefix(message, []byte("ts=")) {
			return posternText(message, &p.clock, e)
		}
		if bytes.HasPrefix(message, []byte("{")) {
			return p.json(message, e)
		}
	}
	return other
}
