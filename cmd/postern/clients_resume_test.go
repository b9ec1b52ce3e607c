//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// resumption is a way to connect several times with a program.
type resumption struct {
	name    string
	program mailProgram
	connect func(t *testing.T, v programRun)
	resumes bool // the connections after the first
}

// TestWhichProgramsResume records which programs resume their TLS sessions, so that their
// users are known by device. REFERENCE.md has the table.
func TestWhichProgramsResume(t *testing.T) {
	openssl := mailProgram{name: "openssl", debian: "openssl"}
	nss := mailProgram{name: "tstclnt", debian: "libnss3-tools"}
	for _, r := range []resumption{
		{"curl in one run", curl, curlTwice, true},
		{"curl in two runs", curl, twoRuns(curl), false},
		{"mbsync in two runs", mbsync, twoRuns(mbsync), false},
		{"fetchmail in two runs", fetchmail, twoRuns(fetchmail), false},
		{"getmail in two runs", getmail, twoRuns(getmail), false},
		{"offlineimap in two runs", offlineimap, twoRuns(offlineimap), false},
		{"Python in two runs", python, twoRuns(python), false},
		{"OpenSSL with a session file", openssl, opensslTwice, true},
		{"NSS in one run", nss, nssTwice, true},
	} {
		for _, listener := range tlsListeners {
			if r.program.listeners != nil && !slices.Contains(r.program.listeners, listener) {
				continue
			}
			t.Run(r.name+"/"+listener, func(t *testing.T) {
				t.Parallel()
				r.program.need(t)
				g := startBefore(t, dovecot.Get(t))
				v := newRun(t, listener, g.Addr(listener), g.CertFile)
				r.connect(t, v)
				if r.resumes {
					g.log.Await(t, "event=connection", "listener="+listener, "resumed=true")
				} else if line := g.log.Await(t, "event=connection", "listener="+listener, "account="+second); !strings.Contains(line, "resumed=false") {
					t.Errorf("the program resumes, contrary to the documentation: %s", line)
				}
			})
		}
	}
}

// second is the account of the second connection.
const second = "reader"

// twoRuns runs p twice, each time in an empty home directory.
func twoRuns(p mailProgram) func(*testing.T, programRun) {
	return func(t *testing.T, v programRun) {
		v.run(t, p)
		v.User = second
		v.run(t, p)
	}
}

// curlTwice logs in with two accounts in one run, for which curl connects twice.
func curlTwice(t *testing.T, v programRun) {
	other := v
	other.User = second
	args := append(curlCommand(v), "--next")
	runProgram(t, t.TempDir(), nil, append(args, curlCommand(other)[1:]...)...)
}

// opensslTwice stores the session and resumes it.
func opensslTwice(t *testing.T, v programRun) {
	dir := t.TempDir()
	file := filepath.Join(dir, "session")
	for _, option := range []string{"-sess_out", "-sess_in"} {
		logout := map[string]string{"IMAP": "a LOGOUT\r\n", "POP3": "QUIT\r\n"}[v.Protocol]
		runProgram(t, dir, []byte(logout), "openssl", "s_client", "-quiet", "-ign_eof", "-connect", "127.0.0.1:"+v.Port, "-CAfile", v.CA, option, file)
	}
}

// nssTwice makes two connections in one run, as Thunderbird does.
func nssTwice(t *testing.T, v programRun) {
	dir := t.TempDir()
	file := filepath.Join(dir, "request")
	logout := map[string]string{"IMAP": "a LOGOUT\r\n", "POP3": "QUIT\r\n"}[v.Protocol]
	if err := os.WriteFile(file, []byte(logout), 0o600); err != nil {
		t.Fatal(err)
	}
	runProgram(t, dir, nil, "tstclnt", "-h", "localhost", "-4", "-p", v.Port, "-D", "-o", "-u", "-A", file, "-L", "2")
}

// TestGoResumes: a program that uses crypto/tls resumes if it has a session cache.
func TestGoResumes(t *testing.T) {
	g := startBefore(t, dovecot.Get(t))
	for _, cache := range []tls.ClientSessionCache{nil, tls.NewLRUClientSessionCache(1)} {
		c := g.Certificate.Client()
		c.ClientSessionCache = cache
		for i := range 2 {
			client := testbed.DialTLS(t, g.Addr("imaps"), c)
			client.Say("a LOGOUT", "a OK")
			g.log.Await(t, "event=connection", "listener=imaps", fmt.Sprintf("resumed=%t", cache != nil && i > 0))
		}
	}
}
