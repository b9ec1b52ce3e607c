package dialogue

import (
	"bytes"
	"math/rand"
	"net"
	"reflect"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"
)

// The interop tests put the package between independent implementations: go-imap's
// client and server, and go-sasl. Every name and password must be read as the
// client sent it, and must reach the backend unchanged.

// credentials are what a backend receives.
type credentials struct{ identity, name, password string }

// login is one login through the proxy, with the outcome on each side.
type login struct {
	request  Request     // as read from the client
	readErr  error       // of ReadRequest
	reply    Reply       // of the backend, unless the request is unfit
	loginErr error       // of the replay
	received credentials // by the backend
	client   error       // the client's outcome
}

// accepts is the backend's decision: half of the passwords are right.
func accepts(c credentials) error {
	if len(c.password)%2 == 1 {
		return imapserver.ErrAuthFailed
	}
	return nil
}

// backendServer accepts connections of a backend in memory.
type backendServer struct {
	conns    chan net.Conn
	closed   chan struct{}
	close    func()
	received chan credentials // of the login in progress
}

func newBackendServer(t testing.TB) *backendServer {
	t.Helper()
	b := &backendServer{conns: make(chan net.Conn), closed: make(chan struct{}), received: make(chan credentials, 1)}
	b.close = sync.OnceFunc(func() { close(b.closed) })
	t.Cleanup(b.close)
	return b
}

// Accept implements net.Listener.
func (b *backendServer) Accept() (net.Conn, error) {
	select {
	case conn := <-b.conns:
		return conn, nil
	case <-b.closed:
		return nil, net.ErrClosed
	}
}

func (b *backendServer) Close() error   { b.close(); return nil }
func (b *backendServer) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// dial returns the proxy's end of a new connection.
func (b *backendServer) dial() net.Conn {
	near, far := connPair()
	b.conns <- far
	return near
}

// authenticate is the PLAIN server of go-sasl, for one login.
func (b *backendServer) authenticate() sasl.Server {
	return sasl.NewPlainServer(func(identity, name, password string) error {
		c := credentials{identity, name, password}
		b.received <- c
		return accepts(c)
	})
}

// connPair is a connection in memory with a deadline that no test reaches.
func connPair() (near, far net.Conn) {
	near, far = net.Pipe()
	deadline := time.Now().Add(time.Minute)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	return near, far
}

// through runs one login: client uses its end of a connection to the proxy, which
// replays the request to b.
func (b *backendServer) through(p Protocol, o Offer, client func(net.Conn) error) (l login) {
	front, far := connPair()
	var proxy sync.WaitGroup
	proxy.Go(func() {
		defer front.Close()
		c := NewConn(front)
		if l.readErr = p.Greet(c, o); l.readErr != nil {
			return
		}
		var r Request
		if r, l.readErr = p.ReadRequest(c, o); l.readErr != nil {
			return
		}
		l.request = r
		l.request.Response = bytes.Clone(r.Response)
		defer r.Response.Wipe()
		if r.Unfit {
			_ = p.Answer(c, r, AnswerDenied)
			return
		}
		conn := b.dial()
		defer conn.Close()
		up := NewConn(conn)
		if l.loginErr = p.ReadGreeting(up, nil); l.loginErr != nil {
			return
		}
		if l.reply, l.loginErr = p.Login(up, c, r); l.loginErr == nil {
			_, _ = c.Write(l.reply.Raw)
		}
	})
	l.client = client(far)
	far.Close()
	proxy.Wait()
	select {
	case l.received = <-b.received:
	default:
	}
	return l
}

// check verifies that name and password were read and replayed unchanged.
func (l login) check(t testing.TB, name, password string) {
	t.Helper()
	message, err := plainOf(name, password)
	if err != nil {
		t.Fatal(err)
	}
	r := l.request
	if l.readErr != nil || r.Kind != Login || r.Account != name || r.Mechanism != sasl.Plain || string(r.Response) != message {
		t.Fatalf("%.99q with %.99q: read %.300s, error %v", name, password, summary(r), l.readErr)
	}
	unfit := unfitName(name) || unfitPassword([]byte(password)) || len(message) > maxResponse
	if r.Unfit != unfit {
		t.Errorf("%.99q with %.99q: unfit is %v", name, password, r.Unfit)
	}
	if unfit {
		if l.received != (credentials{}) {
			t.Errorf("unfit credentials reached the backend: %.300q", l.received)
		}
		return
	}
	if string(r.Password()) != password {
		t.Errorf("password %.99q: got %.99q", password, []byte(r.Password()))
	}
	if want := (credentials{"", name, password}); l.loginErr != nil || l.received != want {
		t.Errorf("the backend got %.300q, want %.300q, error %v", l.received, want, l.loginErr)
	}
	result := Accepted
	if accepts(l.received) != nil {
		result = Denied
	}
	if l.reply.Result != result {
		t.Errorf("%.99q with %.99q: got result %d, want %d", name, password, l.reply.Result, result)
	}
}

// plainOf is the message that go-sasl's client sends.
func plainOf(name, password string) (string, error) {
	_, message, err := sasl.NewPlainClient("", name, password).Start()
	return string(message), err
}

// octetString is a name or a password of one kind of octets.
type octetString string

// Generate implements quick.Generator.
func (octetString) Generate(r *rand.Rand, _ int) reflect.Value {
	alphabet := []string{
		"abcdefghijklmnopqrstuvwxyz0123456789.@", `"\`, "a b\"\\{}()%*]+=", "\xe9\xff\x80\xc3", "\x01\x07\t\x1b\x7f a",
		"\x00\r\n a", "äöжя\u00a0\U0001f512",
	}[r.Intn(7)]
	limit := []int{1, 8, 64, 300, 2950}[r.Intn(5)]
	s := make([]byte, r.Intn(limit+1))
	for i := range s {
		s[i] = alphabet[r.Intn(len(alphabet))]
	}
	if len(s) > 1 && r.Intn(3) == 0 { // whole characters
		s = bytes.ToValidUTF8(s, []byte("é"))
	}
	return reflect.ValueOf(octetString(s))
}

// quickConfig makes the same n cases each time.
func quickConfig(n int) *quick.Config {
	return &quick.Config{MaxCount: n, Rand: rand.New(rand.NewSource(1))}
}
