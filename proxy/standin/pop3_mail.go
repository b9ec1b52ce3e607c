package standin

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// pop3Message is one message as POP3 sends it: every line ends in CRLF.
type pop3Message struct {
	uid  string // for UIDL: 1 to 70 octets, unique in the maildrop (RFC 1939 section 7)
	data []byte
}

// pop3User is an account with its current mail.
type pop3User struct {
	secret string

	mu   sync.Mutex
	mail []*pop3Message
}

func newPOP3User(a Account) *pop3User {
	u := &pop3User{secret: a.Secret}
	for i, m := range a.Messages {
		data := canonicalLines(m)
		sum := sha256.Sum256(data)
		u.mail = append(u.mail, &pop3Message{uid: fmt.Sprintf("%d.%x", i+1, sum[:8]), data: data})
	}
	return u
}

// canonicalLines returns m with CRLF at the end of every line.
func canonicalLines(m []byte) []byte {
	m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
	m = append(bytes.TrimSuffix(m, []byte("\n")), '\n')
	return bytes.ReplaceAll(m, []byte("\n"), []byte("\r\n"))
}

// maildrop returns the mail for a new session.
func (u *pop3User) maildrop() *maildrop {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &maildrop{user: u, mail: slices.Clone(u.mail), deleted: make([]bool, len(u.mail))}
}

// maildrop is the mail of one session. Message numbers are indexes plus 1.
type maildrop struct {
	user    *pop3User
	mail    []*pop3Message
	deleted []bool // by index, until commit
}

// commit removes the deleted messages from the account.
func (d *maildrop) commit() {
	d.user.mu.Lock()
	defer d.user.mu.Unlock()
	d.user.mail = slices.DeleteFunc(d.user.mail, func(m *pop3Message) bool {
		i := slices.Index(d.mail, m)
		return i >= 0 && d.deleted[i]
	})
}

// size returns the number of messages that are not deleted, and their size in octets.
func (d *maildrop) size() (n, octets int) {
	for i, m := range d.mail {
		if !d.deleted[i] {
			n++
			octets += len(m.data)
		}
	}
	return n, octets
}

// find returns the message with the number arg, and its index. If there is none it
// answers -ERR and returns nil.
func (s *pop3Session) find(arg string) (*pop3Message, int) {
	n, err := strconv.ParseUint(arg, 10, 31)
	i := int(n) - 1
	if err != nil || i < 0 || i >= len(s.drop.mail) || s.drop.deleted[i] {
		s.err("", "No such message")
		return nil, 0
	}
	return s.drop.mail[i], i
}

func (s *pop3Session) stat(string) error {
	n, octets := s.drop.size()
	s.ok(fmt.Sprintf("%d %d", n, octets))
	return nil
}

func (s *pop3Session) list(arg string) error {
	return s.listing(arg, func(m *pop3Message) string { return strconv.Itoa(len(m.data)) })
}

func (s *pop3Session) uidl(arg string) error {
	return s.listing(arg, func(m *pop3Message) string { return m.uid })
}

// listing answers LIST and UIDL, for one message or for all.
func (s *pop3Session) listing(arg string, value func(*pop3Message) string) error {
	if arg != "" {
		if m, i := s.find(arg); m != nil {
			s.ok(fmt.Sprintf("%d %s", i+1, value(m)))
		}
		return nil
	}
	var lines []string
	for i, m := range s.drop.mail {
		if !s.drop.deleted[i] {
			lines = append(lines, fmt.Sprintf("%d %s", i+1, value(m)))
		}
	}
	s.multi(fmt.Sprintf("%d messages", len(lines)), lines...)
	return nil
}

func (s *pop3Session) retr(arg string) error {
	if m, _ := s.find(arg); m != nil {
		s.message(fmt.Sprintf("%d octets", len(m.data)), m.data)
	}
	return nil
}

// top sends the header and the first lines of the body of a message.
func (s *pop3Session) top(arg string) error {
	number, count, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		s.err("", "Number of lines missing")
		return nil
	}
	m, _ := s.find(number)
	if m == nil {
		return nil
	}
	end := len(m.data) // a message without an empty line is all header
	if i := bytes.Index(m.data, []byte("\r\n\r\n")); i >= 0 {
		end = i + len("\r\n\r\n")
	}
	for ; n > 0 && end < len(m.data); n-- {
		end += bytes.IndexByte(m.data[end:], '\n') + 1
	}
	s.message("Top of message follows", m.data[:end])
	return nil
}

// message answers +OK, the lines of data, dot-stuffed (RFC 1939 section 3), and the
// final dot.
func (s *pop3Session) message(text string, data []byte) {
	s.ok(text)
	for line := range bytes.Lines(data) {
		if line[0] == '.' {
			s.w.WriteByte('.')
		}
		s.w.Write(line)
	}
	s.w.WriteString(".\r\n")
}

func (s *pop3Session) dele(arg string) error {
	if m, i := s.find(arg); m != nil {
		s.drop.deleted[i] = true
		s.ok("Deleted")
	}
	return nil
}

func (s *pop3Session) rset(string) error {
	clear(s.drop.deleted)
	return s.stat("")
}

func (s *pop3Session) noop(string) error {
	s.ok("Done")
	return nil
}
