package standin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	// pop3MaxLine is the maximum length of a command line in octets. RFC 2449
	// section 4 allows 255, but a proxy may send a longer SASL initial response.
	pop3MaxLine = 20 << 10
	// pop3MaxBad is the number of consecutive bad commands that ends a connection.
	pop3MaxBad = 10
	// pop3Idle is the autologout timer of RFC 1939 section 3.
	pop3Idle = 10 * time.Minute
	// pop3Write is the timeout of one write.
	pop3Write = time.Minute
)

// ServePOP3 runs a POP3 server (RFC 1939, RFC 2449, RFC 5034) on ln for accounts. Mail
// is kept in memory. A session has the messages that existed at login; deletions take
// effect at QUIT. An account may have several sessions at the same time, like Dovecot
// allows by default. Password logins are allowed without TLS. The answer to a wrong
// password is -ERR [AUTH].
//
// Closing the server closes ln. It returns an error, without closing ln, if two
// accounts have the same name.
func ServePOP3(ln net.Listener, accounts []Account, o Options) (*Server, error) {
	users := make(map[string]*pop3User, len(accounts))
	for _, a := range accounts {
		if users[a.Name] != nil {
			return nil, fmt.Errorf("serve POP3: got account %q twice, want unique names", a.Name)
		}
		users[a.Name] = newPOP3User(a)
	}
	tracked := newListener(ln, o)
	return serve(tracked, func() {
		for {
			c, err := tracked.Accept()
			if err != nil {
				return
			}
			go servePOP3Conn(c.(*conn), users, o)
		}
	}), nil
}

// servePOP3Conn serves one connection and closes it.
func servePOP3Conn(c *conn, users map[string]*pop3User, o Options) {
	defer c.Close()
	peer, err := c.peer()
	if err != nil {
		return
	}
	o.connected(peer)
	s := &pop3Session{
		conn: c, users: users, peer: peer, options: o,
		r: bufio.NewReaderSize(c, pop3MaxLine), w: bufio.NewWriter(c),
	}
	s.ok("POP3 server ready")
	if err := s.run(); errors.Is(err, bufio.ErrBufferFull) {
		s.err("", "Line too long")
	}
	_ = s.w.Flush()
}

// pop3Session is one connection of a POP3 client.
type pop3Session struct {
	conn    net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	users   map[string]*pop3User
	peer    Peer
	options Options

	name string    // from USER, for the next PASS
	drop *maildrop // nil before login
	bad  int       // consecutive bad commands
}

// run answers commands until QUIT or too many bad commands. Its error is that of the
// connection.
func (s *pop3Session) run() error {
	for s.bad < pop3MaxBad {
		line, err := s.readLine()
		if err != nil {
			return err
		}
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if verb == "QUIT" {
			s.quit()
			return nil
		}
		commands := pop3BeforeLogin
		if s.drop != nil {
			commands = pop3AfterLogin
		}
		command := commands[verb]
		if command == nil {
			s.bad++
			s.err("", "Unknown command")
			continue
		}
		s.bad = 0
		if err := command(s, arg); err != nil {
			return err
		}
	}
	return nil
}

// pop3Command answers one command. Its error is that of the connection.
type pop3Command func(s *pop3Session, arg string) error

// The commands of the AUTHORIZATION and TRANSACTION states (RFC 1939 sections 4, 5 and
// 7). QUIT belongs to both and is handled by run.
var (
	pop3BeforeLogin = map[string]pop3Command{
		"CAPA": (*pop3Session).capa, "USER": (*pop3Session).user,
		"PASS": (*pop3Session).pass, "AUTH": (*pop3Session).auth,
	}
	pop3AfterLogin = map[string]pop3Command{
		"CAPA": (*pop3Session).capa, "STAT": (*pop3Session).stat, "LIST": (*pop3Session).list,
		"UIDL": (*pop3Session).uidl, "RETR": (*pop3Session).retr, "TOP": (*pop3Session).top,
		"DELE": (*pop3Session).dele, "RSET": (*pop3Session).rset, "NOOP": (*pop3Session).noop,
	}
)

// readLine returns the next line without its line end. Before it waits for a line it
// sends the buffered answers (PIPELINING, RFC 2449 section 6.6).
func (s *pop3Session) readLine() (string, error) {
	if buffered, _ := s.r.Peek(s.r.Buffered()); bytes.IndexByte(buffered, '\n') < 0 {
		_ = s.conn.SetWriteDeadline(time.Now().Add(pop3Write))
		if err := s.w.Flush(); err != nil {
			return "", err
		}
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(pop3Idle))
	line, err := s.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// ok answers +OK. The next Flush returns the error of a failed write.
func (s *pop3Session) ok(text string) {
	fmt.Fprintf(s.w, "+OK %s\r\n", text)
}

// err answers -ERR, with a response code (RFC 2449 section 8) unless code is empty. The
// text never contains what the client sent.
func (s *pop3Session) err(code, text string) {
	if code != "" {
		text = "[" + code + "] " + text
	}
	fmt.Fprintf(s.w, "-ERR %s\r\n", text)
}

// multi answers +OK, lines, none of which begins with a dot, and the final dot.
func (s *pop3Session) multi(text string, lines ...string) {
	s.ok(text)
	for _, line := range lines {
		fmt.Fprintf(s.w, "%s\r\n", line)
	}
	fmt.Fprint(s.w, ".\r\n")
}

// capa answers CAPA (RFC 2449 section 5). Login capabilities are listed before login
// only.
func (s *pop3Session) capa(string) error {
	caps := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"}
	if s.drop == nil {
		caps = append(caps, "USER", "SASL PLAIN")
	}
	s.multi("Capability list follows", caps...)
	return nil
}

// quit answers QUIT and, after login, removes deleted messages (RFC 1939 section 6).
func (s *pop3Session) quit() {
	if s.drop != nil {
		s.drop.commit()
	}
	s.ok("Bye")
}
