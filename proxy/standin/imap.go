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

// ServeIMAP runs an IMAP server (RFC 3501, RFC 9051) on ln for the given
// accounts, each with its messages in INBOX. Mail lives in memory, changes are
// kept until Close, and all connections of an account see them. Password
// logins work without TLS; a wrong one gets NO [AUTHENTICATIONFAILED].
//
// It takes over ln and closes it with the server. It fails, leaving ln alone,
// when an account is given twice.
func ServeIMAP(ln net.Listener, accounts []Account, o Options) (*Server, error) {
	users := make(map[string]*imapmemserver.User, len(accounts))
	for _, a := range accounts {
		if users[a.Name] != nil {
			return nil, fmt.Errorf("serve IMAP: account %q is given twice", a.Name)
		}
		user, err := newIMAPUser(a)
		if err != nil {
			return nil, fmt.Errorf("serve IMAP: fill inbox of %q: %w", a.Name, err)
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

// newIMAPUser makes a user whose INBOX holds the messages of a.
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

// imapSession is one connection; it differs from go-imap's own only in that
// it tells about its login.
type imapSession struct {
	*imapmemserver.UserSession // nil before login
	users                      map[string]*imapmemserver.User
	peer                       Peer
	options                    Options
}

var _ imapserver.SessionIMAP4rev2 = (*imapSession)(nil)

// newIMAPSession is called first in the goroutine of connection c. After a bad
// PROXY header it closes c, or imapserver would greet with its error.
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
