package standin

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"

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
	users := make(map[string]*imapmemserver.User, len(accounts))
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
	return serve(tracked, func() { _ = srv.Serve(tracked) }), nil
}

// newIMAPUser returns a user with the messages of a in INBOX.
func newIMAPUser(a Account) (*imapmemserver.User, error) {
	user := imapmemserver.NewUser(a.Name, a.Secret)
	if err := user.Create("INBOX", nil); err != nil {
		return nil, err
	}
	for _, m := range a.Messages {
		if _, err := user.Append("INBOX", bytes.NewReader(m), &imap.AppendOptions{}); err != nil {
			return nil, err
		}
	}
	return user, nil
}

// imapSession is the session of one connection. It adds the Login hook to the session
// of go-imap.
type imapSession struct {
	*imapmemserver.UserSession // nil before login
	users                      map[string]*imapmemserver.User
	peer                       Peer
	options                    Options
}

var _ imapserver.SessionIMAP4rev2 = (*imapSession)(nil)

// newIMAPSession runs first in the goroutine of connection c. After an invalid PROXY
// header it closes c, because imapserver would send the error as its greeting.
func newIMAPSession(c *imapserver.Conn, users map[string]*imapmemserver.User, o Options) (imapserver.Session, *imapserver.GreetingData, error) {
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
	s.UserSession = imapmemserver.NewUserSession(user)
	return nil
}
