package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"postern/limiter/traffic"
	"postern/proxy/standin"
)

// demoAccount is who may log in at the demo. Its password is no secret.
var demoAccount = standin.Account{Name: "demo", Secret: "gatekeeper", Messages: standin.Samples()}

// prepareDemo declares the flags of `postern demo`.
func prepareDemo(flags *flag.FlagSet) func(context.Context, surroundings) error {
	attack := flags.Bool("attack", false, "let users come, and then attackers, and see what the watch says")
	return func(ctx context.Context, s surroundings) error {
		dir, err := os.MkdirTemp("", "postern-demo-")
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer os.RemoveAll(dir)
		if *attack {
			return s.demoAttack(ctx, dir)
		}
		return s.demo(ctx, dir)
	}
}

// demo serves on loopback in front of a mail server in the same process, prints
// what to try, and forgets everything at the end. Settings in the environment
// count, so that limits can be tried out; addresses, backends and certificate
// are the demo's own.
func (s surroundings) demo(ctx context.Context, dir string) error {
	own, stop, err := demoSettings(dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer stop()
	s.environ = slices.Concat([]string{prefix + "LOG_FORMAT=text"}, s.environ, own)
	return s.runGate(ctx, func(g *gate) { g.explainDemo(s.stdout) })
}

// demoSettings starts the mail servers, puts a certificate into dir and returns
// the settings of a gate between them. stop ends the servers, at which the
// demo's account and those of users may log in.
func demoSettings(dir string, users ...traffic.Login) (own []string, stop func(), err error) {
	accounts := []standin.Account{demoAccount}
	for _, u := range users {
		accounts = append(accounts, standin.Account{Name: u.Account, Secret: u.Secret, Messages: demoAccount.Messages})
	}
	cert, err := standin.NewCertificate("localhost", "127.0.0.1", "::1")
	if err != nil {
		return nil, nil, err
	}
	certFile, keyFile, err := cert.Write(dir, "demo")
	if err != nil {
		return nil, nil, err
	}
	imap, err := demoBackend(standin.ServeIMAP, accounts)
	if err != nil {
		return nil, nil, err
	}
	pop3, err := demoBackend(standin.ServePOP3, accounts)
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
	} {
		own = append(own, prefix+name+"="+value)
	}
	return own, stop, nil
}

// demoBackend starts a mail server that, like a Dovecot behind a gate, demands
// a PROXY header.
func demoBackend(serve func(net.Listener, []standin.Account, standin.Options) (*standin.Server, error), accounts []standin.Account) (*standin.Server, error) {
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

// freeAddr returns addr if nobody listens there, else the same host with a port
// that the system chooses.
func freeAddr(addr string) string {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	ln.Close()
	return addr
}

// at is the address of the demo's door.
func (g *gate) at(door string) string {
	for _, e := range g.entrances {
		if e.door.Name == door {
			return e.listener.Addr().String()
		}
	}
	return ""
}

// explainDemo prints where the demo listens and what to try.
func (g *gate) explainDemo(w io.Writer) {
	login := demoAccount.Name + ":" + demoAccount.Secret
	fmt.Fprintf(w, `postern demo: a gate in front of a small mail server, both in this process. All is forgotten at the end.

  IMAPS %s    IMAP %s with STARTTLS
  POP3S %s    POP3 %s with STLS
  metrics  http://%s/metrics
  account  %s, password %s; the certificate is self-signed

Read a message through the gate:

  curl -sk --user %s 'imaps://%s/INBOX;MAILINDEX=1'

Try a wrong password and see what a mail program is told; repeat it and the answer takes longer each time:

  curl -skv --user %s:wrong imaps://%s/ 2>&1 | grep AUTHENTICATIONFAILED

Ctrl-C ends the demo. What the gate logs follows.

`, g.at("imaps"), g.at("imap"), g.at("pop3s"), g.at("pop3"), g.admin[0].listener.Addr(),
		demoAccount.Name, demoAccount.Secret, login, g.at("imaps"), demoAccount.Name, g.at("imaps"))
}
