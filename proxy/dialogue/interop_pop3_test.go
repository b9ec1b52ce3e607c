package dialogue

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/quick"

	"github.com/emersion/go-sasl"
)

// newPOP3Backend is a server with AUTH PLAIN.
func newPOP3Backend(t testing.TB) *backendServer {
	t.Helper()
	b := newBackendServer(t)
	serve := func(conn net.Conn) {
		defer conn.Close()
		fmt.Fprint(conn, "+OK ready\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		encoded, isAuth := strings.CutPrefix(strings.TrimSuffix(line, "\r\n"), "AUTH PLAIN ")
		message, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && isAuth {
			_, _, err = b.authenticate().Next(message)
		}
		if err != nil || !isAuth {
			fmt.Fprint(conn, "-ERR [AUTH] no\r\n")
			return
		}
		fmt.Fprint(conn, "+OK in\r\n")
	}
	go func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return b
}

// pop3Send are ways to send a password over POP3. Each returns the last reply.
var pop3Send = map[string]func(c *pop3Client, name, password string) (string, error){
	"USER": func(c *pop3Client, name, password string) (string, error) {
		if reply, err := c.command("USER " + name); err != nil || reply != "+OK" {
			return reply, err
		}
		return c.command("PASS " + password)
	},
	"PLAIN": func(c *pop3Client, name, password string) (string, error) {
		return c.authenticate(sasl.NewPlainClient("", name, password), false)
	},
	"PLAIN with initial response": func(c *pop3Client, name, password string) (string, error) {
		return c.authenticate(sasl.NewPlainClient("", name, password), true)
	},
	"LOGIN": func(c *pop3Client, name, password string) (string, error) {
		return c.authenticate(&promptedClient{Client: sasl.NewLoginClient(name, password)}, false)
	},
	"LOGIN with initial response": func(c *pop3Client, name, password string) (string, error) {
		return c.authenticate(sasl.NewLoginClient(name, password), true)
	},
}

// pop3Client is the least of a POP3 client.
type pop3Client struct {
	net.Conn
	*bufio.Reader
}

// command sends a line and returns the line that answers it.
func (c *pop3Client) command(line string) (string, error) {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.reply()
}

func (c *pop3Client) reply() (string, error) {
	line, err := c.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// authenticate runs AUTH (RFC 5034 section 4). Only the initial response writes an
// empty one as "=".
func (c *pop3Client) authenticate(client sasl.Client, initial bool) (string, error) {
	mechanism, ir, err := client.Start()
	if err != nil {
		return "", err
	}
	line := "AUTH " + mechanism
	if initial && len(ir) == 0 {
		line += " ="
	} else if initial {
		line += " " + base64.StdEncoding.EncodeToString(ir)
	}
	for {
		reply, err := c.command(line)
		encoded, isChallenge := strings.CutPrefix(reply, "+ ")
		if err != nil || !isChallenge {
			return reply, err
		}
		challenge, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return "", err
		}
		response := ir
		if initial || mechanism != sasl.Plain {
			if response, err = client.Next(challenge); err != nil {
				return "", err
			}
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
}

// pop3Carries reports whether POP3 can carry the credentials by this method: USER
// and PASS take a line each, and PLAIN has no NUL.
func pop3Carries(method, name, password string) bool {
	switch {
	case method == "USER":
		return name != "" && !strings.Contains(name+password, "\n") && !strings.HasSuffix(name, "\r") && !strings.HasSuffix(password, "\r")
	case strings.HasPrefix(method, "PLAIN"):
		return !strings.Contains(name+password, "\x00")
	}
	return true
}

// TestPOP3LogsIn sends generated names and passwords by every method, to a backend
// that decodes them by go-sasl.
func TestPOP3LogsIn(t *testing.T) {
	for method, send := range pop3Send {
		t.Run(method, func(t *testing.T) {
			b := newPOP3Backend(t)
			property := func(n, p octetString) bool {
				name, password := string(n), string(p)
				if !pop3Carries(method, name, password) {
					return true
				}
				var last string
				l := b.through(POP3{}, Offer{TLS: true}, func(conn net.Conn) (err error) {
					c := &pop3Client{conn, bufio.NewReader(conn)}
					if _, err = c.reply(); err == nil {
						last, err = send(c, name, password)
					}
					return err
				})
				l.check(t, name, password)
				if in := strings.HasPrefix(last, "+OK"); l.client != nil || in != (l.reply.Result == Accepted) {
					t.Errorf("result %d, and the client got %q, %v", l.reply.Result, last, l.client)
				}
				return !t.Failed()
			}
			if err := quick.Check(property, quickConfig(200)); err != nil {
				t.Error(err)
			}
		})
	}
}
