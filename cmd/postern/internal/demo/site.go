package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"postern/cmd/postern/internal/config"
	"postern/limiter/traffic"
	"postern/proxy/standin"
)

// site is what is around the gateways of a demo: mail servers, a certificate, and what
// gateways share over if there are several.
type site struct {
	dir        string
	size       int // gateways
	imap, pop3 *standin.Server
	cert, key  string   // files
	engine     *engine  // nil if there is one gateway
	more       []string // settings of all gateways
}

// openSite opens a site of size gateways, with its files in dir. At its mail servers the
// account of the demo and those of users may log in. The caller closes it.
func openSite(ctx context.Context, dir string, size int, users []traffic.Login) (s *site, err error) {
	s = &site{dir: dir, size: size}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if size > 1 {
		if s.engine, err = startEngine(ctx, dir); err != nil {
			return s, err
		}
		key := make([]byte, 32)
		rand.Read(key)
		if err := os.WriteFile(s.installKey(), key, 0o600); err != nil {
			return s, err
		}
	}
	accounts := []standin.Account{account}
	for _, u := range users {
		accounts = append(accounts, standin.Account{Name: u.Account, Secret: u.Secret, Messages: account.Messages})
	}
	cert, err := standin.NewCertificate("localhost", "127.0.0.1", "::1")
	if err != nil {
		return s, err
	}
	if s.cert, s.key, err = cert.Write(dir, "demo"); err != nil {
		return s, err
	}
	if s.imap, err = serve(standin.ServeIMAP, accounts); err != nil {
		return s, err
	}
	s.pop3, err = serve(standin.ServePOP3, accounts)
	return s, err
}

// close ends everything.
func (s *site) close() {
	if s.imap != nil {
		s.imap.Close()
	}
	if s.pop3 != nil {
		s.pop3.Close()
	}
	if s.engine != nil {
		s.engine.stop()
	}
}

// installKey is the file with the install key of all gateways.
func (s *site) installKey() string { return filepath.Join(s.dir, "install-key") }

// settings are those of a gateway, which is the first if its number is 0. The ports of each
// further one are higher by 100.
func (s *site) settings(number int) (own []string) {
	at := func(port int) string { return freeAddr(fmt.Sprintf("127.0.0.1:%d", port+100*number)) }
	all := map[string]string{
		"IMAP_LISTEN": at(10143), "IMAPS_LISTEN": at(10993), "POP3_LISTEN": at(10110), "POP3S_LISTEN": at(10995), "ADMIN_LISTEN": at(9143), "METRICS_LISTEN": "off",
		"IMAP_BACKENDS": s.imap.Addr().String(), "POP3_BACKENDS": s.pop3.Addr().String(),
		"BACKEND_PROXY": "v2", "BACKEND_TLS": "off", "BACKEND_TLS_CA": "", "BACKEND_TLS_NAME": "",
		"TLS_CERT": s.cert, "TLS_KEY": s.key, "TLS_TICKET_KEYS": "", "PROXY_FROM": "", "FORWARDED_FROM": "",
		"STATE_DIR": stateDir(s.dir, number), "ADMIN_TOKEN_FILE": "", "ADMIN_READ_TOKEN_FILE": "",
		"GATEWAY": gatewayName(number), "KEY_FILE": "", "SHARE_URL": "", "SHARE_CA": "", "SHARE_CERT": "", "SHARE_KEY": "", "SHARE_PASSWORD_FILE": "",
	}
	if s.engine != nil {
		all["KEY_FILE"], all["SHARE_URL"] = s.installKey(), s.engine.url
	}
	for name, value := range all {
		own = append(own, config.Prefix+name+"="+value)
	}
	return append(own, s.more...)
}

// gatewayName is the name of a gateway. People count from one.
func gatewayName(number int) string { return fmt.Sprintf("gateway%d", number+1) }

// stateDir is the state directory of a gateway, in the demo's directory.
func stateDir(dir string, number int) string {
	if number == 0 {
		return filepath.Join(dir, "state")
	}
	return filepath.Join(dir, fmt.Sprintf("state%d", number+1))
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
