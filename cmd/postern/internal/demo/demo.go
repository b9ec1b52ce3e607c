// Package demo runs a gateway on loopback in front of a small mail server in the
// same process, for people who want to try postern, and plays users and an attack
// to it.
//
// Nothing that it makes remains after its end. The mail server is package
// standin's and not for production.
package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/limiter/traffic"
	"postern/proxy/standin"
)

// account may log in at the demo. Its password is no secret.
var account = standin.Account{Name: "demo", Secret: "gatekeeper", Messages: standin.Samples()}

// Options is what a demo needs from its process.
type Options struct {
	Environ     []string // its settings count, but for addresses, backends and certificate
	Stdout, Log io.Writer
	Attack      bool // play users, and then attackers
}

// Run runs a demo until ctx ends. It prints what to try.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	if o.Attack {
		return o.attack(ctx, dir)
	}
	own, stop, err := settings(dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer stop()
	return daemon.Run(ctx, daemon.Options{
		Environ: o.environ(own), Log: o.Log,
		Ready: func(d *daemon.Daemon) { explain(o.Stdout, d, dir) },
	})
}

// environ is the environment of the gateway: that of the process, with a log for
// people unless another is set, and own.
func (o Options) environ(own []string) []string {
	return slices.Concat([]string{config.Prefix + "LOG_FORMAT=text"}, o.Environ, own)
}

// settings starts the mail servers, puts a certificate into dir and returns the
// settings of a gateway between them. stop ends the servers, at which the demo's
// account and those of users may log in.
func settings(dir string, users ...traffic.Login) (own []string, stop func(), err error) {
	accounts := []standin.Account{account}
	for _, u := range users {
		accounts = append(accounts, standin.Account{Name: u.Account, Secret: u.Secret, Messages: account.Messages})
	}
	cert, err := standin.NewCertificate("localhost", "127.0.0.1", "::1")
	if err != nil {
		return nil, nil, err
	}
	certFile, keyFile, err := cert.Write(dir, "demo")
	if err != nil {
		return nil, nil, err
	}
	imap, err := serve(standin.ServeIMAP, accounts)
	if err != nil {
		return nil, nil, err
	}
	pop3, err := serve(standin.ServePOP3, accounts)
	if err != nil {
		imap.Close()
		return nil, nil, err
	}
	stop = func() { imap.Close(); pop3.Close() }
	for name, value := range map[string]string{
		"IMAP_LISTEN": freeAddr("127.0.0.1:10143"), "IMAPS_LISTEN": freeAddr("127.0.0.1:10993"),
		"POP3_LISTEN": freeAddr("127.0.0.1:10110"), "POP3S_LISTEN": freeAddr("127.0.0.1:10995"),
		"ADMIN_LISTEN": freeAddr("127.0.0.1:9143"), "METRICS_LISTEN": "off",
		"IMAP_BACKENDS": imap.Addr().String(), "POP3_BACKENDS": pop3.Addr().String(),
		"BACKEND_PROXY": "v2", "BACKEND_TLS": "off", "BACKEND_TLS_CA": "", "BACKEND_TLS_NAME": "",
		"TLS_CERT": certFile, "TLS_KEY": keyFile, "TLS_TICKET_KEYS": "", "PROXY_FROM": "",
		"STATE_DIR": stateDir(dir), "ADMIN_TOKEN_FILE": "", "ADMIN_READ_TOKEN_FILE": "",
	} {
		own = append(own, config.Prefix+name+"="+value)
	}
	return own, stop, nil
}

// serve starts a mail server that requires a PROXY header, like a Dovecot behind
// a gateway.
func serve(serve func(net.Listener, []standin.Account, standin.Options) (*standin.Server, error), accounts []standin.Account) (*standin.Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server, err := serve(ln, accounts, standin.Options{ProxyHeader: true})
	if err != nil {
		ln.Close()
	}
	return server, err
}

// freeAddr returns addr if it can be bound, else 127.0.0.1 with a port that the
// system chooses.
func freeAddr(addr string) string {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	ln.Close()
	return addr
}

// stateDir is the state directory of the gateway, in the demo's directory.
func stateDir(dir string) string { return filepath.Join(dir, "state") }

// pageText says where the page is, and with which token to log in there.
func pageText(d *daemon.Daemon, dir string) string {
	token, err := os.ReadFile(filepath.Join(stateDir(dir), "admin-token"))
	if err != nil {
		return fmt.Sprintf("http://%s/", d.AdminAddr())
	}
	return fmt.Sprintf("http://%s/, log in with the token %s", d.AdminAddr(), strings.TrimSpace(string(token)))
}

// commandsText lists commands for another terminal.
func commandsText(d *daemon.Daemon, dir string, commands ...string) string {
	text := fmt.Sprintf("  export %sADMIN_LISTEN=%s %sADMIN_TOKEN_FILE=%s\n", config.Prefix, d.AdminAddr(), config.Prefix, filepath.Join(stateDir(dir), "admin-token"))
	for _, c := range commands {
		text += "  go run ./cmd/postern " + c + "\n"
	}
	return text
}

// explain prints where the demo listens and what to try.
func explain(w io.Writer, d *daemon.Daemon, dir string) {
	login := account.Name + ":" + account.Secret
	fmt.Fprintf(w, `postern demo: a gateway in front of a small mail server, both in this process. Nothing is kept.

  IMAPS %s    IMAP %s with STARTTLS
  POP3S %s    POP3 %s with STLS
  page     %s
  metrics  http://%s/metrics
  account  %s, password %s; the certificate is self-signed

Read a message through postern:

  curl -sk --user %s 'imaps://%s/INBOX;MAILINDEX=1'

Try a wrong password and see the answer that a mail program gets; repeat it, and each answer takes longer:

  curl -skv --user %s:wrong imaps://%s/ 2>&1 | grep AUTHENTICATIONFAILED

See what happens on the page, or in another terminal:

%s
Ctrl-C ends the demo. The log of postern follows.

`, d.Addr("imaps"), d.Addr("imap"), d.Addr("pop3s"), d.Addr("pop3"), pageText(d, dir), d.AdminAddr(),
		account.Name, account.Secret, login, d.Addr("imaps"), account.Name, d.Addr("imaps"), commandsText(d, dir, "top", "explain "+account.Name))
}
