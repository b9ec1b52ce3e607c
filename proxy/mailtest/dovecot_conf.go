//go:build linux

package mailtest

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"postern/proxy/standin"
)

// dovecotMailUser is the user ID and group ID that own the mail. They need not exist on
// the machine.
const dovecotMailUser = 5000

// dovecotConf is dovecot.conf. For fast tests, penalties and auth_failure_delay are off,
// and processes serve many connections in turn instead of one each. Dovecot answers
// failed logins every 500 ms even so. The process limits keep the demand on auth below
// its default client_limit, which Dovecot warns about otherwise.
var dovecotConf = template.Must(template.New("dovecot.conf").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/log
protocols = imap pop3 sieve
listen = 127.0.0.1
haproxy_trusted_networks = 127.0.0.0/8 ::1
ssl = yes
ssl_cert = <{{.Cert}}
ssl_key = <{{.Key}}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer external
auth_failure_delay = 0
auth_verbose = yes
mail_location = maildir:~/Maildir
plugin {
  sieve = file:~/sieve;active=~/.dovecot.sieve
}
mail_max_userip_connections = 0
first_valid_uid = {{.UID}}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap {
  process_limit = 250
  service_count = 1000
}
service pop3 {
  process_limit = 250
  service_count = 1000
}
service imap-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 500
  inet_listener imap {
    port = {{index .Ports 0}}
  }
  inet_listener imaps {
    port = {{index .Ports 1}}
    ssl = yes
  }
  inet_listener imap_proxy {
    port = {{index .Ports 2}}
    haproxy = yes
  }
}
service pop3-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 500
  inet_listener pop3 {
    port = {{index .Ports 3}}
  }
  inet_listener pop3s {
    port = {{index .Ports 4}}
    ssl = yes
  }
  inet_listener pop3_proxy {
    port = {{index .Ports 5}}
    haproxy = yes
  }
}
service managesieve {
  process_limit = 100
  service_count = 1000
}
service managesieve-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 500
  inet_listener sieve {
    port = {{index .Ports 6}}
  }
  inet_listener sieve_proxy {
    port = {{index .Ports 7}}
    haproxy = yes
  }
}
passdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {{.Dir}}/oauth2.conf
}
userdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
}
{{.Settings}}
`))

// configure writes the files of Dovecot, starts the token server, and returns the path
// of dovecot.conf.
func (d *Dovecot) configure(settings string) (string, error) {
	ports, err := d.choosePorts()
	if err != nil {
		return "", err
	}
	if d.Certificate, err = standin.NewCertificate("localhost", "127.0.0.1"); err != nil {
		return "", err
	}
	cert, key, err := d.Certificate.Write(d.dir, "dovecot")
	if err != nil {
		return "", err
	}
	if err := d.writeAccounts(); err != nil {
		return "", err
	}
	if err := d.serveTokens(); err != nil {
		return "", err
	}
	var conf strings.Builder
	err = dovecotConf.Execute(&conf, map[string]any{
		"Dir": d.dir, "Cert": cert, "Key": key, "UID": dovecotMailUser, "Ports": ports, "Settings": settings,
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.dir, "dovecot.conf")
	return path, os.WriteFile(path, []byte(conf.String()), 0o644)
}

// choosePorts returns a free port for each address, in the order of dovecotConf.
func (d *Dovecot) choosePorts() ([]string, error) {
	var ports []string
	for _, addr := range []*string{&d.IMAP, &d.IMAPS, &d.IMAPProxy, &d.POP3, &d.POP3S, &d.POP3Proxy, &d.Sieve, &d.SieveProxy} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // after the loop, so that all ports differ
		*addr = ln.Addr().String()
		_, port, err := net.SplitHostPort(*addr)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// writeAccounts writes the user database and delivers the mail. Secrets are in base64,
// since they may have any octet.
func (d *Dovecot) writeAccounts() error {
	// The users of Dovecot and of the mail need access to the directory.
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return err
	}
	var users strings.Builder
	for i, a := range d.Accounts {
		home := filepath.Join(d.dir, "mail", fmt.Sprint(i))
		if err := deliver(home, a.Messages); err != nil {
			return fmt.Errorf("deliver mail to %q: %w", a.Name, err)
		}
		secret := base64.StdEncoding.EncodeToString([]byte(a.Secret))
		fmt.Fprintf(&users, "%s:{PLAIN.b64}%s:%d:%d::%s::\n", a.Name, secret, dovecotMailUser, dovecotMailUser, home)
	}
	return os.WriteFile(filepath.Join(d.dir, "users"), []byte(users.String()), 0o644)
}

// deliver makes a home directory with a Maildir that has the messages in new.
func deliver(home string, messages [][]byte) error {
	maildir := filepath.Join(home, "Maildir")
	for _, name := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(maildir, name), 0o755); err != nil {
			return err
		}
	}
	for i, m := range messages {
		file := filepath.Join(maildir, "new", fmt.Sprintf("%d.M%dP1.postern", 1648533600+i, i))
		if err := os.WriteFile(file, m, 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, dovecotMailUser, dovecotMailUser)
	})
}
