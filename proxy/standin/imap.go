package standin

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// ServeIMAP runs an IMAP server (RFC 3501, RFC 9051) on ln for accounts, each with its
// messages in INBOX. Mail is kept in memory until Close, and all connections of an
// account share it. Password logins are allowed without TLS. The answer to a wrong
// password is NO [AUTHENTICATIONFAILED].
//
// Closing the server closes ln. It returns an error, without closing ln, if two
// accounts have the same name.
func ServeIMAP(ln net.Listener, accounts []Account, o Options) (*Server, error) {
	users := make(map[string]*imapUser, len(accounts))
	for _, a := range accounts {
		if users[a.Name] != nil {
			return nil, fmt.Errorf("serve IMAP: got account %q twice, want unique names", a.Name)
		}
		user, err := newIMAPUser(a)
		if err != nil {
			return nil, fmt.Errorf("serve IMAP: append to INBOX of %q: %w", a.Name, err)
		}
		users[a.Name] = user
	}
	srv := imapserver.New(&imapserver.Options{
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}},
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return newIMAPSession(c, users, o)
		},
	})
	tracked := newListener(ln, o)
	server := serve(tracked, func() { _ = srv.Serve(tracked) })
	server.deliver = func(account string, message []byte) error {
		user := users[account]
		if user == nil {
			return fmt.Errorf("deliver to %q: no such account", account)
		}
		return user.deliver(message)
	}
	return server, nil
}

// imapUser is an account and its sessions in IDLE.
type imapUser struct {
	*imapmemserver.User

	mu   sync.Mutex
	idle map[chan<- struct{}]struct{} // receive when there may be news; each has room for one
}

// newIMAPUser returns a user with the messages of a in INBOX.
func newIMAPUser(a Account) (*imapUser, error) {
	user := &imapUser{User: imapmemserver.NewUser(a.Name, a.Secret), idle: map[chan<- struct{}]struct{}{}}
	if err := user.Create("INBOX", nil); err != nil {
		return nil, err
	}
	for _, m := range a.Messages {
		if err := user.deliver(m); err != nil {
			return nil, err
		}
	}
	return user, nil
}

// deliver appends a message to INBOX.
func (u *imapUser) deliver(message []byte) error {
	defer u.notify()
	_, err := u.Append("INBOX", bytes.NewReader(message), &imap.AppendOptions{})
	return err
}

// notify makes the sessions in IDLE look for news.
func (u *imapUser) notify() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for news := range u.idle {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// setIdle begins, or ends, the notification of one session.
func (u *imapUser) setIdle(news chan<- struct{}, idle bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if idle {
		u.idle[news] = struct{}{}
	} else {
		delete(u.idle, news)
	}
}

// imapSession is the session of one connection. It adds the Login hook to the session
// of go-imap, and an IDLE that misses nothing: that of go-imap does not report what
// happened between the command before and its begin.
type imapSession struct {
	*imapmemserver.UserSession // nil before login
	user                       *imapUser
	users                      map[string]*imapUser
	peer                       Peer
	options                    Options
}

var _ imapserver.SessionIMAP4rev2 = (*imapSession)(nil)

// newIMAPSession runs first in the goroutine of connection c. After an invalid PROXY
// header it closes c, because imapserver would send the error as its greeting.
func newIMAPSession(c *imapserver.Conn, users map[string]*imapUser, o Options) (imapserver.Session, *imapserver.GreetingData, error) {
	conn := c.NetConn().(*conn)
	peer, err := conn.peer()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	o.connected(peer)
	return &imapSession{users: users, peer: peer, options: o}, &imapserver.GreetingData{}, nil
}

// Login implements imapserver.Session for LOGIN and AUTHENTICATE PLAIN.
func (s *imapSession) Login(name, secret string) error {
	user, err := s.users[name], error(imapserver.ErrAuthFailed)
	if user != nil {
		err = user.Login(name, secret)
	}
	s.options.loggedIn(Login{Protocol: "imap", Account: name, Accepted: err == nil, Peer: s.peer})
	if err != nil {
		return err
	}
	s.UserSession, s.user = imapmemserver.NewUserSession(user.User), user
	return nil
}

// Poll implements imapserver.Session. It runs after each command, which may be news for
// other sessions.
func (s *imapSession) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	s.user.notify()
	return s.UserSession.Poll(w, allowExpunge)
}

// Idle implements imapserver.Session.
func (s *imapSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	news := make(chan struct{}, 1)
	s.user.setIdle(news, true)
	defer s.user.setIdle(news, false)
	for {
		if err := s.UserSession.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-news:
		case <-stop:
			return nil
		}
	}
}
