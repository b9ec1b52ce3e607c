package mailtest

import (
	"fmt"
	"strings"
)

// Script is one dialogue: what a client and the backends of a proxy send, and what each
// of them must receive.
type Script struct {
	// Name is the name given to ParseScripts, followed by "/" and the title if the
	// script has one. It is unique within the file.
	Name string
	// Listener is the kind of listener the script is for.
	Listener Listener

	steps []step
}

// Listener is a kind of listener.
type Listener struct {
	Protocol  string // "imap", "pop3" or "sieve"
	TLS       bool   // implicit TLS
	Cleartext bool   // the proxy must allow passwords without TLS
}

// ClientOnly reports whether the script has no lines of a backend. Such a script can
// also be played against a real mail server.
func (s Script) ClientOnly() bool {
	for _, st := range s.steps {
		if st.act.backend() {
			return false
		}
	}
	return true
}

// act is the kind of a line of a script, as written in the file.
type act string

const (
	clientSends       act = "C:"
	clientReceives    act = "S:"
	clientCloses      act = "C-"
	clientHalfCloses  act = "C~" // closes its writing side
	clientExpectsEOF  act = "S-"
	clientTLS         act = "TLS"
	backendConnects   act = "U@"
	backendSends      act = "U>"
	backendReceives   act = "U<"
	backendCloses     act = "U-"
	backendHalfCloses act = "U~" // closes its writing side
	backendExpectsEOF act = "U="
)

// backend reports whether the act is that of a backend.
func (a act) backend() bool { return strings.HasPrefix(string(a), "U") }

// step is one line of a script.
type step struct {
	line int // in the file, from 1
	act  act
	text text // what is sent or received
}

// String returns the step for a report, with its text in quotes.
func (s step) String() string {
	if s.act.hasText() {
		return fmt.Sprintf("%s %s", s.act, s.text)
	}
	return string(s.act)
}

// hasText reports whether the line has a text.
func (a act) hasText() bool {
	switch a {
	case clientSends, clientReceives, backendSends, backendReceives:
		return true
	}
	return false
}

// ParseScripts parses the scripts of one file. Script.Name and errors begin with name,
// in Script.Name without ".dlg". The file has these lines:
//
//	# comment
//	=== title                a script begins; without titles the file is one script
//	listener imap|pop3 clear|tls [cleartext]
//	S: text                  the client must receive this line
//	C: text                  the client sends this line
//	C-  C~  S-               it closes, half-closes, must receive the end of stream
//	TLS                      it makes the TLS handshake, after STARTTLS or STLS
//	U@                       the proxy must open a new backend connection
//	U< text                  the backend must receive this line
//	U> text                  the backend sends this line
//	U-  U~  U=               it closes, half-closes, must receive the end of stream
//
// A listener line before the first title applies to all scripts without one. The first
// U line of a script implies U@ before it. A backend whose first line is U< sends a
// greeting before it.
//
// The text is everything after one space. On the wire it ends in CRLF, unless it ends
// in \c. In a text, \r \n \t \0 \\ and \xNN are octets;
// {plain:authzid,name,password} is a SASL PLAIN message in base64, {b64:octets} is
// base64, {repeat:octets,times} is a repetition, and {any}, at the end of a text to be
// received, is the rest of the line. Other braces are literal.
func ParseScripts(name string, data []byte) ([]Script, error) {
	p := parser{name: strings.TrimSuffix(name, ".dlg"), titles: make(map[string]bool)}
	for i, line := range strings.Split(string(data), "\n") {
		if err := p.add(i+1, strings.TrimSuffix(line, "\r")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p.done, nil
}

// parser is the state of ParseScripts.
type parser struct {
	name    string
	titles  map[string]bool
	shared  Listener // from a line before the first title
	current Script   // the script of the current line
	done    []Script
}

// add parses one line, which has no line end.
func (p *parser) add(number int, line string) error {
	keyword, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		return nil
	case keyword == "===":
		return p.title(strings.TrimSpace(rest))
	case keyword == "listener":
		return p.listener(strings.Fields(rest))
	}
	st, err := parseStep(number, act(keyword), rest)
	if err != nil {
		return err
	}
	p.current.steps = append(p.current.steps, st)
	return nil
}

// title ends the current script and begins another.
func (p *parser) title(title string) error {
	if title == "" || p.titles[title] {
		return fmt.Errorf("title: got %q, want a text that is unique in the file", title)
	}
	if len(p.titles) > 0 {
		if err := p.finish(); err != nil {
			return err
		}
	} else if len(p.current.steps) > 0 {
		return fmt.Errorf("got line %d before the first title, want none in a file with titles", p.current.steps[0].line)
	} else {
		p.shared = p.current.Listener
	}
	p.titles[title] = true
	p.current = Script{Name: p.name + "/" + title, Listener: p.shared}
	return nil
}

// listener parses the fields after "listener".
func (p *parser) listener(fields []string) error {
	var l Listener
	if len(fields) < 2 || len(fields) > 3 {
		return fmt.Errorf("listener: got %d fields, want imap, pop3 or sieve, clear or tls, and optionally cleartext", len(fields))
	}
	l.Protocol, l.TLS, l.Cleartext = fields[0], fields[1] == "tls", len(fields) == 3
	if greetings[l.Protocol] == "" {
		return fmt.Errorf("listener protocol: got %q, want imap, pop3 or sieve", fields[0])
	}
	if !l.TLS && fields[1] != "clear" {
		return fmt.Errorf("listener: got %q, want clear or tls", fields[1])
	}
	if l.Cleartext && fields[2] != "cleartext" {
		return fmt.Errorf("listener option: got %q, want cleartext", fields[2])
	}
	p.current.Listener = l
	return nil
}

// finish checks and adds the current script.
func (p *parser) finish() error {
	s := p.current
	if s.Name == "" {
		s.Name = p.name
	}
	if s.Listener.Protocol == "" {
		return fmt.Errorf("script %q: got no listener line, want one", s.Name)
	}
	if len(s.steps) == 0 {
		return fmt.Errorf("script %q: got no lines of dialogue, want at least 1", s.Name)
	}
	if err := checkTLS(s); err != nil {
		return err
	}
	p.done = append(p.done, s)
	return nil
}

// checkTLS returns an error for a second TLS handshake.
func checkTLS(s Script) error {
	inTLS := s.Listener.TLS
	for _, st := range s.steps {
		if st.act != clientTLS {
			continue
		}
		if inTLS {
			return fmt.Errorf("script %q, line %d: got TLS on a connection in TLS, want it at most once", s.Name, st.line)
		}
		inTLS = true
	}
	return nil
}

// parseStep parses one line of dialogue; rest is what follows the act and a space.
func parseStep(number int, a act, rest string) (step, error) {
	st := step{line: number, act: a}
	switch a {
	case clientSends, backendSends, clientReceives, backendReceives:
		t, err := parseText(rest)
		if err != nil {
			return step{}, err
		}
		if t.any && (a == clientSends || a == backendSends) {
			return step{}, fmt.Errorf("got {any} in a text to be sent, want it in S: or U< only")
		}
		st.text = t
	case clientCloses, clientHalfCloses, clientExpectsEOF, clientTLS,
		backendConnects, backendCloses, backendHalfCloses, backendExpectsEOF:
		if strings.TrimSpace(rest) != "" {
			return step{}, fmt.Errorf("%s: got text %q, want none", a, rest)
		}
	default:
		return step{}, fmt.Errorf("got line %q, want one of those described at ParseScripts", a)
	}
	return st, nil
}
