package mailtest

import (
	"fmt"
	"strings"
)

// Script is one dialogue: what a client and the backends behind a proxy say,
// and what each of them must hear. ParseScripts reads it, Play plays it.
type Script struct {
	// Name is the name given to ParseScripts, with "/" and the title behind it
	// when the file holds several scripts. It is unique within the file.
	Name string
	// Listener is the listener of the proxy the script is for.
	Listener Listener

	steps []step
}

// Listener is the kind of listener a script wants to talk to.
type Listener struct {
	Protocol  string // "imap" or "pop3"
	TLS       bool   // TLS begins with the connection
	Cleartext bool   // the proxy must allow passwords without TLS
}

// ClientOnly reports whether no backend plays a part in the script, so that it
// can be played against a real mail server.
func (s Script) ClientOnly() bool {
	for _, st := range s.steps {
		if st.act.backend() {
			return false
		}
	}
	return true
}

// act is what happens in one line of a script, written as in the file.
type act string

const (
	clientSays      act = "C:"
	clientHears     act = "S:"
	clientCloses    act = "C-"
	clientFinishes  act = "C~" // closes its sending direction
	clientSeesEnd   act = "S-"
	clientTLS       act = "TLS"
	backendArrives  act = "U@"
	backendSays     act = "U>"
	backendHears    act = "U<"
	backendCloses   act = "U-"
	backendFinishes act = "U~" // closes its sending direction
	backendSeesEnd  act = "U="
)

// backend reports whether the act is one of a backend.
func (a act) backend() bool { return strings.HasPrefix(string(a), "U") }

// step is one line of a script.
type step struct {
	line int // in the file, from 1
	act  act
	text text // of what is said or heard
}

// String is the step for a report, its text in quotes.
func (s step) String() string {
	if s.act.speaks() {
		return fmt.Sprintf("%s %s", s.act, s.text)
	}
	return string(s.act)
}

// speaks reports whether a text belongs to the act.
func (a act) speaks() bool {
	switch a {
	case clientSays, clientHears, backendSays, backendHears:
		return true
	}
	return false
}

// ParseScripts reads the scripts of one file; name, without its ".dlg", names
// them in Script.Name and in errors. The file is lines:
//
//	# comment
//	=== title                begins a script; without one the file is one script
//	listener imap|pop3 clear|tls [cleartext]
//	S: text                  the client must receive this line
//	C: text                  the client sends this line
//	C-  C~  S-               it closes, half-closes, must see the end of stream
//	TLS                      it does its TLS handshake now, after STARTTLS or STLS
//	U@                       a new backend connection must arrive
//	U< text                  the backend must hear this line
//	U> text                  the backend says this line
//	U-  U~  U=               it closes, half-closes, must see the end of stream
//
// A listener line before the first title is for all scripts without their own. The
// first U line of a script implies U@ before it. A backend whose first line is
// U< greets by itself before.
//
// Text is everything behind one space. Every line ends in CRLF on the wire,
// unless its text ends in \c. In texts \r \n \t \0 \\ and \xNN are octets;
// {plain:authzid,name,password} is the base64 of a SASL PLAIN message,
// {b64:octets} base64, {repeat:octets,times} a repetition, and {any}, last in a
// text to be heard, the rest of the line. Other braces stand for themselves.
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

// parser holds what was read of a file so far.
type parser struct {
	name   string
	titles map[string]bool
	shared Listener // from before the first title
	open   Script   // the script being read
	done   []Script
}

// add takes the next line, without its end.
func (p *parser) add(number int, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		return nil
	case word == "===":
		return p.title(strings.TrimSpace(rest))
	case word == "listener":
		return p.listener(strings.Fields(rest))
	}
	st, err := parseStep(number, act(word), rest)
	if err != nil {
		return err
	}
	p.open.steps = append(p.open.steps, st)
	return nil
}

// title ends the script being read and begins another.
func (p *parser) title(title string) error {
	if title == "" || p.titles[title] {
		return fmt.Errorf("title %q is empty or used twice", title)
	}
	if len(p.titles) > 0 {
		if err := p.finish(); err != nil {
			return err
		}
	} else if len(p.open.steps) > 0 {
		return fmt.Errorf("line %d stands before the first title", p.open.steps[0].line)
	} else {
		p.shared = p.open.Listener
	}
	p.titles[title] = true
	p.open = Script{Name: p.name + "/" + title, Listener: p.shared}
	return nil
}

// listener reads the words behind "listener".
func (p *parser) listener(words []string) error {
	var d Listener
	if len(words) < 2 || len(words) > 3 {
		return fmt.Errorf("listener takes a protocol, clear or tls, and perhaps cleartext")
	}
	d.Protocol, d.TLS, d.Cleartext = words[0], words[1] == "tls", len(words) == 3
	if d.Protocol != "imap" && d.Protocol != "pop3" {
		return fmt.Errorf("listener protocol %q is neither imap nor pop3", words[0])
	}
	if !d.TLS && words[1] != "clear" {
		return fmt.Errorf("listener %q is neither clear nor tls", words[1])
	}
	if d.Cleartext && words[2] != "cleartext" {
		return fmt.Errorf("listener option %q is not cleartext", words[2])
	}
	p.open.Listener = d
	return nil
}

// finish ends the script being read.
func (p *parser) finish() error {
	s := p.open
	if s.Name == "" {
		s.Name = p.name
	}
	if s.Listener.Protocol == "" {
		return fmt.Errorf("script %q has no listener", s.Name)
	}
	if len(s.steps) == 0 {
		return fmt.Errorf("script %q says nothing", s.Name)
	}
	if err := checkTLS(s); err != nil {
		return err
	}
	p.done = append(p.done, s)
	return nil
}

// checkTLS finds a handshake that can never be done.
func checkTLS(s Script) error {
	inside := s.Listener.TLS
	for _, st := range s.steps {
		if st.act != clientTLS {
			continue
		}
		if inside {
			return fmt.Errorf("script %q, line %d: TLS is on already", s.Name, st.line)
		}
		inside = true
	}
	return nil
}

// parseStep reads one line of dialogue; rest is what stands behind the act.
func parseStep(number int, a act, rest string) (step, error) {
	st := step{line: number, act: a}
	switch a {
	case clientSays, backendSays, clientHears, backendHears:
		t, err := parseText(rest)
		if err != nil {
			return step{}, err
		}
		if t.any && (a == clientSays || a == backendSays) {
			return step{}, fmt.Errorf("{any} cannot be said")
		}
		st.text = t
	case clientCloses, clientFinishes, clientSeesEnd, clientTLS,
		backendArrives, backendCloses, backendFinishes, backendSeesEnd:
		if strings.TrimSpace(rest) != "" {
			return step{}, fmt.Errorf("%s takes no text, got %q", a, rest)
		}
	default:
		return step{}, fmt.Errorf("unknown line %q", a)
	}
	return st, nil
}
