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
	// pop3MaxLine bounds a command line. RFC 2449 section 4 says 255 octets,
	// but a gate may send a long SASL initial response in one line.
	pop3MaxLine = 20 << 10
	// pop3MaxBad is how many bad commands in a row end the connection.
	pop3MaxBad = 10
	// pop3Idle is the autologout timer of RFC 1939 section 3.
	pop3Idle = 10 * time.Minute
	// pop3Write is how long the client may take to read one batch of answers.
	pop3Write = time.Minute
)

// ServePOP3 runs a POP3 server (RFC 1939, RFC 2449, RFC 5034) on ln for the
// given accounts. Mail lives in memory. A session sees the messages that were
// there at login; what it deletes is gone at QUIT, and only then. Several
// sessions of one account may run at once, as Dovecot allows by default. A
// wrong password gets -ERR [AUTH].
//
// It takes over ln and closes it with the server. It fails, leaving ln alone,
// when an account is given twice.
func ServePOP3(ln net.Listener, accounts []Account, o Options) (*Server, error) {
	users := make(map[string]*pop3User, len(accounts))
	for _, a := range accounts {
		if users[a.Name] != nil {
			return nil, fmt.Errorf("serve POP3: account %q is given twice", a.Name)
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

// servePOP3Conn is the goroutine of one connection; it closes it.
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
	bad  int       // bad commands in a row
}

// run answers commands until QUIT, too many bad ones, or the end of the
// connection, which is the error.
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

// pop3Command answers one command. Its error is that of the connection, not of
// the command.
type pop3Command func(s *pop3Session, arg string) error

// The commands of the AUTHORIZATION and TRANSACTION states, RFC 1939 sections
// 4, 5 and 7; QUIT is in both.
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

// readLine returns the next line without its end. Answers are sent first,
// unless another command is here already (PIPELINING, RFC 2449 section 6.6).
func (s *pop3Session) readLine() (string, error) {
	if waiting, _ := s.r.Peek(s.r.Buffered()); bytes.IndexByte(waiting, '\n') < 0 {
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

// ok answers +OK. A failed write shows at the next Flush.
func (s *pop3Session) ok(text string) {
	fmt.Fprintf(s.w, "+OK %s\r\n", text)
}

// err answers -ERR, with a response code (RFC 2449 section 8) unless it is
// empty. The text never repeats what the client sent.
func (s *pop3Session) err(code, text string) {
	if code != "" {
		text = "[" + code + "] " + text
	}
	fmt.Fprintf(s.w, "-ERR %s\r\n", text)
}

// multi answers +OK and lines, which need no dot-stuffing, and the final dot.
func (s *pop3Session) multi(text string, lines ...string) {
	s.ok(text)
	for _, line := range lines {
		fmt.Fprintf(s.w, "%s\r\n", line)
	}
	fmt.Fprint(s.w, ".\r\n")
}

// capa lists what the server can do (RFC 2449 section 5). Ways to log in are
// not offered to those who have.
func (s *pop3Session) capa(string) error {
	caps := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"}
	if s.drop == nil {
		caps = append(caps, "USER", "SASL PLAIN")
	}
	s.multi("Capability list follows", caps...)
	return nil
}

// quit says goodbye and, after login, removes what was deleted (RFC 1939
// section 6).
func (s *pop3Session) quit() {
	if s.drop != nil {
		s.drop.commit()
	}
	s.ok("Bye")
}
