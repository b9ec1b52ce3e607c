// Package mailtest is for tests of a mail proxy. It plays scripted dialogues through a
// proxy, and runs a real Dovecot behind it where one is installed.
//
// ParseScripts reads dialogues from *.dlg files; Script.Play plays the client and the
// backends of one. StartDovecot runs Debian's Dovecot with a configuration, ports and
// accounts of its own.
//
// The package stops at the network: it does not import the proxy and never looks inside
// it. It imports package testing, so no program may import it. Package standin has the
// certificates and the small mail servers.
package mailtest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/standin"
)

// Endpoints are the connections of one session through a proxy. A script plays both
// sides of it.
type Endpoints struct {
	// Client is a new connection to a listener of the kind in Script.Listener,
	// without TLS. Play closes it.
	Client net.Conn
	// Backends receives the connections of the proxy to its backend, after their
	// PROXY header; see AcceptBackend. Play closes those it receives. It may be nil
	// for a script that is ClientOnly.
	Backends <-chan net.Conn
	// Timeout is the timeout of one step; 0 means 10 seconds. On a fake clock it
	// must be longer than the waits that the test causes.
	Timeout time.Duration
}

// AcceptBackend returns the connections that a proxy makes to its backend at ln, for
// Endpoints.Backends; see [standin.Accept]. A connection with an invalid PROXY header
// fails t. Listening ends with the test.
func AcceptBackend(t testing.TB, ln net.Listener, o standin.Options) <-chan net.Conn {
	t.Helper()
	accepted, server := standin.Accept(ln, o, func(err error) { t.Errorf("connection to the backend: %v", err) })
	t.Cleanup(func() { server.Close() })
	return accepted
}

// Play plays the script through e. It fails t at the first line that does not happen as
// written, and logs the conversation up to there.
//
// After the last line the client and the backends close their writing side, or the
// connection where that is not possible. The proxy must then close all connections. The
// script also fails if octets or backend connections are left that it does not expect.
// Endpoints that the script closes with C- or U- are not checked.
func (s Script) Play(t testing.TB, e Endpoints) {
	t.Helper()
	p := &player{script: s, accepted: e.Backends, timeout: cmp.Or(e.Timeout, 10*time.Second)}
	p.client = newEndpoint("client", e.Client, p.jobs())
	err := p.play()
	p.stop()
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Name, err, p.report())
	}
}

// player plays one script.
type player struct {
	script   Script
	accepted <-chan net.Conn
	timeout  time.Duration

	client   *endpoint
	backends []*endpoint // in order of connection; U lines refer to the last

	transcript strings.Builder
}

// jobs is more than the number of jobs of any endpoint.
func (p *player) jobs() int { return len(p.script.steps) + 8 }

// play does all steps and the final checks.
func (p *player) play() error {
	if p.script.Listener.TLS {
		if err := p.client.startTLS(p.timeout); err != nil {
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

// step does the step with index i and adds it to the transcript.
func (p *player) step(i int) error {
	st := p.script.steps[i]
	e := p.client
	if st.act.backend() {
		if st.act == backendConnects || len(p.backends) == 0 {
			if err := p.acceptBackend(i); err != nil {
				return err
			}
		}
		e = p.backends[len(p.backends)-1]
	}
	if e.closed {
		return fmt.Errorf("the %s is already closed", e.name)
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

// act does one step at its endpoint, and returns what was received, if anything.
func (p *player) act(e *endpoint, st step) ([]byte, error) {
	switch st.act {
	case clientSends, backendSends:
		e.send(st.text.octets)
	case clientReceives, backendReceives:
		got, err := e.receive(st.text, p.timeout)
		if err != nil {
			return nil, fmt.Errorf("%w\n    want %s\n    got  %s", err, st.text, text{octets: got})
		}
		return got, nil
	case clientCloses, backendCloses:
		e.close()
	case clientHalfCloses, backendHalfCloses:
		e.halfClose()
	case clientExpectsEOF, backendExpectsEOF:
		return nil, e.expectEOF(p.timeout)
	case clientTLS:
		return nil, e.startTLS(p.timeout)
	}
	return nil, nil
}

// acceptBackend waits for a backend connection. If the first line of this backend is U<,
// the backend sends a greeting.
func (p *player) acceptBackend(i int) error {
	if p.accepted == nil {
		return errors.New("got a U line, want Endpoints.Backends")
	}
	var conn net.Conn
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case conn = <-p.accepted:
	case <-timer.C:
	}
	if conn == nil {
		return errors.New("no backend connection in time")
	}
	e := newEndpoint(fmt.Sprintf("backend %d", len(p.backends)+1), conn, p.jobs())
	p.backends = append(p.backends, e)
	for _, st := range p.script.steps[i:] {
		if !st.act.backend() || st.act == backendConnects {
			continue
		}
		if st.act == backendReceives {
			greeting := greetings[p.script.Listener.Protocol]
			e.send([]byte(greeting))
			fmt.Fprintf(&p.transcript, "  U> %q (greeting)\n", greeting)
		}
		break
	}
	return nil
}

// greetings are the greetings of a backend by protocol.
var greetings = map[string]string{
	"imap":  "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN] ready\r\n",
	"pop3":  "+OK ready\r\n",
	"sieve": `"IMPLEMENTATION" "test"` + "\r\n" + `"SIEVE" "fileinto"` + "\r\n" + `"SASL" "PLAIN"` + "\r\n" + `OK "ready"` + "\r\n",
}

// finish ends the conversation and checks that nothing is left.
func (p *player) finish() error {
	for _, e := range p.endpoints() {
		if !e.closed {
			e.halfClose()
		}
	}
	for _, e := range p.endpoints() {
		if err := e.finish(p.timeout); err != nil {
			return fmt.Errorf("after the last line, at the %s: %w", e.name, err)
		}
	}
	if p.closeUnexpected() {
		return errors.New("got a backend connection that the script does not expect")
	}
	return nil
}

// closeUnexpected closes the backend connections that were not received, and reports
// whether there were any.
func (p *player) closeUnexpected() (any bool) {
	for {
		select {
		case conn, ok := <-p.accepted:
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

// finish waits until everything is sent and the proxy has closed the connection.
func (e *endpoint) finish(timeout time.Duration) error {
	if err := e.flush(timeout); err != nil {
		return err
	}
	if e.closed {
		return nil
	}
	return e.expectEOF(timeout)
}

func (p *player) endpoints() []*endpoint { return append([]*endpoint{p.client}, p.backends...) }

// stop closes every endpoint and the backend connections that were not received.
func (p *player) stop() {
	p.closeUnexpected()
	for _, e := range p.endpoints() {
		e.stop()
	}
}

// report returns the conversation so far and the octets that were not expected.
func (p *player) report() string {
	for _, e := range p.endpoints() {
		if unread := e.unread(); len(unread) > 0 && !e.closed {
			fmt.Fprintf(&p.transcript, "unread at the %s: %q\n", e.name, unread)
		}
	}
	return p.transcript.String()
}
