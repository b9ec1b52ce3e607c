//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// programPatience bounds the run of a program. Some take long to start on a busy
// machine.
const programPatience = 3 * time.Minute

// mailProgram is a mail program as people use it. It writes what it reads to
// standard output or below the directory mail of its home.
type mailProgram struct {
	name, debian string // of the program and of its package
	listeners    []string
	config       string // the file of testdata/clients that configures it, if any does
	binds        bool   // it can bind a source address
	command      func(v programRun) []string
	// Exit codes for a wrong password and for a refusal by a limit, by protocol.
	denied, refused map[string]int
}

// Listeners for mail programs without POP3, and for those without STARTTLS.
var (
	imapListeners = []string{"imap", "imaps"}
	tlsListeners  = []string{"imaps", "pop3s"}
)

var (
	curl = mailProgram{
		name: "curl", debian: "curl", listeners: listenerNames, binds: true, command: curlCommand,
		denied: map[string]int{"IMAP": 67, "POP3": 67}, refused: map[string]int{"IMAP": 67, "POP3": 67},
	}
	mbsync = mailProgram{
		name: "mbsync", debian: "isync", listeners: imapListeners, config: "mbsyncrc",
		command: func(v programRun) []string { return []string{"mbsync", "-V", "-c", v.Config, "inbox"} },
		denied:  map[string]int{"IMAP": 1}, refused: map[string]int{"IMAP": 1},
	}
	fetchmail = mailProgram{
		name: "fetchmail", debian: "fetchmail", listeners: listenerNames, config: "fetchmailrc",
		command: func(v programRun) []string {
			return []string{"fetchmail", "-v", "-f", v.Config, "-i", v.Home + "/ids", "--pidfile", v.Home + "/pid"}
		},
		// 3 asks for another password, 9 is temporary.
		denied: map[string]int{"IMAP": 3, "POP3": 3}, refused: map[string]int{"IMAP": 3, "POP3": 9},
	}
	getmail = mailProgram{
		name: "getmail", debian: "getmail6", listeners: tlsListeners, config: "getmailrc",
		command: func(v programRun) []string { return []string{"getmail", "--getmaildir", v.Home, "--rcfile", v.Config} },
		denied:  map[string]int{"IMAP": 127, "POP3": 127}, refused: map[string]int{"IMAP": 0, "POP3": 127},
	}
	neomutt = mailProgram{
		name: "neomutt", debian: "neomutt", listeners: listenerNames, config: "neomuttrc", command: neomuttCommand,
	}
	offlineimap = mailProgram{
		// Not by STARTTLS: the reader thread of its imaplib2 may end one line too early and then waits forever.
		name: "offlineimap", debian: "offlineimap3", listeners: []string{"imaps"}, config: "offlineimaprc",
		command: func(v programRun) []string { return []string{"offlineimap", "-o", "-u", "basic", "-c", v.Config} },
		denied:  map[string]int{"IMAP": 1}, refused: map[string]int{"IMAP": 1},
	}
	python = mailProgram{
		name: "python3", debian: "python3", listeners: listenerNames, binds: true, command: pythonCommand,
		denied: map[string]int{"IMAP": 1, "POP3": 1}, refused: map[string]int{"IMAP": 1, "POP3": 1},
	}
)

// curlCommand reads the first three messages.
func curlCommand(v programRun) []string {
	folder := ""
	if v.Protocol == "IMAP" {
		folder = "INBOX;MAILINDEX="
	}
	args := []string{"curl", "-sSv", "--fail-early", "--ssl-reqd", "--cacert", v.CA, "-4", "--interface", v.Source}
	switch v.Mechanism {
	case "":
		args = append(args, "--user", v.User+":"+v.Secret)
	case "OAUTHBEARER":
		args = append(args, "--user", v.User+":", "--oauth2-bearer", v.Secret)
	default:
		args = append(args, "--user", v.User+":"+v.Secret, "--login-options", "AUTH="+v.Mechanism)
	}
	return append(args, fmt.Sprintf("%s://localhost:%s/%s[1-3]", v.listener, v.Port, folder))
}

// neomuttCommand runs neomutt on a terminal, which it needs. Its configuration
// enters the commands.
func neomuttCommand(v programRun) []string {
	url := fmt.Sprintf("%s://%s@localhost:%s/", strings.Replace(v.listener, "pop3", "pop", 1), v.User, v.Port)
	if v.Protocol == "IMAP" {
		url += "INBOX"
	}
	return []string{"script", "-qec", fmt.Sprintf("neomutt -n -F %s -R -f %s", v.Config, url), "/dev/null"}
}

// pythonCommand runs a script that uses imaplib or poplib.
func pythonCommand(v programRun) []string {
	method := v.Mechanism
	if method == "" {
		method = "LOGIN"
	}
	args := []string{"python3", v.testdata(strings.ToLower(v.Protocol) + ".py"), method, v.Source, v.Port, fmt.Sprint(v.Implicit), v.CA, v.User}
	return append(args, append(v.wrong, v.Secret)...)
}

// programRun is one run of a mail program against a listener. The templates of
// configurations use what is exported.
type programRun struct {
	Port, CA, Source string
	User, Secret     string
	Protocol         string // IMAP or POP3
	Implicit         bool   // TLS from the start
	Mechanism        string // of SASL; if empty the program's choice
	Home, Config     string // home directory, and the configuration in it
	listener, data   string
	wrong            []string // passwords that python tries before Secret
}

// newRun prepares a run for the account user, which has mail, at the listener at
// addr, which has the certificate in the file ca.
func newRun(t *testing.T, listener, addr, ca string) programRun {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	data, err := filepath.Abs("testdata/clients")
	if err != nil {
		t.Fatal(err)
	}
	return programRun{
		Port: port, CA: ca, Source: "127.0.0.1", User: "user", Secret: "pass",
		Protocol: strings.ToUpper(strings.TrimSuffix(listener, "s")), Implicit: strings.HasSuffix(listener, "s"),
		listener: listener, data: data,
	}
}

func (v programRun) testdata(name string) string { return filepath.Join(v.data, name) }

// result is how a mail program ended, and all that it printed and stored, with LF
// for CRLF.
type result struct {
	code int
	text string
}

// run runs p to its end, in a home directory that is empty but for its
// configuration.
func (v programRun) run(t *testing.T, p mailProgram) result {
	t.Helper()
	p.need(t)
	v.Home = t.TempDir()
	if err := os.Mkdir(filepath.Join(v.Home, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	if p.config != "" {
		v.Config = filepath.Join(v.Home, p.config)
		var text bytes.Buffer
		if err := template.Must(template.ParseFiles(v.testdata(p.config))).Execute(&text, v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(v.Config, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := runProgram(t, v.Home, nil, p.command(v)...)
	r.text += stored(t, filepath.Join(v.Home, "mail"))
	return r
}

// need skips the test where p is not installed, or fails it where nothing may be
// missing.
func (p mailProgram) need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(p.name); err != nil {
		testbed.Missing(t, p.name+" (Debian package "+p.debian+")")
	}
}

// runProgram runs a program that must end by itself. If there are several of that
// name, it is Debian's.
func runProgram(t *testing.T, home string, input []byte, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = home
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm"}
	if debians, err := exec.LookPath("/usr/bin/" + args[0]); err == nil {
		cmd.Path = debians
	}
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s", args, err, text)
	}
	return result{cmd.ProcessState.ExitCode(), strings.ReplaceAll(string(text), "\r\n", "\n")}
}

// stored returns the contents of all files below a directory.
func stored(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(all.String(), "\r\n", "\n")
}
