package mailtest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Endpoints are the connections of one session through a proxy that a script plays
// both ends of.
type Endpoints struct {
	// Client is a fresh connection to a listener of the kind the script names, not
	// yet in TLS. Play closes it.
	Client net.Conn
	// Backends hands over the connections the proxy makes to its backend, each with
	// the PROXY header read already; see AcceptBackend. Play closes those it receives.
	// It may be nil for scripts that are ClientOnly.
	Backends <-chan net.Conn
	// Patience is how long a step waits before it fails; 0 means 10 seconds.
	// Tests on a fake clock need more than the waits they provoke.
	Patience time.Duration
}

// Play plays the script through e and fails t at the first line that does not
// go as written, showing the conversation so far.
//
// At the end the client closes its sending direction, or the connection where
// that is impossible, and backends do likewise. The proxy must then end all its
// connections. Octets that came and were never expected, or a backend
// connection without a U line, fail the script too. An end that the script
// closes with C- or U- is not looked at any more.
func (s Script) Play(t testing.TB, e Endpoints) {
	t.Helper()
	p := &player{script: s, arriving: e.Backends, patience: cmp.Or(e.Patience, 10*time.Second)}
	p.client = newEnd("client", e.Client, p.jobs())
	err := p.play()
	p.stop()
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Name, err, p.report())
	}
}

// player is a script being played.
type player struct {
	script   Script
	arriving <-chan net.Conn
	patience time.Duration

	client   *end
	backends []*end // in the order they arrived; the last one plays

	transcript strings.Builder
}

// jobs is more than any end of the script will ever have to do.
func (p *player) jobs() int { return len(p.script.steps) + 8 }

// play does all steps and the checks at the end.
func (p *player) play() error {
	if p.script.Listener.TLS {
		if err := p.client.startTLS(p.patience); err != nil {
			return err
		}
	}
	for i, st := range p.script.steps {
		if err := p.step(i); err != nil {
			fmt.Fprintf(&p.transcript, "> %s\n", st)
			return fmt.Errorf("line %d: %w", st.line, err)
		}
	}
	return p.finish()
}

// step does the step with the given index and notes it down.
func (p *player) step(i int) error {
	st := p.script.steps[i]
	e := p.client
	if st.act.backend() {
		if st.act == backendArrives || len(p.backends) == 0 {
			if err := p.arrive(i); err != nil {
				return err
			}
		}
		e = p.backends[len(p.backends)-1]
	}
	if e.closed {
		return fmt.Errorf("the %s is closed already", e.name)
	}
	note := st.String()
	got, err := p.act(e, st)
	if err != nil {
		return err
	}
	if got != nil {
		note = fmt.Sprintf("%s %s", st.act, text{octets: got})
	}
	fmt.Fprintf(&p.transcript, "  %s\n", note)
	return nil
}

// act does one step at its end, and returns what was heard, if anything.
func (p *player) act(e *end, st step) ([]byte, error) {
	switch st.act {
	case clientSays, backendSays:
		e.say(st.text.octets)
	case clientHears, backendHears:
		got, err := e.hear(st.text, p.patience)
		if err != nil {
			return nil, fmt.Errorf("%w\n    want %s\n    got  %s", err, st.text, text{octets: got})
		}
		return got, nil
	case clientCloses, backendCloses:
		e.close()
	case clientFinishes, backendFinishes:
		e.finish()
	case clientSeesEnd, backendSeesEnd:
		return nil, e.seeEnd(p.patience)
	case clientTLS:
		return nil, e.startTLS(p.patience)
	}
	return nil, nil
}

// arrive waits for a backend connection. When the first thing this backend
// does in the script is to hear something, it greets before.
func (p *player) arrive(i int) error {
	if p.arriving == nil {
		return errors.New("this proxy has no backends to play")
	}
	var conn net.Conn
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	select {
	case conn = <-p.arriving:
	case <-timer.C:
	}
	if conn == nil {
		return errors.New("no backend connection arrived")
	}
	e := newEnd(fmt.Sprintf("backend %d", len(p.backends)+1), conn, p.jobs())
	p.backends = append(p.backends, e)
	for _, st := range p.script.steps[i:] {
		if !st.act.backend() || st.act == backendArrives {
			continue
		}
		if st.act == backendHears {
			greeting := greetings[p.script.Listener.Protocol]
			e.say([]byte(greeting))
			fmt.Fprintf(&p.transcript, "  U> %q (by itself)\n", greeting)
		}
		break
	}
	return nil
}

// greetings are what a backend says by itself, by protocol.
var greetings = map[string]string{
	"imap": "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN] ready\r\n",
	"pop3": "+OK ready\r\n",
}

// finish ends the conversation and finds what is left over.
func (p *player) finish() error {
	for _, e := range p.ends() {
		if !e.closed {
			e.finish()
		}
	}
	for _, e := range p.ends() {
		if err := e.rest(p.patience); err != nil {
			return fmt.Errorf("after the last line, at the %s: %w", e.name, err)
		}
	}
	if p.turnAway() {
		return errors.New("a backend connection arrived that the script knows nothing of")
	}
	return nil
}

// turnAway closes the backend connections that wait, and reports whether there
// were any.
func (p *player) turnAway() (any bool) {
	for {
		select {
		case conn, ok := <-p.arriving:
			if !ok {
				return any
			}
			any = true
			conn.Close()
		default:
			return any
		}
	}
}

// rest waits until an end is over with, in both directions.
func (e *end) rest(patience time.Duration) error {
	if err := e.flush(patience); err != nil {
		return err
	}
	if e.closed {
		return nil
	}
	return e.seeEnd(patience)
}

func (p *player) ends() []*end { return append([]*end{p.client}, p.backends...) }

// stop closes every end and whatever still waits.
func (p *player) stop() {
	p.turnAway()
	for _, e := range p.ends() {
		e.stop()
	}
}

// report is the conversation so far and what nobody expected.
func (p *player) report() string {
	for _, e := range p.ends() {
		if unread := e.unread(); len(unread) > 0 && !e.closed {
			fmt.Fprintf(&p.transcript, "unread at the %s: %q\n", e.name, unread)
		}
	}
	return p.transcript.String()
}
